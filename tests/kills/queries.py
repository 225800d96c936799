"""The questions to tables, views and files, and the answers that the source gives. Pure, no I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, localcontext
from typing import Any, Final

from alphapulse import topics
from tests.kills.source import EXPONENTS, Expected, Instrument, RowSums

Ask = Callable[[str], bytes]
"""Runs a query; returns its rows as tab-separated text."""

SPREAD_SECONDS: Final = 60
_SHOWN: Final = 3

_TIMES: Final = tuple(f"toUnixTimestamp64Nano({name})" for name in ("exchange_time", "received_time"))
_SUMMED: Final = {
    topics.TRADES: ("price", "size"),
    # A reader of files takes the items of a list as nullable.
    topics.L2: (
        "sequence",
        *(
            f"arraySum(m -> assumeNotNull(m), {side})"
            for side in ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
        ),
    ),
}
_TEXT: Final = {
    topics.TRADES: (
        *("venue", "symbol", "trade_id", "side", "price", "size", "price_exponent", "size_exponent"),
        *_TIMES,
    ),
    topics.L2: (
        *("venue", "symbol", "kind", "epoch", "sequence", "exchange_sequence"),
        *_TIMES,
        *("price_exponent", "size_exponent", "bid_prices", "bid_sizes", "ask_prices", "ask_sizes", "checksum"),
    ),
}


def of_rows(topic: str, place: str) -> str:
    """Return the query that sums up the rows of each partition in a table, or in what stands for one."""
    sums = ", ".join(f"sum(toInt128({column}))" for column in _SUMMED[topic])
    text = ", ".join(f"ifNull(toString({column}), '')" for column in _TEXT[topic])
    return (
        "SELECT _partition, count(), min(_offset), max(_offset), sum(toInt128(_offset)), uniqExact(_offset), "
        f"{sums}, sum(toUInt64(CRC32(arrayStringConcat([{text}], '|')))) FROM {place} "
        "GROUP BY _partition ORDER BY _partition"
    )


def rows_wanted(rows: Mapping[int, RowSums]) -> list[tuple[Any, ...]]:
    """Return the answer to :func:`of_rows`."""
    return [
        (partition, of.rows, of.first, of.last, of.offsets, of.rows, *of.sums, of.texts)
        for partition, of in sorted(rows.items())
    ]


def parsed(answer: bytes) -> list[tuple[Any, ...]]:
    """Return the rows of an answer: numbers as exact ones, the rest as text; None for NULL."""
    return [tuple(map(_value, line.split("\t"))) for line in answer.decode().splitlines()]


def _value(text: str) -> Any:
    if text == "\\N":
        return None
    if text in ("true", "false"):
        return text == "true"
    return Decimal(text) if text.lstrip("-")[:1].isdigit() else text


def difference(what: str, found: Sequence[tuple[Any, ...]], wanted: Sequence[tuple[Any, ...]]) -> list[str]:
    """Return nothing, or a line that says what differs."""
    if list(found) == list(wanted):
        return []
    lines = [f"{what}: {len(found):,} rows, {len(wanted):,} expected"]
    there, expected = set(found), set(wanted)
    lines += [f"  only stored: {row}" for row in found if row not in expected][:_SHOWN]
    lines += [f"  only expected: {row}" for row in wanted if row not in there][:_SHOWN]
    return ["\n".join(lines)]


def in_tables(ask: Ask, expected: Expected) -> list[str]:
    """Return how tables and views differ from the source."""
    with localcontext(prec=100):
        found: list[str] = []
        for topic, table in ((topics.TRADES, "trades"), (topics.L2, "l2")):
            found += difference(f"table {table}", parsed(ask(of_rows(topic, table))), rows_wanted(expected.rows[topic]))
        for what, query, wanted in _views(expected):
            found += difference(what, parsed(ask(query)), wanted)
        return found + _spreads(ask, expected)


def _views(expected: Expected) -> Iterable[tuple[str, str, list[tuple[Any, ...]]]]:
    yield (
        "rows of the table depth",
        "SELECT count() - uniqExact(_partition, _offset) FROM depth",
        [(0,)],
    )
    yield (
        "view v_trades",
        "SELECT venue, symbol, count(), sum(price), sum(size), sum(notional) FROM v_trades GROUP BY 1, 2 ORDER BY 1, 2",
        [
            (*of, count, *_exact(of[1], price=price, size=size, product=product))
            for of, (count, price, size, product) in sorted(expected.trades.items())
        ],
    )
    yield (
        "view v_l2",
        (
            "SELECT venue, symbol, count(), sum(arraySum(bid_prices)), sum(arraySum(bid_sizes)), "
            "sum(arraySum(ask_prices)), sum(arraySum(ask_sizes)) FROM v_l2 GROUP BY 1, 2 ORDER BY 1, 2"
        ),
        [
            (*of, count, *_exact(of[1], price=bid, size=bid_size), *_exact(of[1], price=ask, size=ask_size))
            for of, (count, _, bid, bid_size, _, ask, ask_size) in sorted(expected.levels.items())
        ],
    )
    yield (
        "view v_l2_levels",
        (
            "SELECT venue, symbol, side, count(), sum(price), sum(size) FROM v_l2_levels "
            "GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 DESC"
        ),
        [
            (*of, side, count, *_exact(of[1], price=price, size=size))
            for of, (_, *figures) in sorted(expected.levels.items())
            for side, (count, price, size) in (("BID", figures[:3]), ("ASK", figures[3:]))
        ],
    )
    for seconds in sorted({seconds for seconds, _, _ in expected.candles}):
        yield (
            f"view v_ohlcv(seconds = {seconds})",
            (
                "SELECT venue, symbol, toUnixTimestamp(open_time), open, high, low, close, volume, quote_volume, "
                "trades, toUnixTimestamp64Nano(first_trade_time), toUnixTimestamp64Nano(last_trade_time) "
                f"FROM v_ohlcv(seconds = {seconds}) ORDER BY 1, 2, 3"
            ),
            _candles(expected, seconds),
        )
    yield (
        "view v_top_of_book",
        (
            "SELECT venue, symbol, toUnixTimestamp(second), valid, bid, bid_size, ask, ask_size, "
            "toUnixTimestamp64Nano(received_time) FROM v_top_of_book ORDER BY 1, 2, 3"
        ),
        _tops(expected),
    )


def _scale(symbol: str) -> tuple[Decimal, Decimal]:
    price, size = EXPONENTS[symbol]
    return Decimal(1).scaleb(price), Decimal(1).scaleb(size)


def _exact(symbol: str, **mantissas: int) -> list[Decimal]:
    """Return mantissas named price, size or product as decimals."""
    price, size = _scale(symbol)
    units = {"price": price, "size": size, "product": price * size}
    return [mantissa * units[name] for name, mantissa in mantissas.items()]


def _candles(expected: Expected, seconds: int) -> list[tuple[Any, ...]]:
    made = []
    for (interval, of, start), candle in expected.candles.items():
        if interval != seconds:
            continue
        price, size = _scale(of[1])
        prices = (candle.open, candle.high, candle.low, candle.close)
        volumes = (candle.volume * size, candle.products * price * size)
        ends = (candle.first_time, candle.last_time)
        made.append((*of, start, *(each * price for each in prices), *volumes, candle.trades, *ends))
    return sorted(made)


def _tops(expected: Expected) -> list[tuple[Any, ...]]:
    made = []
    for (of, second), top in sorted(expected.tops.items()):
        price, size = _scale(of[1])
        units = (price, size, price, size)
        levels = (top.bid, top.bid_size, top.ask, top.ask_size)
        exact = [None if level is None else level * unit for level, unit in zip(levels, units, strict=True)]
        made.append((*of, second, top.valid, *exact, top.received_time))
    return made


def _spreads(ask: Ask, expected: Expected) -> list[str]:
    groups: dict[tuple[Instrument, int], list[tuple[Decimal, Decimal]]] = defaultdict(list)
    for (of, second), top in sorted(expected.tops.items()):
        if top.bid is not None and top.ask is not None:
            price, _ = _scale(of[1])
            groups[of, second // SPREAD_SECONDS * SPREAD_SECONDS].append((top.bid * price, top.ask * price))
    wanted = []
    for (of, start), both in sorted(groups.items()):
        spreads = [ask_price - bid for bid, ask_price in both]
        # The view cuts the mean at 18 decimals.
        mean = int(sum(spreads, Decimal(0)).scaleb(18) // len(spreads))
        wanted.append((*of, start, len(spreads), min(spreads), max(spreads), *both[-1], mean))
    query = (
        "SELECT venue, symbol, toUnixTimestamp(open_time), samples, min_spread, max_spread, bid, ask, mean_spread "
        f"FROM v_spreads(seconds = {SPREAD_SECONDS}) ORDER BY 1, 2, 3"
    )
    found = [(*row[:-1], int(row[-1].scaleb(18))) for row in parsed(ask(query))]
    return difference(f"view v_spreads(seconds = {SPREAD_SECONDS})", found, wanted)
