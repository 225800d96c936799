from __future__ import annotations

import random
from decimal import Decimal

from sinks.clickhouse.engine import Engine
from sinks.clickhouse.tables import migrate

DEPTH = (
    "INSERT INTO depth (venue, symbol, valid, received_time, price_exponent, size_exponent, bid_prices, bid_sizes, "
    "ask_prices, ask_sizes, _offset) VALUES "
)


def row(second: float, bid: int | None, ask: int | None, offset: int, *, valid: bool = True) -> str:
    bids, asks = ([str(bid)] if bid else []), ([str(ask)] if ask else [])
    sizes = ([str(offset + 1)] * len(bids), [str(offset + 2)] * len(asks))
    texts = [f"[{','.join(each)}]" for each in (bids, sizes[0], asks, sizes[1])]
    time = f"toDateTime64({second}, 9, 'UTC')"
    return f"('k', 'B', {str(valid).lower()}, {time}, -2, -1, {', '.join(texts)}, {offset})"


async def test_the_last_record_of_a_second_is_its_top(engine: Engine) -> None:
    await migrate(engine)
    rows = [row(10.2, 100, 103, 0), row(10.9, 101, 102, 1), row(10.9, 100, 102, 2), row(11.5, None, 105, 3)]
    rows += [row(12.1, 99, 98, 4), row(12.5, None, None, 5, valid=False)]
    await engine.command(DEPTH + ", ".join(rows))
    # A sink that was killed may have stored another sample of the same seconds before.
    await engine.command(DEPTH + ", ".join(rows[1:3]))
    found = await engine.rows(
        "SELECT toUnixTimestamp(second), valid, bid, bid_size, ask, ask_size, spread, mid FROM v_top_of_book ORDER BY 1"
    )
    d = Decimal
    assert found == [
        (10, True, d(1), d("0.3"), d("1.02"), d("0.4"), d("0.02"), d("1.01")),
        (11, True, None, None, d("1.05"), d("0.5"), None, None),
        (12, False, None, None, None, None, None, None),
    ]


async def test_quotes_are_a_top_of_book_too(engine: Engine) -> None:
    await migrate(engine)
    await engine.command(
        "INSERT INTO quotes (venue, symbol, bid_price, bid_size, ask_price, ask_size, price_exponent, received_time, "
        "_offset) VALUES ('a', 'AAPL', 22110, 3, 22111, 4, -2, 7, 1), ('a', 'AAPL', 22109, 2, 0, 0, -2, 7, 2)"
    )
    assert await engine.rows("SELECT bid, bid_size, ask, spread, valid FROM v_top_of_book") == [
        (Decimal("221.09"), Decimal(2), None, None, True)
    ]


async def test_spreads_equal_a_computation_over_the_rows(engine: Engine) -> None:
    await migrate(engine)
    chance = random.Random(3)
    rows, last = [], {}
    for offset in range(200):
        second = 1000 + chance.randrange(40)
        bid, ask = chance.randrange(90, 100), chance.choice([None, 101, 105, 99])
        rows.append((second + offset / 1000, bid, ask, offset))
    for at, bid, ask, _ in sorted(rows):
        last[int(at)] = (bid, ask)
    await engine.command(DEPTH + ", ".join(row(*each) for each in rows))
    wanted = []
    for start in range(1000, 1040, 8):
        both = [(s, b, a) for s, (b, a) in sorted(last.items()) if start <= s < start + 8 and a is not None]
        spreads = [Decimal(a - b).scaleb(-2) for _, b, a in both]
        ends = (Decimal(both[-1][1]).scaleb(-2), Decimal(both[-1][2]).scaleb(-2))
        wanted.append((start, len(both), min(spreads), max(spreads), sum(spreads), *ends))
    found = await engine.rows(
        "SELECT toUnixTimestamp(open_time), samples, min_spread, max_spread, mean_spread, bid, ask "
        "FROM v_spreads(seconds = 8) WHERE venue = 'k' AND symbol = 'B' ORDER BY open_time"
    )
    # The mean is cut at 18 decimals.
    assert [(*each[:4], *each[5:]) for each in found] == [(*each[:4], *each[5:]) for each in wanted]
    for each, exact in zip(found, wanted, strict=True):
        assert 0 <= exact[4] / exact[1] - each[4] < Decimal("1e-17")
