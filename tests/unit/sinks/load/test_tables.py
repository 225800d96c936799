"""Loads into the real embedded engine."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from alphapulse.config import ClickHouseSettings, Settings
from alphapulse.errors import ServiceError
from sinks.clickhouse.engine import Engine, Unreachable
from sinks.load.contract import Written
from sinks.load.progress import Shown
from sinks.load.running import Loaded, load, surveys
from sinks.load.tables import TableTarget
from tests.fixtures.lasting_engine import LastingEngine
from tests.fixtures.vendor_truth import FILES, random_book, random_trades, tardis_trades
from tests.unit.sinks.load.rows import RULES

NO_TTL = {"md.l2": 0.0, "md.trades": 0.0}
BLOCK = 12_000


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", clickhouse=ClickHouseSettings(ttl_days=NO_TTL))


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    made = Engine(settings)
    await made.open(asyncio.Event())
    yield LastingEngine(made)
    await made.close()


async def run(settings: Settings, engine: Engine, *paths: Path, target: TableTarget | None = None) -> list[Loaded]:
    shown = Shown(quiet=True)
    files = await asyncio.to_thread(surveys, paths, RULES, shown, BLOCK)
    await load(files, target or TableTarget(settings, lambda _: None, engine), shown, None)
    return files


ALL = "SELECT * FROM {} ORDER BY ALL"
DOUBLED = "SELECT count() - uniqExact(_incarnation, _partition, _offset) FROM {}"


def text(tmp_path: Path, name: str, content: str) -> Path:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    return path


async def test_a_file_loaded_twice_is_there_once_and_exact(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    path = text(tmp_path, "trades.csv", random_trades(3, 500))
    (first,) = await run(settings, engine, path)
    assert first.written == Written(500, 0)
    before = await engine.rows(ALL.format("trades"))
    (second,) = await run(settings, engine, path)
    assert second.written == Written(0, 500)
    assert await engine.rows(ALL.format("trades")) == before
    assert await engine.rows(DOUBLED.format("trades")) == [(0,)]
    found = await engine.rows(
        "SELECT trade_id, price, size, toUnixTimestamp64Nano(exchange_time), toUnixTimestamp64Nano(received_time) "
        "FROM v_trades ORDER BY toUInt64(trade_id)",
    )
    expected = [(one[0], one[2], one[3], one[4], one[5]) for one in tardis_trades(path)]
    assert [(row[0], Decimal(row[1]), Decimal(row[2]), *row[3:]) for row in found] == expected


async def test_books_loaded_twice_are_there_once(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    path = text(tmp_path, "book.csv", random_book(3, 300, ("BTC-USD", "ETH-USD")))
    (first,) = await run(settings, engine, path)
    assert first.written == Written(first.records, 0)
    (second,) = await run(settings, engine, path)
    assert second.written == Written(0, first.records)
    assert await engine.rows("SELECT count(), uniqExact(venue, symbol, epoch, sequence) FROM l2") == [
        (first.records, first.records)
    ]
    assert await engine.rows(DOUBLED.format("l2")) == [(0,)]


async def test_files_that_overlap_do_not_double_trades(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    head, *lines = random_trades(5, 400).splitlines()
    month = text(tmp_path, "month.csv", "\n".join([head, *lines, ""]))
    day = text(tmp_path, "day.csv", "\n".join([head, *lines[100:250], ""]))
    loaded = await run(settings, engine, day, month)
    assert [one.written for one in loaded] == [Written(150, 0), Written(250, 150)]
    assert await engine.rows("SELECT count(), uniqExact(trade_id) FROM trades") == [(400, 400)]


async def test_a_trade_that_a_collector_has_stored_is_not_loaded(settings: Settings, engine: Engine) -> None:
    # Its times are in milliseconds, and it was received later.
    path = FILES / "BTCUSDT-trades-2025-01-01.csv"
    await TableTarget(settings, lambda _: None, engine).open()
    await engine.command(
        "INSERT INTO trades VALUES ('binance', 'BTC-USDT', '4360000001', 'BUY', 9357600, 500000, -2, -8, "
        "fromUnixTimestamp64Milli(1735689600003), fromUnixTimestamp64Milli(1735689600222), 'live', 3, 7)"
    )
    (one,) = await run(settings, engine, path)
    assert one.written == Written(1, 1)


class Killed(Exception):
    pass


def dying(monkeypatch: pytest.MonkeyPatch, engine: Engine, at: int, *, stored: bool) -> None:
    """Die at an insert: before it, or after its rows are stored."""
    real, number = engine.insert, itertools.count()

    async def insert(*arguments: Any) -> None:
        last = next(number) == at
        if stored or not last:
            await real(*arguments)
        if last:
            raise Killed

    monkeypatch.setattr(engine, "insert", insert)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("at", [0, 2])
async def test_a_load_that_died_is_completed_by_the_next(
    settings: Settings, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, stored: bool
) -> None:
    path = text(tmp_path, "trades.csv", random_trades(4, 400))
    with monkeypatch.context() as until_then:
        dying(until_then, engine, at, stored=stored)
        with pytest.raises(Killed):
            await run(settings, engine, path)
    (again,) = await run(settings, engine, path)
    assert again.written.stored + again.written.present == 400
    assert (again.written.present > 0) == (at > 0 or stored)
    assert await engine.rows("SELECT count(), uniqExact(trade_id) FROM trades") == [(400, 400)]


async def test_a_token_without_its_block_does_not_lose_rows(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    # MergeTree enters the token before it stores the block: a kill between the two leaves such a token.
    path = text(tmp_path, "trades.csv", random_trades(4, 50))
    await run(settings, engine, path)
    await engine.command("ALTER TABLE trades DELETE WHERE 1 SETTINGS mutations_sync = 2")
    (again,) = await run(settings, engine, path)
    assert again.written == Written(50, 0)
    assert await engine.rows("SELECT count(), uniqExact(trade_id) FROM trades") == [(50, 50)]


async def test_an_engine_that_does_not_answer_is_waited_for(
    settings: Settings, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = text(tmp_path, "trades.csv", random_trades(4, 50))
    told: list[str] = []
    target = TableTarget(settings, told.append, engine)
    real, failures = engine.insert, iter([True, False])

    async def insert(*arguments: Any) -> None:
        await real(*arguments)
        if next(failures, False):
            raise Unreachable("the connection was cut after the insert")

    monkeypatch.setattr(engine, "insert", insert)
    (one,) = await run(settings, engine, path, target=target)
    assert told
    assert told[0].startswith("waiting: ")
    assert one.written.stored + one.written.present == 50
    assert await engine.rows("SELECT count(), uniqExact(trade_id) FROM trades") == [(50, 50)]


async def test_another_book_of_the_same_epoch_is_refused(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    content = random_book(6, 200)
    path = text(tmp_path, "book.csv", content)
    await run(settings, engine, path)
    changed = content.splitlines()
    at = next(number for number, line in enumerate(changed) if ",false,bid," in line and number > 60)
    changed[at] = f"{changed[at].rpartition(',')[0]},77"
    other = text(tmp_path, "other.csv", "\n".join([*changed, ""]))
    with pytest.raises(
        ServiceError, match=r"table l2 has another .* ALTER TABLE l2 DELETE WHERE _incarnation = 'load:"
    ):
        await run(settings, engine, other)


async def test_rows_that_the_table_would_remove_are_refused(settings: Settings, engine: Engine) -> None:
    path = FILES / "bitstamp_incremental_book_L2_2021-02-01_BTCUSD.csv"
    await TableTarget(settings, lambda _: None, engine).open()
    await engine.command("ALTER TABLE l2 MODIFY TTL received_time + toIntervalSecond(604800)")
    with pytest.raises(ServiceError, match=r"begin 2021-01-31 23:59, and table l2 keeps rows for 7 days"):
        await run(settings, engine, path)


async def test_a_database_that_a_sink_holds_is_told_with_what_to_do(settings: Settings, engine: Engine) -> None:
    with pytest.raises(ServiceError, match=r"in use by process \d+.*--to topics"):
        await run(settings, Engine(settings), FILES / "kraken_trades_2021-02-01_XBTUSD.csv")
