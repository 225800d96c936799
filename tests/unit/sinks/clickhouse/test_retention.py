from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from aiokafka import TopicPartition
from pydantic import ValidationError

from alphapulse import topics
from alphapulse.config import ClickHouseSettings
from schemas.records import Trade
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.retention import DAY_SECONDS, apply, parsed, told, ttls
from sinks.clickhouse.tables import TABLE_OF, migrate
from sinks.clickhouse.writer import ClickHouseTarget
from sinks.columns import batch
from sinks.contract import BatchChunk, Commit, Span
from tests.fixtures.lasting_engine import LastingEngine
from tests.fixtures.records import START, trade

KEY = TopicPartition(topics.TRADES, 0)


def days(**by_topic: float) -> ClickHouseSettings:
    return ClickHouseSettings(ttl_days={f"md.{name}": value for name, value in by_topic.items()})


async def set_now(engine: Engine, settings: ClickHouseSettings) -> dict[str, float | None]:
    """Return the days set, by table, of the tables with a TTL of ours."""
    return {each.table.name: each.days for each in await ttls(engine, settings) if each.days is not None}


async def changes(engine: Engine) -> list[tuple[Any, ...]]:
    return await engine.rows("SELECT table_name, before, after FROM schema_changes WHERE kind = 'ttl' ORDER BY time")


def test_by_default_only_the_levels_of_the_books_end() -> None:
    settings = ClickHouseSettings()
    assert {topic: settings.ttl_seconds(topic) for topic in TABLE_OF if settings.ttl_seconds(topic)} == {
        topics.L2: 7 * DAY_SECONDS
    }
    assert days(trades=30).ttl_seconds(topics.L2) == 7 * DAY_SECONDS
    assert days(l2=0).ttl_seconds(topics.L2) == 0
    assert days(trades=0.5).ttl_seconds(topics.TRADES) == DAY_SECONDS // 2


@pytest.mark.parametrize("ttl_days", [{"l2": 1}, {"md.l2": -1}, {"md.l2": "long"}, {"md.l2": 36_501}])
def test_what_is_no_retention_is_refused(ttl_days: Any) -> None:
    with pytest.raises(ValidationError, match="ttl_days"):
        ClickHouseSettings(ttl_days=ttl_days)


async def test_a_changed_setting_is_applied_once_and_recorded(engine: Engine) -> None:
    await migrate(engine)
    assert [each.table.name for each in await apply(engine, ClickHouseSettings(), by_hand_too=True)] == ["l2", "books"]
    assert await set_now(engine, ClickHouseSettings()) == {"l2": 7, "books": 7}
    assert await apply(engine, ClickHouseSettings(), by_hand_too=True) == []
    longer = days(l2=14, trades=365)
    assert sorted(map(told, await apply(engine, longer, by_hand_too=True))) == [
        "books: 7 days; configured 14 days",
        "l2: 7 days; configured 14 days",
        "trades: no limit; configured 365 days",
    ]
    assert await set_now(engine, longer) == {"l2": 14, "books": 14, "trades": 365}
    none = days(l2=0)
    assert {each.table.name for each in await apply(engine, none, by_hand_too=True)} == {"l2", "books", "trades"}
    assert await set_now(engine, none) == {}
    week, fortnight = (f"received_time + toIntervalSecond({n * DAY_SECONDS})" for n in (7, 14))
    assert [change for change in await changes(engine) if change[0] == "l2"] == [
        ("l2", "", week),
        ("l2", week, fortnight),
        ("l2", fortnight, ""),
    ]
    # The migrations, run again, leave it alone.
    await apply(engine, ClickHouseSettings(), by_hand_too=True)
    await migrate(engine)
    assert await set_now(engine, ClickHouseSettings()) == {"l2": 7, "books": 7}


async def test_a_ttl_set_by_hand_is_replaced_only_when_asked_to(engine: Engine) -> None:
    await migrate(engine)
    await engine.command("ALTER TABLE l2 MODIFY TTL toDateTime(received_time) + INTERVAL 3 MONTH")
    (l2,) = [each for each in await ttls(engine, ClickHouseSettings()) if each.table.name == "l2"]
    assert (l2.seconds, l2.days, l2.as_configured) == (None, None, False)
    assert told(l2) == "l2: by hand: toDateTime(received_time) + toIntervalMonth(3); configured 7 days"
    changed = await apply(engine, ClickHouseSettings(), by_hand_too=False)
    assert [each.table.name for each in changed] == ["books"]
    assert len(await apply(engine, ClickHouseSettings(), by_hand_too=True)) == 1
    assert await set_now(engine, ClickHouseSettings()) == {"l2": 7, "books": 7}


async def test_what_has_expired_goes_and_the_rest_stays(engine: Engine) -> None:
    await migrate(engine)
    for table in ("l2", "trades"):
        await engine.command(f"INSERT INTO {table} (received_time) SELECT now() - INTERVAL number DAY FROM numbers(30)")
    settings = days(l2=7, trades=3)
    await apply(engine, settings, by_hand_too=True)
    for table in ("l2", "trades"):
        await engine.command(f"OPTIMIZE TABLE {table} FINAL")
    assert await engine.rows("SELECT count() FROM trades") == [(3,)]
    # Whole parts only: that of the day on which the limit falls is still there.
    ((kept,),) = await engine.rows("SELECT count() FROM l2")
    assert kept in (7, 8)


def test_tables_without_a_topic_are_left_out() -> None:
    assert parsed([("migrations", "ReplacingMergeTree ORDER BY number")], ClickHouseSettings()) == []


async def test_rows_that_have_expired_are_not_missing(engine: Engine) -> None:
    """A block is settled after a crash; the TTL has removed its old rows meanwhile."""
    settings = days(trades=1)
    target = ClickHouseTarget(settings, LastingEngine(engine), "life-1", asyncio.Event())
    await target.open()
    await apply(engine, settings, by_hand_too=True)
    now = time.time_ns()
    records = [trade(number, received_time=START if number % 2 else now) for number in range(10)]
    for _ in range(2):
        await target.assign({KEY: Commit(0, "v1 0:0-9")})
        await target.submit(BatchChunk(KEY, Trade, batch(Trade, records, 0, range(10))))
        target.seal([Span(KEY, 0, 9)])
        await target.write([Span(KEY, 0, 9)], recovering=True, give_up=asyncio.Event())
        await engine.command("OPTIMIZE TABLE trades FINAL")
    assert await engine.rows("SELECT _offset FROM trades ORDER BY 1") == [(0,), (2,), (4,), (6,), (8,)]


@pytest.mark.parametrize(("at_start", "expected"), [(True, {"l2": 7.0, "books": 7.0}), (False, {})])
async def test_a_sink_applies_it_at_its_start_if_configured(
    engine: Engine, at_start: bool, expected: dict[str, float]
) -> None:
    settings = ClickHouseSettings(ttl_at_start=at_start)
    for _ in range(2):
        await ClickHouseTarget(settings, LastingEngine(engine), "life-1", asyncio.Event()).open()
        assert await set_now(engine, settings) == expected
