"""One symbol's market on one venue: a book, and the orders that move it. Pure and seeded.

Each event first takes away what the fair price has run over (somebody trades with it, or it is cancelled), then new
quotes come near the fair price, others change or go; now and then an aggressive order eats levels. Bids stay below the
fair price and asks above it, so the book never crosses.
"""

from __future__ import annotations

import math
import random
from typing import Literal

from alphapulse.book import BookSide, OrderBook
from producers.simulator.events import BookChange, Event, Level, Trade, Trades
from producers.simulator.listings import Listing

LEVELS = 260
"""A side's usual number of levels."""

_LEAST_LEVELS, _MOST_LEVELS = 230, 300
_SPAN = 0.02  # a side reaches this part of the price away from it
_REFILL = 25  # levels that come at the far end in one event at most
_TRADE_SHARE = 0.2  # of the events
_SWEPT_LEVELS = 5  # an aggressive order eats at most
_RUN_OVER_TRADES = 3  # levels that the fair price ran over and somebody still trades with
_BIDS, _ASKS = +1, -1


class SimulatedInstrument:
    """A book that lives.

    Args:
        listing: what and where.
        seed: the same seed and the same fair prices give the same events.
        fair: the fair price in ticks at the start.
        first_trade: id of the first trade.
    """

    def __init__(self, listing: Listing, seed: int, fair: float, first_trade: int = 1) -> None:
        self.listing = listing
        self.book = OrderBook()
        self.trades = first_trade - 1
        self._random = random.Random(f"{seed}/{listing.venue}/{listing.symbol}")  # noqa: S311 a simulation
        self._unit: float = listing.unit_size * 10**listing.size_decimals
        self._half_spread = max(1.0, fair * 0.2e-4)
        self._before: dict[tuple[int, int], int] = {}
        for sign in (_BIDS, _ASKS):
            self._extend(sign, self._edge(sign, fair), LEVELS)
        self._before.clear()

    def evolve(self, time_ns: int, fair: float) -> list[Event]:
        """Let one thing happen at ``time_ns``, with the fair price at ``fair`` ticks; return it, trades first."""
        trades: list[Trade] = []
        for sign in (_BIDS, _ASKS):
            self._run_over(sign, fair, trades)
        for sign in (_BIDS, _ASKS):
            self._requote(sign, fair)
        if self._random.random() < _TRADE_SHARE:
            self._sweep(self._random.choice((_BIDS, _ASKS)), trades)
        events: list[Event] = [Trades(self.listing, time_ns, tuple(trades))] if trades else []
        bids, asks = self._changes(_BIDS), self._changes(_ASKS)
        self._before.clear()
        if bids or asks:
            events.append(BookChange(self.listing, time_ns, bids, asks))
        return events

    def _side(self, sign: int) -> BookSide:
        return self.book.bids if sign == _BIDS else self.book.asks

    def _edge(self, sign: int, fair: float) -> int:
        """Return the best price a new quote may have."""
        half = self._half_spread * self._random.uniform(0.7, 1.6)
        return max(math.floor(fair - half), 1) if sign == _BIDS else math.ceil(fair + half)

    def _set(self, sign: int, price: int, size: int) -> None:
        side = self._side(sign)
        self._before.setdefault((sign, price), side.size_at(price))
        side.apply((price,), (size,))

    def _changes(self, sign: int) -> tuple[Level, ...]:
        side = self._side(sign)
        return tuple(
            (price, side.size_at(price))
            for (of, price), size in self._before.items()
            if of == sign and side.size_at(price) != size
        )

    def _run_over(self, sign: int, fair: float, trades: list[Trade]) -> None:
        side = self._side(sign)
        taken = self._random.random() < 0.7
        while (best := side.best_price()) is not None and sign * best >= sign * fair:
            if taken and len(trades) < _RUN_OVER_TRADES:
                trades.append(self._match(sign, best, side.size_at(best)))
            self._set(sign, best, 0)

    def _requote(self, sign: int, fair: float) -> None:
        chance, side = self._random, self._side(sign)
        edge = self._edge(sign, fair)
        best = side.best_price()
        if best is None or sign * (edge - best) > self._half_spread:
            self._set(sign, edge, self._size(0))
        for _ in range(chance.choice((0, 1, 1, 2))):
            place = int(chance.expovariate(1 / 8.0))
            levels = side.top(place + 1)
            if chance.random() < 0.35 and len(levels) > place:
                self._set(sign, levels[place][0], 0 if chance.random() < 0.5 else self._size(place))
            else:
                price = edge - sign * round(place * self._gap(place) * chance.uniform(0.4, 1.0))
                if price > 0:
                    self._set(sign, price, self._size(place))
        if len(side) < _LEAST_LEVELS:
            worst = next(reversed(side.top(len(side))), (edge, 0))[0]
            self._extend(sign, worst, min(LEVELS - len(side), _REFILL))
        elif len(side) > _MOST_LEVELS:
            for price, _ in side.top(len(side))[LEVELS:]:
                self._set(sign, price, 0)

    def _extend(self, sign: int, start: int, count: int) -> None:
        """Add ``count`` levels behind ``start``."""
        price = start
        for _ in range(count):
            place = len(self._side(sign))
            price -= sign * max(1, round(self._gap(place) * self._random.expovariate(1.0)))
            if price <= 0:
                return
            self._set(sign, price, self._size(place))

    def _gap(self, place: int) -> float:
        """Return the usual distance in ticks between the levels at ``place``: it grows away from the best."""
        span: float = max(self.listing.start_price * 10**self.listing.price_decimals * _SPAN, 1.2 * LEVELS)
        return 1.0 + 2.0 * max(span / LEVELS - 1.0, 0.0) * place / LEVELS

    def _size(self, place: int) -> int:
        size = self._unit * (0.3 + place / 40.0) * self._random.lognormvariate(0.0, 0.8)
        lots = max(1, round(size))
        if self._random.random() < 0.3:
            unit = int(10 ** max(len(str(lots)) - 2, 0))
            lots = max(lots // unit, 1) * unit
        return lots

    def _sweep(self, sign: int, trades: list[Trade]) -> None:
        """Let an aggressive order eat into the side ``sign``."""
        left = max(1, round(self._unit * self._random.lognormvariate(-1.2, 1.2)))
        for price, size in self._side(sign).top(_SWEPT_LEVELS):
            matched = min(left, size)
            trades.append(self._match(sign, price, matched))
            self._set(sign, price, size - matched)
            left -= matched
            if not left:
                return

    def _match(self, sign: int, price: int, size: int) -> Trade:
        self.trades += 1
        side: Literal["buy", "sell"] = "sell" if sign == _BIDS else "buy"
        return Trade(self.trades, side, price, size)
