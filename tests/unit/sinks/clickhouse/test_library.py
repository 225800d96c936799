"""Every query of the library answers what plain Python computes from the same records."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pytest
import pytest_asyncio

from alphapulse.config import Settings
from schemas.records import Depth
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.library import library
from sinks.clickhouse.readonly import QueryRefused, ask, restrict
from tests.calculator.instrument import plain
from tests.fixtures import desk_figures as figures
from tests.fixtures.recorded_tables import chosen, fill, recorded
from tests.recordings import Recording

pytestmark = [pytest.mark.xdist_group("sql_library"), pytest.mark.asyncio(loop_scope="module")]

Asked = Callable[..., list[dict[str, Any]]]

# 2026-11-29T00:03:20Z and 2026-11-29T00:03:31.5Z, in the middle of our recordings.
FROM, TO = 1_795_910_600_000_000_000, 1_795_910_611_500_000_000
SINCE, UNTIL = "2026-11-29T00:03:20Z", "2026-11-29T01:03:31.500+01:00"
TIMES = {"since": SINCE, "until": UNTIL}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    made = Engine(Settings(data_dir=tmp_path_factory.mktemp("library")))
    await made.open(asyncio.Event())
    await fill(made, recorded().records)
    yield made
    await made.close()


@pytest.fixture
def asked(engine: Engine) -> Asked:
    """Ask a query of the library, as the command does; return its rows, times in nanoseconds, dates in days."""

    def ask_library(name: str, **given: str) -> list[dict[str, Any]]:
        query = library()[name]
        client = engine.another_client()
        try:
            restrict(client)
            answer = ask(client, query.text, "ArrowStream", query.values(given))
        finally:
            client.close()
        table = pa.ipc.open_stream(answer).read_all()
        for number, field in enumerate(table.schema):
            if pa.types.is_timestamp(field.type):
                table = table.set_column(
                    number, field.name, table[field.name].cast(pa.timestamp("ns")).cast(pa.int64())
                )
            elif pa.types.is_date32(field.type):
                table = table.set_column(number, field.name, table[field.name].cast(pa.int32()))
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows

    return ask_library


def same(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    """Compare rows: decimals and integers exactly, floats to the six decimals they are rounded to."""
    assert len(found) == len(wanted)
    for row, want in zip(found, wanted, strict=True):
        assert list(row) == list(want)
        for name, value in row.items():
            expected = want[name]
            if isinstance(expected, float):
                assert math.isclose(value, expected, rel_tol=1e-9, abs_tol=6e-7), (name, row, want)
            else:
                assert value == expected, (name, row, want)


def real_symbols() -> list[str]:
    return sorted({symbol for one in chosen() for symbol in one.instruments})


@pytest.mark.parametrize("symbol", real_symbols())
async def test_candles_at_any_interval(asked: Asked, symbol: str) -> None:
    for seconds in ("60", "1", "0.25", "86400"):
        same(asked("ohlcv", symbol=symbol, seconds=seconds), figures.ohlcv(recorded(), symbol, seconds=seconds))


async def test_candles_of_a_venue_in_a_time(asked: Asked) -> None:
    found = asked("ohlcv", symbol="BTC-USD", venue="coin%", seconds="5", **TIMES)
    same(found, figures.ohlcv(recorded(), "BTC-USD", venue="coin%", seconds="5", times=(FROM, TO)))
    assert {row["venue"] for row in found} == {"coinbase"}
    assert len(found) in (3, 4)


@pytest.mark.parametrize("recording", chosen(), ids=str)
async def test_their_volume_is_what_the_calculator_counts_in_the_frames(asked: Asked, recording: Recording) -> None:
    for symbol in recording.instruments:
        found = asked("ohlcv", symbol=symbol, venue=recording.venue, seconds="1")
        both = [one for one in chosen() if one.venue == recording.venue and symbol in one.instruments]
        volume = sum((Decimal(one.instruments[symbol]["base_volume"]) for one in both), Decimal(0))
        assert sum((row["volume"] for row in found), Decimal(0)) == volume
        assert sum(row["trades"] for row in found) == sum(one.instruments[symbol]["trades"] for one in both)
    # Two of the real recordings hold books only.
    assert any(state["trades"] for one in chosen() for state in one.instruments.values())


INSTRUMENTS = [("kraken", "BTC-USD"), ("coinbase", "ETH-USD"), ("alpaca", "AAPL"), ("kraken", "AAPL")]


@pytest.mark.parametrize(("venue", "symbol"), INSTRUMENTS)
async def test_what_is_newest_of_an_instrument(asked: Asked, venue: str, symbol: str) -> None:
    for until in (FROM, TO, 2**62):
        found = asked("latest_trades", venue=venue, symbol=symbol, until=iso(until), limit="7")
        same(found, figures.latest_trades(recorded(), symbol, venue=venue, until=until, limit=7))
        levels = asked("latest_book", venue=venue, symbol=symbol, until=iso(until))
        same(levels, figures.latest_book(recorded(), symbol, venue=venue, until=until))
        assert bool(found) == ((venue, symbol) != ("kraken", "AAPL"))
        assert bool(levels) == (symbol != "AAPL")
    same(asked("latest_trades", venue=venue, symbol=symbol), figures.latest_trades(recorded(), symbol, venue=venue))
    same(asked("latest_book", venue=venue, symbol=symbol), figures.latest_book(recorded(), symbol, venue=venue))


async def test_the_newest_book_is_found_in_the_newest_minute_and_before_it(asked: Asked) -> None:
    """The query looks at the newest minute of the table first: an instrument may have been silent for longer."""
    newest: dict[tuple[str, str], int] = {}
    for one in recorded().of(Depth):
        newest[one.venue, one.symbol] = max(newest.get((one.venue, one.symbol), 0), one.received_time)
    silent = {key for key, time in newest.items() if time < max(newest.values()) - 60 * 10**9}
    assert silent
    assert newest.keys() - silent
    for venue, symbol in newest:
        found = asked("latest_book", venue=venue, symbol=symbol)
        same(found, figures.latest_book(recorded(), symbol, venue=venue))
    for venue, symbol in silent:
        # Before the newest row of a silent one, where the table's newest minute is another.
        until = newest[venue, symbol]
        found = asked("latest_book", venue=venue, symbol=symbol, until=iso(until))
        same(found, figures.latest_book(recorded(), symbol, venue=venue, until=until))


@pytest.mark.parametrize("symbol", ["BTC-USD", "SHIB-USD", "AAPL"])
async def test_trades_meet_the_book_of_their_time(asked: Asked, symbol: str) -> None:
    found = asked("trades_with_book", symbol=symbol, limit="100000")
    same(found, figures.trades_with_book(recorded(), symbol, limit=100_000))
    assert sum(row["bid"] is not None for row in found) > len(found) // 2
    narrow = asked("trades_with_book", symbol=symbol, max_age_ms="20", limit="50", **TIMES)
    same(narrow, figures.trades_with_book(recorded(), symbol, max_age_ms=20, limit=50, times=(FROM, TO)))
    assert {row["bid"] is None for row in narrow} == {True, False}


@pytest.mark.parametrize("symbol", ["BTC-USD", "ETH-USD", "MSFT"])
async def test_spreads(asked: Asked, symbol: str) -> None:
    same(asked("effective_spread", symbol=symbol), figures.effective_spread(recorded(), symbol))
    within = figures.effective_spread(recorded(), symbol, times=(FROM, TO), max_age_ms=50)
    same(asked("effective_spread", symbol=symbol, max_age_ms="50", **TIMES), within)
    for seconds in ("60", "0.5"):
        wanted = figures.quoted_spread(recorded(), symbol, seconds=seconds)
        same(asked("quoted_spread", symbol=symbol, seconds=seconds), wanted)
        assert wanted
    cut = figures.quoted_spread(recorded(), symbol, times=(FROM, TO), max_age_ms=30)
    same(asked("quoted_spread", symbol=symbol, max_age_ms="30", **TIMES), cut)


@pytest.mark.parametrize("recording", [one for one in chosen() if one.venue != "alpaca"], ids=str)
async def test_the_book_of_an_instant(asked: Asked, recording: Recording) -> None:
    """At the end it is the book of expected.json, which comes from the frames; before, all records up to then."""
    times = sorted(
        one.received_time for one in figures.recorded_updates(recorded(), recording.venue, list(recording.instruments))
    )
    later = [one for one in chosen() if one.venue == recording.venue and one.instruments.keys() & recording.instruments]
    for symbol, wanted in recording.instruments.items():
        for at in (times[0] - 1, times[len(times) // 3], times[-len(times) // 3], times[-1]):
            found = asked("book_at", venue=recording.venue, symbol=symbol, at=iso(at))
            same(found, figures.book_at(recorded(), symbol, venue=recording.venue, at=at))
        if later[0] is recording:
            text = "".join(
                f"{row['side'][0]} {plain(row['price'])} {plain(row['size'])}\n"
                for row in asked("book_at", venue=recording.venue, symbol=symbol)
            )
            assert sha256(text.encode()).hexdigest() == wanted["book"]["sha256"]


def iso(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{ns % 10**9:09d}Z"


async def test_a_book_of_which_records_are_missing_is_refused(asked: Asked, engine: Engine) -> None:
    await engine.command(
        "INSERT INTO l2 (venue, symbol, kind, epoch, sequence, received_time, bid_prices, bid_sizes) VALUES "
        "('holey', 'BTC-USD', 'SNAPSHOT', 1000000000, 0, 1, [100], [7]), "
        "('holey', 'BTC-USD', 'DELTA', 1000000000, 2, 3, [99], [8])"
    )
    try:
        with pytest.raises(QueryRefused, match=r"^the table lacks records of this epoch: the book cannot be rebuilt$"):
            asked("book_at", venue="holey", symbol="BTC-USD")
        assert asked("depth_and_slippage", venue="holey", symbol="BTC-USD", size="1") == []
    finally:
        await engine.command("ALTER TABLE l2 DELETE WHERE venue = 'holey' SETTINGS mutations_sync = 2")


@pytest.mark.parametrize(("symbol", "size"), [("BTC-USD", "0.5"), ("BTC-USD", "100000"), ("ETH-USD", "0.000001")])
async def test_depth_and_slippage(asked: Asked, symbol: str, size: str) -> None:
    for at in (FROM, TO, 1_795_910_700_000_000_000):
        wanted = figures.depth_and_slippage(recorded(), symbol, size=size, at=at, within_bps=7.5)
        same(asked("depth_and_slippage", symbol=symbol, size=size, at=iso(at), within_bps="7.5"), wanted)
        assert len(wanted) == 6
    every = figures.slippage_history(recorded(), symbol, size=float(size), seconds="5", times=(FROM, TO))
    same(asked("slippage_history", symbol=symbol, size=size, seconds="5", **TIMES), every)


async def test_opportunities_by_pair(asked: Asked) -> None:
    same(asked("opportunities"), figures.opportunities(recorded()))
    found = asked("opportunities", symbol="BTC-%", **TIMES)
    same(found, figures.opportunities(recorded(), "BTC-%", times=(FROM, TO)))
    assert found


async def test_who_leads(asked: Asked) -> None:
    same(
        asked("lead_lag", symbol="BTC-USD", since="2026-01-01"),
        figures.lead_lag(recorded(), "BTC-USD", times=(1_767_225_600 * 10**9, 2**63)),
    )
    same(
        asked("lead_lag", symbol="ETH-USD", venue="%n%", step_ms="250", lags="3", **TIMES),
        figures.lead_lag(recorded(), "ETH-USD", venue="%n%", step_ms=250, lags=3, times=(FROM, TO)),
    )


async def test_gaps_by_venue_and_day(asked: Asked) -> None:
    wanted = figures.gaps(recorded())
    same(asked("gaps"), wanted)
    assert {"kraken", "coinbase", "binance_us"} <= {row["venue"] for row in wanted if row["resyncs"]}
    same(asked("gaps", venue="kraken", **TIMES), figures.gaps(recorded(), venue="kraken", times=(FROM, TO)))


async def test_busiest_minutes(asked: Asked) -> None:
    same(asked("busiest_minutes"), figures.busiest_minutes(recorded()))
    some = asked("busiest_minutes", venue="coinbase", symbol="%-USD", limit="1", **TIMES)
    same(some, figures.busiest_minutes(recorded(), venue="coinbase", symbol="%-USD", limit=1, times=(FROM, TO)))


async def test_latencies(asked: Asked) -> None:
    same(asked("feed_latency"), figures.feed_latency(recorded()))
    same(
        asked("feed_latency", symbol="BTC%", **TIMES), figures.feed_latency(recorded(), symbol="BTC%", times=(FROM, TO))
    )


async def test_without_depth_the_book_of_each_second_serves(asked: Asked, engine: Engine) -> None:
    """As it is by default: the sink does not write md.depth."""
    await engine.command("RENAME TABLE depth TO depth_kept")
    await engine.command("CREATE TABLE depth AS depth_kept ENGINE = MergeTree ORDER BY received_time")
    try:
        found = asked("trades_with_book", symbol="BTC-USD")
        same(found, figures.trades_with_book(recorded(), "BTC-USD", depth=False))
        assert sum(row["bid"] is not None for row in found) > len(found) // 2
    finally:
        await engine.command("DROP TABLE depth")
        await engine.command("RENAME TABLE depth_kept TO depth")


@pytest.mark.parametrize("name", list(library()))
async def test_every_query_is_described_and_answers_an_empty_time(asked: Asked, name: str) -> None:
    query = library()[name]
    assert query.summary.endswith((".", "?"))
    assert len(query.summary) < 120
    assert all(one.about for one in query.parameters), "each has its line"
    given = {"symbol": "BTC-USD", "venue": "kraken", "size": "1", "at": "2000-01-01", "until": "2000-01-01"}
    needed = {
        one.name: given[one.name] for one in query.parameters if one.default is None or one.name in ("at", "until")
    }
    assert asked(name, **needed) == []
