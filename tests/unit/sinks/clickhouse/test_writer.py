from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from aiokafka import OffsetAndMetadata, TopicPartition

from alphapulse import topics
from alphapulse.config import ClickHouseSettings
from alphapulse.errors import ServiceError
from schemas.codec import Codec
from schemas.records import TOPIC_OF, Trade
from sinks.clickhouse.engine import Engine, Unreachable
from sinks.clickhouse.tables import TABLE_OF
from sinks.clickhouse.writer import ClickHouseTarget
from sinks.columns import batch, columns
from sinks.contract import Abandoned, BatchChunk, Commit, Span
from tests.fixtures.lasting_engine import LastingEngine
from tests.fixtures.log import Fuse, Killed, Log
from tests.fixtures.memory_engine import MemoryEngine
from tests.fixtures.records import START, one_of_each, trade
from tests.fixtures.sink_life import live

CODEC = Codec()
KEYS = [TopicPartition(topics.TRADES, number) for number in range(4)]
DAY = 86_400 * 10**9


def target_on(engine: Any, records: int = 1000) -> ClickHouseTarget:
    return ClickHouseTarget(ClickHouseSettings(batch_records=records), engine, "life-1", asyncio.Event())


def chunk(key: TopicPartition, first: int, count: int, *, days: int = 1) -> BatchChunk:
    offsets = list(range(first, first + count))
    records = [trade(number, received_time=START + number % days * DAY) for number in offsets]
    return BatchChunk(key, Trade, batch(Trade, records, key.partition, offsets))


async def write(target: ClickHouseTarget, spans: list[Span], *, recovering: bool = False) -> None:
    target.seal(spans)
    await target.write(spans, recovering=recovering, give_up=asyncio.Event())


async def offsets(engine: Engine) -> list[tuple[Any, ...]]:
    return await engine.rows("SELECT _partition, _offset FROM trades ORDER BY ALL")


async def test_every_record_class_is_stored_as_it_is(engine: Engine) -> None:
    target = target_on(LastingEngine(engine))
    await target.open()
    spans = []
    for record in one_of_each():
        key = TopicPartition(TOPIC_OF[type(record)], 3)
        await target.assign({})
        await target.submit(BatchChunk(key, type(record), batch(type(record), [record, record], 3, [8, 9])))
        spans.append(Span(key, 8, 9))
    await write(target, spans)
    for record in one_of_each():
        table = TOPIC_OF[type(record)]
        names = [column.name for column in columns(type(record))]
        times = {name for name in names if str(columns(type(record))[names.index(name)].type).startswith("timestamp")}
        texts = {column.name for column in columns(type(record)) if str(column.type) == "binary"}
        asked = [
            f"toUnixTimestamp64Nano({n})" if n in times else f"hex({n})" if n in texts else f"`{n}`" for n in names
        ]
        found = await engine.rows(
            f"SELECT {', '.join(asked)}, _incarnation, _partition, _offset FROM {TABLE_OF[table].name} ORDER BY _offset"
        )
        values = [getattr(record, name) for name in names]
        values = [value.hex().upper() if isinstance(value, bytes) else value for value in values]
        assert [list(row) for row in found] == [[*values, "life-1", 3, 8], [*values, "life-1", 3, 9]]
    assert target.status()["rows"] == {TABLE_OF[topic].name: 2 for topic in TOPIC_OF.values()}


async def test_partitions_of_a_topic_share_an_insert_in_the_embedded_engine_only() -> None:
    spans = [Span(key, 0, 9) for key in KEYS]
    for embedded, inserts, plans in ((True, 1, 1), (False, 4, 4)):
        engine = MemoryEngine(embedded=embedded)
        target = target_on(engine)
        for key in KEYS:
            await target.submit(chunk(key, 0, 10))
        assert len(set(target.seal(spans).values())) == plans
        await target.write(spans, recovering=False, give_up=asyncio.Event())
        assert engine.inserts == inserts
        assert len(engine.rows_of["trades"]) == 40


