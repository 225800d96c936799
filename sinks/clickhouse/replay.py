"""Dead letters back through the ClickHouse sink's tables, each row at most once however often it is repeated.

A row's identity is the place of its record on the broker's log (:mod:`sinks.replay`): ``_incarnation``, ``_partition``,
``_offset``. Before a replay stores rows, it asks the table which of them are there. What several services refused is
one row; what the table has, because another replay or the sink itself stored it, stays as it is. Each row is a block
with a deduplication token of its place, so that two replays at once do not double it either; a row that is missing
afterwards, because a process was killed between the entry of a token and its block, is inserted again under another
token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from alphapulse.errors import ServiceError
from schemas.codec import Codec
from schemas.records import Record
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.tables import INCARNATION, TABLE_OF
from sinks.columns import OFFSET, PARTITION, batch
from sinks.replay import CLASS_OF, Outcome, Refused, decoded

_SETTINGS: Final[Mapping[str, Any]] = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
}
_ATTEMPTS: Final = 5


async def replay(engine: Engine, codec: Codec, incarnation: str, records: Iterable[Refused]) -> Outcome:
    """Store the rows of ``records`` that are not stored.

    Args:
        engine: open, its tables up to date.
        codec: decodes.
        incarnation: of the log that the places belong to.
        records: the same place may come several times.

    Raises:
        Unreachable: ClickHouse does not answer now; repeat it.
        ServiceError: ClickHouse refuses.
        SchemaError: the schema registry cannot be reached.
    """
    outcome = Outcome()
    for topic, of_topic in decoded(codec, records, outcome).items():
        await _store(engine, incarnation, topic, of_topic, outcome)
    return outcome


async def _store(
    engine: Engine, incarnation: str, topic: str, records: Sequence[tuple[Refused, Record]], outcome: Outcome
) -> None:
    kind, table = CLASS_OF[topic], TABLE_OF[topic].name
    before = await _there(engine, incarnation, table, [one for one, _ in records])
    missing = [(one, record) for one, record in records if (one.partition, one.offset) not in before]
    outcome.present += [(topic, partition, offset) for partition, offset in sorted(before)]
    for one, record in missing:
        rows = _row(kind, record, one, incarnation)
        for attempt in range(_ATTEMPTS):
            token = f"{incarnation}:{topic}:letter:{one.partition}:{one.offset}" + (f":{attempt}" if attempt else "")
            await engine.insert(table, rows, {**_SETTINGS, "insert_deduplication_token": token})
            if await _there(engine, incarnation, table, [one]):
                break
        else:
            raise ServiceError(f"ClickHouse at {engine.place} does not keep what is inserted into {table}")
        outcome.stored.append((topic, one.partition, one.offset))


async def _there(engine: Engine, incarnation: str, table: str, records: Sequence[Refused]) -> set[tuple[int, int]]:
    """Return which of the rows are in the table: partition and offset."""
    wanted = {(one.partition, one.offset) for one in records}
    found = await engine.rows(
        f"SELECT DISTINCT {PARTITION}, {OFFSET} FROM {table} "  # noqa: S608 names of our own
        f"WHERE {INCARNATION} = {{incarnation:String}} "
        f"AND has({{partitions:Array(Int32)}}, {PARTITION}) AND has({{offsets:Array(Int64)}}, {OFFSET})",
        {
            "incarnation": incarnation,
            "partitions": sorted({partition for partition, _ in wanted}),
            "offsets": sorted({offset for _, offset in wanted}),
        },
    )
    return wanted & {(int(partition), int(offset)) for partition, offset in found}


def _row(kind: type[Record], record: Record, one: Refused, incarnation: str) -> pa.Table:
    rows = pa.Table.from_batches([batch(kind, [record], one.partition, [one.offset])])
    name = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), pa.array([incarnation]))
    return rows.append_column(INCARNATION, name).unify_dictionaries().combine_chunks()
