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


@pytest.mark.parametrize("view", ["v_quotes", "v_stats", "v_arbitrage"])
async def test_the_other_views_can_be_read(engine: Engine, view: str) -> None:
    await migrate(engine)
    assert await engine.rows(f"SELECT * FROM {view}") == []
