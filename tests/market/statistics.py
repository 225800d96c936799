"""Statistics of one instrument's book and trades, from the records that a collector makes of a venue's frames.

The book is sampled every :data:`GRID_NS` of receive time as it stood just before; a trade is compared with the book
that the venue had shown before it. Prices enter as differences in basis points, sizes as multiples of their own mean or
median, so that instruments of any price can be compared. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean, median, pstdev
from typing import Final

from schemas.book_reader import BookReader
from schemas.records import L2Update, Trade

GRID_NS: Final = 100_000_000
"""Between two samples of a book's best prices: a tenth of a second, the interval of Binance's diffs."""
SECOND_NS: Final = 1_000_000_000

_PROFILE_EVERY: Final = 10  # samples: once a second the book's depth is looked at as well
_PLACES: Final = (1, 2, 5, 10, 20, 50, 100)
"""Levels whose distance from the best price is measured, counted from 1, the best."""
_BANDS: Final = ((1, 1), (2, 5), (6, 10), (11, 20), (21, 50), (51, 100))
"""Ranges of levels whose sizes are compared with the mean of the best hundred."""
_HOLE_LEVELS: Final = 10
_MINUTE: Final = 60  # seconds
_LONG_LAGS: Final = range(10, 31)  # seconds
_LEAST_RETURNS: Final = 20
"""Fewer values than this say nothing about a distribution."""
_BURST_NS: Final = 100_000_000
_ROUND_DIGITS: Final = 2

Figures = Mapping[str, float | None]
"""Value by key of :data:`tests.market.table.ROWS`; None where there is too little to tell."""


class InstrumentStatistics:
    """Follows one instrument.

    Args:
        venue, symbol: which.
    """

    def __init__(self, venue: str, symbol: str) -> None:
        self.venue = venue
        self.symbol = symbol
        self.reader = BookReader()
        self._begin_ns: int | None = None
        self._next_ns = 0
        self._last_ns = 0
        self._samples = 0
        self._mids: list[float | None] = []  # one a sample; None while there is no book
        self._spreads: list[tuple[int, float]] = []  # price mantissas at the finest exponent seen; basis points
        self._crossed = 0
        self._levels: list[int] = []
        self._distances: dict[int, list[float]] = {place: [] for place in _PLACES}
        self._shares: dict[tuple[int, int], list[float]] = {band: [] for band in _BANDS}
        self._level_sizes: list[float] = []
        self._holes: list[float] = []
        self._updates = 0
        self._level_changes = 0
        self._tick = 0  # greatest common divisor of all prices
        self._exponent = 0
        self._orders: list[_Order] = []
        self._trades: list[Trade] = []

    def take(self, record: L2Update | Trade) -> None:
        """Take the instrument's next record."""
        self._sample_until(record.received_time)
        self._last_ns = record.received_time
        if isinstance(record, Trade):
            self._trade(record)
            return
        if self._begin_ns is None and record.kind == "SNAPSHOT":
            self._begin_ns = record.received_time
            self._next_ns = record.received_time + GRID_NS
        self._note_tick((*record.bid_prices, *record.ask_prices), record.price_exponent)
        if record.kind == "DELTA":
            self._updates += 1
            self._level_changes += len(record.bid_prices) + len(record.ask_prices)
        self.reader.apply(record)

    def finish(self, time_ns: int) -> None:
        """Let the book stand as it is until ``time_ns``."""
        self._sample_until(time_ns)
        self._last_ns = max(self._last_ns, time_ns)

    @property
    def seconds(self) -> float:
        """How long the book was followed."""
        return 0.0 if self._begin_ns is None else (self._last_ns - self._begin_ns) / SECOND_NS

    def figures(self) -> Figures:
        """Return all figures."""
        seconds = self.seconds or math.inf
        return {
            "seconds": self.seconds,
            "updates": self._updates / seconds,
            "level_changes": self._level_changes / seconds,
            **self._price_figures(),
            **self._book_figures(),
            **self._trade_figures(),
        }

    # --- prices ---

    def _price_figures(self) -> dict[str, float | None]:
        seconds = self._mids[:: SECOND_NS // GRID_NS]
        returns = _returns(seconds, 1)
        minutes = _returns(seconds, _MINUTE)
        absolute = [abs(value) for value in returns]
        enough = len(returns) >= _LEAST_RETURNS
        tenths = _returns(self._mids, 1)
        return {
            "still_100ms": _share(value == 0.0 for value in tenths),
            "return_1s": pstdev(returns) if enough else None,
            "return_1s_median": median(absolute) if enough else None,
            "still_1s": _share(value == 0.0 for value in returns) if enough else None,
            "return_1s_p99": _quantile(absolute, 0.99) if len(returns) >= 100 else None,
            "return_1s_max": max(absolute) if enough else None,
            "kurtosis_1s": _kurtosis(returns) if len(returns) >= 100 else None,
            "clustering_1s": _autocorrelation(absolute, (1,)) if len(returns) >= 100 else None,
            "clustering_long": _autocorrelation(absolute, _LONG_LAGS) if len(returns) >= 200 else None,
            "return_1min": fmean(map(abs, minutes)) if len(minutes) >= _LEAST_RETURNS else None,
            "return_1min_max": max(map(abs, minutes)) if len(minutes) >= _LEAST_RETURNS else None,
        }

    def _sample_until(self, time_ns: int) -> None:
        """Take the samples due before ``time_ns``."""
        if self._begin_ns is None:
            return
        while self._next_ns <= time_ns:
            self._sample()
            self._next_ns += GRID_NS

    def _sample(self) -> None:
        self._samples += 1
        bids, asks = self.reader.book.bids, self.reader.book.asks
        bid, ask = bids.best_price(), asks.best_price()
        if bid is None or ask is None:
            self._mids.append(None)
            return
        mid = (bid + ask) / 2
        self._mids.append(mid * 10.0**self.reader.price_exponent)
        scale = 10 ** max(self.reader.price_exponent - self._exponent, 0)
        self._spreads.append(((ask - bid) * scale, 1e4 * (ask - bid) / mid))
        self._crossed += bid >= ask
        if self._samples % _PROFILE_EVERY == 0:
            self._profile(mid)

    # --- depth ---

    def _profile(self, mid: float) -> None:
        book = self.reader.book
        self._levels.append(len(book.bids) + len(book.asks))
        for side in (book.bids, book.asks):
            levels = side.top(_PLACES[-1])
            best = levels[0][0]
            away = [abs(price - best) / mid * 1e4 for price, _ in levels]
            for place, distances in self._distances.items():
                if place <= len(away):
                    distances.append(away[place - 1])
            mean = fmean(size for _, size in levels)
            for (first, last), shares in self._shares.items():
                if last <= len(levels):
                    shares.append(fmean(size for _, size in levels[first - 1 : last]) / mean)
            if self._samples % (10 * _PROFILE_EVERY) == 0:
                middle = median(size for _, size in levels)
                self._level_sizes += [size / middle for _, size in levels]
            near = away[:_HOLE_LEVELS]
            if len(near) == _HOLE_LEVELS:
                self._holes.append(max(b - a for a, b in pairwise(near)))

    def _book_figures(self) -> dict[str, float | None]:
        tick = max(self._tick, 1)
        found: dict[str, float | None] = {
            "tick": 1e4 * tick * 10.0**self._exponent / self._mean_mid() if self._spreads else None,
            "spread": _median([basis_points for _, basis_points in self._spreads]),
            "spread_ticks": _median([mantissa / tick for mantissa, _ in self._spreads]),
            "spread_p95": _quantile([basis_points for _, basis_points in self._spreads], 0.95),
            "crossed": self._crossed / len(self._spreads) if self._spreads else None,
            "levels": _median(self._levels),
            "levels_range": (max(self._levels) - min(self._levels)) / fmean(self._levels) if self._levels else None,
            "hole": _median(self._holes),
            "hole_p99": _quantile(self._holes, 0.99),
            "size_tail": _quantile(self._level_sizes, 0.99),
        }
        for place, distances in self._distances.items():
            found[f"distance_{place}"] = _median(distances)
        for (first, last), shares in self._shares.items():
            found[f"size_{first}_{last}"] = fmean(shares) if shares else None
        return found

    def _mean_mid(self) -> float:
        return fmean(mid for mid in self._mids if mid is not None)

    def _note_tick(self, prices: Iterable[int], exponent: int) -> None:
        if exponent < self._exponent or not self._tick:
            self._tick *= 10 ** max(self._exponent - exponent, 0)
            self._exponent = exponent
        self._tick = math.gcd(self._tick, math.gcd(*prices) * 10 ** (exponent - self._exponent))

    # --- trades ---

    def _trade(self, trade: Trade) -> None:
        if not self.reader.valid:
            return
        self._trades.append(trade)
        last = self._orders[-1] if self._orders else None
        if last is None or (last.time_ns, last.side) != (trade.exchange_time, trade.side):
            self._orders.append(_Order(trade, self.reader))
        else:
            last.add(trade)

    def _trade_figures(self) -> dict[str, float | None]:
        trades, orders, seconds = self._trades, self._orders, self.seconds or math.inf
        sizes = [trade.size for trade in trades]
        times = [trade.received_time for trade in trades]
        enough = len(trades) >= _LEAST_RETURNS
        middle = median(sizes) if sizes else 1
        buys, sells = ([trade.size for trade in trades if (trade.side == "BUY") is side] for side in (True, False))
        both = len(buys) >= _LEAST_RETURNS <= len(sells)
        return {
            "trades": len(trades) / seconds,
            "buys": len(buys) / len(trades) if enough else None,
            "buy_size": median(buys) / median(sells) if both else None,
            "trade_size_tail": (_quantile(sizes, 0.99) or 0.0) / middle if len(trades) >= 100 else None,
            "trade_size_mean": fmean(sizes) / middle if enough else None,
            "trade_sizes_round": _share(_is_round(size) for size in sizes) if enough else None,
            "orders": len(orders) / seconds,
            "same_side": _share(a.side == b.side for a, b in pairwise(orders)) if enough else None,
            "at_touch": _share(order.place == 0 for order in orders) if enough else None,
            "inside": _share(order.place > 0 for order in orders) if enough else None,
            "through": _share(order.place < 0 for order in orders) if enough else None,
            "deep": _share(order.prices > 1 for order in orders) if enough else None,
            "bursts": _share(b - a <= _BURST_NS for a, b in pairwise(times)) if enough else None,
            "dispersion": self._dispersion(times) if len(trades) >= 100 else None,
        }

    def _dispersion(self, times: Sequence[int]) -> float:
        """Return variance over mean of the number of trades in a second: 1 for a Poisson process."""
        counts = [0] * max(math.ceil(self.seconds), 1)
        for time in times:
            counts[min((time - (self._begin_ns or 0)) // SECOND_NS, len(counts) - 1)] += 1
        return pstdev(counts) ** 2 / fmean(counts)


class _Order:
    """The trades of one aggressive order: the same side at the same exchange time."""

    __slots__ = ("last", "place", "prices", "side", "time_ns")

    def __init__(self, first: Trade, reader: BookReader) -> None:
        self.time_ns = first.exchange_time
        self.side = first.side
        self.prices = 1
        self.last = first.price
        bid, ask = reader.book.bids.best_price(), reader.book.asks.best_price()
        scale = 10 ** abs(first.price_exponent - reader.price_exponent)
        price, unit = (
            (first.price * scale, 1) if first.price_exponent >= reader.price_exponent else (first.price, scale)
        )
        self.place = 0
        """0: the first trade was at the best price that the book showed; > 0 within the spread, < 0 beyond it."""
        if first.side == "BUY" and ask is not None:
            self.place = ask * unit - price
        elif first.side == "SELL" and bid is not None:
            self.place = price - bid * unit

    def add(self, trade: Trade) -> None:
        self.prices += trade.price != self.last
        self.last = trade.price


def _returns(mids: Sequence[float | None], steps: int) -> list[float]:
    """Return the overlapping log returns over ``steps``, in basis points, where there was a book at either end."""
    pairs = zip(mids, mids[steps:], strict=False)
    return [1e4 * math.log(after / before) for before, after in pairs if before is not None and after is not None]


def _share(values: Iterable[bool]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _quantile(values: Sequence[float], part: float) -> float | None:
    return sorted(values)[min(int(part * len(values)), len(values) - 1)] if values else None


def _kurtosis(values: Sequence[float]) -> float | None:
    """Return the excess kurtosis: 0 for a normal distribution."""
    mean, deviation = fmean(values), pstdev(values)
    return fmean(((value - mean) / deviation) ** 4 for value in values) - 3.0 if deviation else None


def _autocorrelation(values: Sequence[float], lags: Iterable[int]) -> float | None:
    """Return the mean of the autocorrelations at ``lags``."""
    mean, variance = fmean(values), pstdev(values) ** 2
    if not variance:
        return None
    around = [value - mean for value in values]
    return fmean(fmean(a * b for a, b in zip(around, around[lag:], strict=False)) / variance for lag in lags)


def _is_round(mantissa: int) -> bool:
    """Return whether a size has at most two significant digits."""
    return len(str(mantissa).rstrip("0")) <= _ROUND_DIGITS