async def test_the_same_block_again_is_no_second_block(engine: Engine) -> None:
    lasting = LastingEngine(engine)
    commit = Commit(0, "v1 0:0-9,1:0-9")
    spans = [Span(KEYS[0], 0, 9), Span(KEYS[1], 0, 9)]
    for life in range(3):
        target = target_on(lasting)
        await target.open()
        assert await target.assign({KEYS[0]: commit, KEYS[1]: commit}) == {KEYS[0]: 9, KEYS[1]: 9}
        for key in KEYS[:2]:
            await target.submit(chunk(key, 0, 10, days=70))
        await write(target, spans, recovering=True)
        assert await offsets(engine) == [(p, o) for p in (0, 1) for o in range(10)]
        assert target.status()["rows_found_again"] == (20 if life else 0)


async def test_a_block_that_is_there_in_part_is_completed(engine: Engine) -> None:
    target = target_on(LastingEngine(engine))
    await target.open()
    await target.submit(chunk(KEYS[0], 3, 4))
    await write(target, [Span(KEYS[0], 3, 6)])
    await target.assign({KEYS[0]: Commit(0, "v1 0:0-9")})
    await target.submit(chunk(KEYS[0], 0, 10))
    await write(target, [Span(KEYS[0], 0, 9)], recovering=True)
    assert await offsets(engine) == [(0, number) for number in range(10)]


