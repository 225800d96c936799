"""The views' decimals are exact, whatever the mantissa."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest

from alphapulse.errors import ServiceError
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.tables import migrate

MANTISSAS = (0, 1, -1, 6_168_599, 2**63 - 1, -(2**63))


async def test_prices_sizes_and_products_are_exact(engine: Engine) -> None:
    await migrate(engine)
    cases = [(m, s, pe, se) for m in MANTISSAS for s in (1, 2**63 - 1) for pe in (-18, -2, 0) for se in (-18, -8, 0)]
    values = ",".join(f"('{n}', {m}, {s}, {pe}, {se})" for n, (m, s, pe, se) in enumerate(cases))
    await engine.command(f"INSERT INTO trades (trade_id, price, size, price_exponent, size_exponent) VALUES {values}")
    found = await engine.rows("SELECT price, size, notional FROM v_trades ORDER BY toInt64(trade_id)")
    with localcontext(prec=100):
        for (m, s, pe, se), row in zip(cases, found, strict=True):
            price, size = Decimal(m).scaleb(pe), Decimal(s).scaleb(se)
            assert row == (price, size, price * size)


async def test_positive_exponents_are_exact(engine: Engine) -> None:
    await migrate(engine)
    await engine.command(
        "INSERT INTO trades (price, size, price_exponent, size_exponent) VALUES (9223372036854775807, 1, 18, 3)"
    )
    assert await engine.rows("SELECT price, size FROM v_trades") == [(Decimal((2**63 - 1) * 10**18), Decimal(1000))]


async def test_an_exponent_out_of_range_is_an_error_not_a_wrong_number(engine: Engine) -> None:
    await migrate(engine)
    await engine.command("INSERT INTO trades (price, size, price_exponent) VALUES (1, 1, -19)")
    with pytest.raises(ServiceError, match="exponent beyond -18…18"):
        await engine.rows("SELECT price FROM v_trades")


async def test_levels_one_by_one(engine: Engine) -> None:
    await migrate(engine)
    await engine.command(
        "INSERT INTO l2 (bid_prices, bid_sizes, ask_prices, ask_sizes, price_exponent, size_exponent) "
        "VALUES ([100, 99], [5, 0], [101], [7], -1, -2)"
    )
    assert await engine.rows("SELECT side, price, size FROM v_l2_levels") == [
        ("BID", Decimal(10), Decimal("0.05")),
        ("BID", Decimal("9.9"), Decimal(0)),
        ("ASK", Decimal("10.1"), Decimal("0.07")),
    ]
    assert await engine.rows("SELECT bid_prices, ask_sizes FROM v_l2") == [
        ([Decimal(10), Decimal("9.9")], [Decimal("0.07")])
    ]


async def test_the_latest_revision_of_a_candle_counts(engine: Engine) -> None:
    await migrate(engine)
    await engine.command(
        "INSERT INTO candles (venue, symbol, interval, open_time, close, revision, quote_volume, price_exponent) "
        "VALUES "
        "('k', 'B', 1000000000, 0, 10, 0, '1.000000000000000000000000000000000001', -1), "
        "('k', 'B', 1000000000, 0, 11, 2, '2.000000000000000000000000000000000001', -1), "
        "('k', 'B', 1000000000, 0, 12, 1, '3', -1), ('k', 'B', 60000000000, 0, 13, 0, '4', -1)"
    )
    assert await engine.rows("SELECT interval_seconds, close, quote_volume, revision FROM v_candles ORDER BY 1") == [
        (1, Decimal("1.1"), Decimal("2.000000000000000000000000000000000001"), 2),
        (60, Decimal("1.3"), Decimal(4), 0),
    ]


CANDLE = (
    "INSERT INTO candles (venue, symbol, interval, open_time, open, high, low, close, volume, quote_volume, vwap, "
    "trades, revision, received_time, first_trade_time, last_trade_time, partial, _incarnation) VALUES "
)


async def test_a_candle_over_two_lives_of_the_log_is_both_parts(engine: Engine) -> None:
    await migrate(engine)
    await engine.command(
        CANDLE + "('k', 'B', 60000000000, 0, 5, 9, 4, 8, 10, '70', 7, 25, 0, 20, 1, 19, false, 'one'), "
        "('k', 'B', 60000000000, 0, 5, 9, 4, 8, 12, '84', 7, 26, 1, 21, 1, 20, false, 'one'), "
        "('k', 'B', 60000000000, 0, 7, 8, 3, 6, 8, '40', 5, 10, 0, 59, 30, 58, true, 'two')"
    )
    rows = await engine.rows(
        "SELECT open, high, low, close, volume, quote_volume, vwap, trades, partial, toUnixTimestamp(received_time) "
        "FROM v_candles"
    )
    assert rows == [(5, 9, 3, 6, 20, 124, Decimal("6.2"), 36, True, 59)]


async def test_sums_that_overlap_are_not_added_up(engine: Engine) -> None:
    """A venue repeats trades to a collector that begins anew: two lives share them, nobody knows which."""
    await migrate(engine)
    await engine.command(
        CANDLE + "('k', 'B', 60000000000, 0, 5, 9, 4, 8, 10, '70', 7, 25, 0, 20, 1, 19, false, 'one'), "
        "('k', 'B', 60000000000, 0, 7, 8, 3, 6, 8, '40', 5, 30, 0, 59, 12, 58, true, 'two'), "
        "('k', 'C', 60000000000, 0, 7, 8, 3, 6, 8, '40', 5, 30, 0, 59, 0, 0, false, 'one'), "
        "('k', 'C', 60000000000, 0, 7, 8, 3, 6, 9, '45', 5, 31, 0, 90, 0, 0, false, 'two'), "
        "('k', 'D', 60000000000, 0, 7, 8, 3, 6, 8, '40', 5, 30, 0, 59, 0, 0, false, 'one'), "
        "('k', 'D', 60000000000, 0, 7, 8, 3, 6, 9, '45', 5, 25, 0, 90, 70, 80, false, 'two')"
    )
    rows = await engine.rows(
        "SELECT symbol, open, high, close, volume, quote_volume, trades, partial FROM v_candles ORDER BY symbol"
    )
    assert rows == [("B", 5, 9, 6, 8, 40, 30, True), ("C", 7, 8, 6, 9, 45, 31, True), ("D", 7, 8, 6, 8, 40, 30, True)]


@pytest.mark.parametrize(
    ("insert", "select"),
    [
        ("INSERT INTO candles (symbol, quote_volume) VALUES ", "SELECT quote_volume FROM v_candles"),
        ("INSERT INTO arbitrage (net_profit, gross_profit) VALUES ", "SELECT gross_profit FROM v_arbitrage"),
    ],
)
async def test_text_is_exact_or_an_error(engine: Engine, insert: str, select: str) -> None:
    await migrate(engine)
    fits, beyond = "0." + "0" * 35 + "1", "0." + "0" * 36 + "1"
    await engine.command(insert + f"('{fits}', '{fits}')")
    assert await engine.rows(select) == [(Decimal(fits),)]
    await engine.command(insert + f"('{beyond}', '{beyond}')")
    with pytest.raises(ServiceError, match="more than 36 decimals"):
        await engine.rows(select)


@pytest.mark.parametrize("view", ["v_quotes", "v_stats", "v_arbitrage"])
async def test_the_other_views_can_be_read(engine: Engine, view: str) -> None:
    await migrate(engine)
    assert await engine.rows(f"SELECT * FROM {view}") == []
