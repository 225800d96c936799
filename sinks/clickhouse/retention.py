"""Retention of the tables' rows: ``[clickhouse] ttl_days`` as ClickHouse's TTL, applied as a recorded step.

What is set is read from the tables themselves, what was changed is recorded in ``schema_changes``. A TTL of another
form than ours (set by hand) is replaced only when asked to.

Tables with a partition per day (books, quotes) drop whole parts once all their rows have expired: nothing is rewritten,
and a row may stay up to a day longer. The others, whose partitions are months, are rewritten by ClickHouse's merges.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from alphapulse import topics
from alphapulse.config import ClickHouseSettings
from sinks.clickhouse.changes import record_change
from sinks.clickhouse.engine import Engine, RowSource
from sinks.clickhouse.tables import BOOKS, TABLE_OF, Table

DAY_SECONDS: Final = 86_400

_TTL: Final = re.compile(r" TTL (.*?)(?= SETTINGS |$)", re.DOTALL)
_OURS: Final = re.compile(r"(\w+) \+ toIntervalSecond\((\d+)\)")
_SETTINGS: Final = (
    # Of rows that were there before only the times are read, they are not rewritten.
    "materialize_ttl_recalculate_only = 1",
)
_BY_DAY: Final = "toYYYYMMDD("


@dataclass(frozen=True, slots=True)
class TableTtl:
    """TTL of a table.

    Attributes:
        topic: its topic.
        table: the table.
        expression: what is set; empty: nothing.
        seconds: the same as a number; 0: nothing is set; None: set by hand, in another form than ours.
        wanted: what is configured, seconds; 0: without limit.
        daily: whether its partitions are days.
    """

    topic: str
    table: Table
    expression: str
    seconds: int | None
    wanted: int
    daily: bool

    @property
    def as_configured(self) -> bool:
        """Whether it is set as configured."""
        return self.seconds == self.wanted

    @property
    def days(self) -> float | None:
        """What is set, days; None: no limit, or set by hand."""
        return self.seconds / DAY_SECONDS if self.seconds else None

    @property
    def wanted_days(self) -> float | None:
        """What is configured, days; None: no limit."""
        return self.wanted / DAY_SECONDS if self.wanted else None


async def ttls(engine: RowSource, settings: ClickHouseSettings) -> list[TableTtl]:
    """Return the TTLs of the tables that exist, set and configured.

    Raises:
        Unreachable: not now.
        ServiceError: ClickHouse refuses.
    """
    found = await engine.rows(
        "SELECT name, engine_full FROM system.tables "
        "WHERE database = currentDatabase() AND create_table_query LIKE 'CREATE TABLE %'"
    )
    return parsed(found, settings)


def parsed(found: Sequence[Sequence[object]], settings: ClickHouseSettings) -> list[TableTtl]:
    """Return the TTLs of tables, each given as name and ``engine_full``; tables without a topic are left out."""
    engines = {str(row[0]): str(row[1]) for row in found}
    made = []
    for topic, table in (*TABLE_OF.items(), (topics.L2, BOOKS)):
        if table.name not in engines:
            continue
        text = engines[table.name]
        expression = matched[1].strip() if (matched := _TTL.search(text)) is not None else ""
        ours = _OURS.fullmatch(expression)
        seconds: int | None = 0
        if expression:
            seconds = int(ours[2]) if ours is not None and ours[1] == table.time else None
        made.append(TableTtl(topic, table, expression, seconds, settings.ttl_seconds(topic), _BY_DAY in text))
    return made


async def apply(engine: Engine, settings: ClickHouseSettings, *, by_hand_too: bool) -> list[TableTtl]:
    """Set the TTLs as configured; return those changed, as they were before. May be repeated.

    Args:
        engine: open.
        settings: what is wanted.
        by_hand_too: replace a TTL that was set by hand.

    Raises:
        Unreachable: not now.
        ServiceError: ClickHouse refuses.
    """
    changed = []
    for each in await ttls(engine, settings):
        if each.as_configured or (each.seconds is None and not by_hand_too):
            continue
        name, after = each.table.name, ""
        if each.wanted:
            after = f"{each.table.time} + toIntervalSecond({each.wanted})"
            drop = f"ttl_only_drop_parts = {int(each.daily)}"
            await engine.command(f"ALTER TABLE {name} MODIFY SETTING {', '.join((*_SETTINGS, drop))}")
            await engine.command(f"ALTER TABLE {name} MODIFY TTL {after}")
        else:
            await engine.command(f"ALTER TABLE {name} REMOVE TTL")
        await record_change(engine, "ttl", name, each.expression, after)
        changed.append(each)
    return changed


async def not_expired(engine: Engine, table: Table, rows: pa.Table) -> pa.Table:
    """Return those of ``rows`` that the table's TTL does not remove; others may be missing in it because it did.

    Raises:
        Unreachable: not now.
        ServiceError: ClickHouse refuses.
    """
    if not rows.num_rows:
        return rows
    found = await ttls(engine, ClickHouseSettings())
    seconds = next((each.seconds for each in found if each.table == table), 0)
    if not seconds:
        return rows
    times = rows.column(table.time).cast(pa.int64()).to_numpy()
    return rows.filter(pa.array(times >= time.time_ns() - seconds * 10**9, pa.bool_()))


def told(each: TableTtl) -> str:
    """Return a line on a difference between what is set and what is configured."""
    now = f"by hand: {each.expression}" if each.seconds is None else _days(each.days)
    return f"{each.table.name}: {now}; configured {_days(each.wanted_days)}"


def _days(days: float | None) -> str:
    if days is None:
        return "no limit"
    return f"{days:g} {'day' if days == 1 else 'days'}"