async def test_a_block_that_clickhouse_only_believes_to_have_is_stored() -> None:
    """Killed between MergeTree's log and its part."""
    for embedded in (True, False):
        engine = MemoryEngine(embedded=embedded)
        engine.log.append(("trades", f"life-1:{topics.TRADES}:0:0-9", START // DAY))
        target = target_on(engine)
        await target.assign({KEYS[0]: Commit(0, "v1 0:0-9")})
        await target.submit(chunk(KEYS[0], 0, 10))
        await write(target, [Span(KEYS[0], 0, 9)], recovering=True)
        assert sorted(row["_offset"] for row in engine.rows_of["trades"]) == list(range(10))


async def test_a_table_that_keeps_nothing_is_an_error() -> None:
    class Forgetful(MemoryEngine):
        async def insert(self, *_: Any) -> None:
            pass

    target = target_on(Forgetful())
    await target.assign({KEYS[0]: Commit(0, "v1 0:0-9")})
    await target.submit(chunk(KEYS[0], 0, 10))
    with pytest.raises(ServiceError, match="does not keep what is inserted into trades"):
        await write(target, [Span(KEYS[0], 0, 9)], recovering=True)


async def test_a_group_whose_partitions_went_to_two_owners_is_settled_apart(engine: Engine) -> None:
    """The block of three partitions is stored; its owner dies before the commit; two others take over."""
    lasting = LastingEngine(engine)
    first = target_on(lasting)
    await first.open()
    spans = [Span(key, 0, 9) for key in KEYS[:3]]
    for key in KEYS[:3]:
        await first.submit(chunk(key, 0, 10))
    plan = first.seal(spans)
    await first.write(spans, recovering=False, give_up=asyncio.Event())
    for keys in (KEYS[:1], KEYS[1:3]):
        target = target_on(lasting)
        commits = {key: Commit(0, plan[key]) for key in keys}
        assert await target.assign(dict(commits)) == dict.fromkeys(keys, 9)
        for key in keys:
            await target.submit(chunk(key, 0, 10))
        await write(target, [Span(key, 0, 9) for key in keys], recovering=True)
    assert await offsets(engine) == [(p, o) for p in range(3) for o in range(10)]


async def test_a_view_over_a_table_gets_each_row_once(engine: Engine) -> None:
    lasting = LastingEngine(engine)
    target = target_on(lasting)
    await target.open()
    await engine.command(
        "CREATE TABLE volumes (symbol String, rows UInt64) ENGINE = SummingMergeTree ORDER BY symbol "
        "SETTINGS non_replicated_deduplication_window = 1000"
    )
    await engine.command(
        "CREATE MATERIALIZED VIEW to_volumes TO volumes AS SELECT symbol, count() AS rows FROM trades GROUP BY symbol"
    )
    log = Log()
    for number in range(30):
        log.append(KEYS[number % 2], CODEC.encode(trade(number)))
    for at in (2, 3, 2, 3, 4, 5):
        with contextlib.suppress(Killed):
            await live(log, target_on(lasting, 8), Fuse(at))
    await live(log, target_on(lasting, 8))
    assert await engine.rows("SELECT count(), uniqExact(trade_id) FROM trades") == [(30, 30)]
    assert await engine.rows("SELECT sum(rows) FROM volumes") == [(30,)]


async def test_more_days_than_the_window_has_parts_are_written_early() -> None:
    target = target_on(MemoryEngine())
    await target.submit(chunk(KEYS[0], 0, 50, days=50))
    assert [target.full] == [False]
    await target.submit(chunk(KEYS[0], 50, 60, days=100))
    assert [target.full] == [True]
    await target.discard(KEYS)
    assert [target.full] == [False]


async def test_rows_without_a_commit_are_not_read_twice() -> None:
    engine = MemoryEngine()
    engine.rows_of["trades"] = [{"_partition": 0, "_offset": 17, "_incarnation": "life-1"}]
    message = r"no commit for md.trades/0 .* table trades holds its offsets up to 17: set the group's offset to 18"
    with pytest.raises(ServiceError, match=message):
        await target_on(engine).assign({KEYS[0]: None})
    assert await target_on(engine).assign({KEYS[1]: None}) == {}
    another_life = ClickHouseTarget(ClickHouseSettings(), engine, "life-2", asyncio.Event())  # type: ignore[arg-type]
    assert await another_life.assign({KEYS[0]: None}) == {}


async def test_a_plan_that_is_not_the_partitions_own_is_refused() -> None:
    for commit in (Commit(0, "v1 1:0-9"), Commit(3, "v1 0:0-9")):
        with pytest.raises(ServiceError, match="a plan of other partitions"):
            await target_on(MemoryEngine()).assign({KEYS[0]: commit})


async def test_a_dead_server_is_given_up_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinks.clickhouse.engine.RETRY_SECONDS", (0.001,))

    class Dead(MemoryEngine):
        async def insert(self, *_: Any) -> None:
            give_up.set()
            raise Unreachable("connection refused")

        async def rows(self, *_: Any) -> Any:
            raise Unreachable("connection refused")

    give_up = asyncio.Event()
    target = target_on(Dead())
    await target.submit(chunk(KEYS[0], 0, 10))
    target.seal([Span(KEYS[0], 0, 9)])
    with pytest.raises(Abandoned):
        await target.write([Span(KEYS[0], 0, 9)], recovering=False, give_up=give_up)


async def test_the_real_engine_holds_each_row_once_after_many_deaths(engine: Engine, tmp_path: Path) -> None:
    lasting = LastingEngine(engine)
    log = Log()
    for number in range(40):
        time = START + number % 3 * 31 * DAY
        log.append(KEYS[number % 3], CODEC.encode(trade(number, received_time=time)) if number % 9 else b"junk")
    for at in (1, 2, 3, 4, 2, 3, 4, 5, 6):
        with contextlib.suppress(Killed):
            await live(log, target_on(lasting, 5), Fuse(at), [3, 2, 4, 1])
    await live(log, target_on(lasting, 5))
    assert all(log.commits[key] == OffsetAndMetadata(len(log.partitions[key]), "") for key in KEYS[:3])
    expected = [(n % 3, n // 3) for n in range(40) if n % 9]
    assert await offsets(engine) == sorted(expected)
    total = sum(6_168_599 + n for n in range(40) if n % 9)
    assert await engine.rows("SELECT toInt64(sum(price)) FROM trades") == [(total,)]
