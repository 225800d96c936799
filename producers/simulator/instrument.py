"""One symbol's market on one venue: a book, and the orders that move it. Pure and seeded.

Each event first takes away what the fair price has run over (somebody trades with it, or it is cancelled), then new
quotes come near the fair price, others change or go; now and then an aggressive order eats levels. Bids stay below the
fair price and asks above it, so the book never crosses.
"""

from __future__ import annotations

import random
from math import ceil, exp, floor, log
from typing import Final, Literal

from alphapulse.book import BookSide, OrderBook
from producers.simulator.draws import DRAWS, NORMAL
from producers.simulator.events import BookChange, Event, Level, Trade, Trades
from producers.simulator.listings import Listing

LEVELS: Final = 260
"""A side's usual number of levels."""

_LEAST_LEVELS, _MOST_LEVELS = 230, 300
_SPAN = 0.02  # a side reaches this part of the price away from it
_REFILL = 25  # levels that come at the far end in one event at most
_TRADE_SHARE = 0.2  # of the events
_SWEPT_LEVELS = 5  # an aggressive order eats at most
_RUN_OVER_TRADES = 3  # levels that the fair price ran over and somebody still trades with
_QUOTES = (0, 1, 1, 2)  # new ones on a side in one event
_LOOK_EVERY = 3  # sides: how often their levels are counted; odd, so that it is the turn of either
_PLACE = 8.0  # new quotes come so many levels behind the best, in the mean

_QUOTED = tuple(exp(0.8 * value) for value in NORMAL)
_AGGRESSIVE = tuple(exp(1.2 * value - 1.2) for value in NORMAL)


class _Side:
    """One side of the book, and what its levels were before the event under way and are by now."""

    __slots__ = ("after", "before", "levels", "sign")

    def __init__(self, sign: int, levels: BookSide) -> None:
        self.sign = sign
        self.levels = levels
        self.before: dict[int, int] = {}
        self.after: dict[int, int] = {}

    def set(self, price: int, size: int) -> None:
        self.before.setdefault(price, self.levels.set(price, size))
        self.after[price] = size

    def changes(self) -> tuple[Level, ...]:
        """Return what the event changed."""
        before, after = self.before, self.after
        changed = tuple([level for level in after.items() if before[level[0]] != level[1]])
        before.clear()
        after.clear()
        return changed


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
        self._chance = random.Random(f"{seed}/{listing.venue}/{listing.symbol}").random  # noqa: S311 a simulation
        self._unit: float = listing.unit_size * 10**listing.size_decimals
        self._half_spread = max(1.0, fair * 0.2e-4)
        span: float = max(listing.start_price * 10**listing.price_decimals * _SPAN, 1.2 * LEVELS)
        self._widening = 2.0 * max(span / LEVELS - 1.0, 0.0) / LEVELS
        self._bids, self._asks = _Side(+1, self.book.bids), _Side(-1, self.book.asks)
        for side in (self._bids, self._asks):
            self._extend(side, self._edge(side.sign, fair), LEVELS)
            side.changes()
        self._turn = 0

    def evolve(self, time_ns: int, fair: float) -> list[Event]:
        """Let one thing happen at ``time_ns``, with the fair price at ``fair`` ticks; return it, trades first."""
        chance, bids, asks = self._chance, self._bids, self._asks
        trades: list[Trade] = []
        best, best_ask = bids.levels.best_price(), asks.levels.best_price()
        if best is not None and best >= fair:
            best = self._run_over(bids, fair, trades)
        if best_ask is not None and best_ask <= fair:
            best_ask = self._run_over(asks, fair, trades)
        self._requote(bids, fair, best)
        self._requote(asks, fair, best_ask)
        if chance() < _TRADE_SHARE:
            self._sweep(bids if chance() < 0.5 else asks, trades)
        events: list[Event] = [Trades(self.listing, time_ns, tuple(trades))] if trades else []
        changed = bids.changes() if bids.after else ()
        changed_asks = asks.changes() if asks.after else ()
        if changed or changed_asks:
            events.append(BookChange(self.listing, time_ns, changed, changed_asks))
        return events

    def _edge(self, sign: int, fair: float) -> int:
        """Return the best price a new quote may have."""
        half = self._half_spread * (0.7 + 0.9 * self._chance())
        return max(floor(fair - half), 1) if sign > 0 else ceil(fair + half)

    def _run_over(self, side: _Side, fair: float, trades: list[Trade]) -> int | None:
        """Take away what the fair price has passed; return the best price that is left."""
        taken, sign = self._chance() < 0.7, side.sign
        while (best := side.levels.best_price()) is not None and sign * best >= sign * fair:
            if taken and len(trades) < _RUN_OVER_TRADES:
                trades.append(self._match(sign, best, side.levels.size_at(best)))
            side.set(best, 0)
        return best

    def _requote(self, side: _Side, fair: float, best: int | None) -> None:
        chance, sign, levels = self._chance, side.sign, side.levels
        edge = self._edge(sign, fair)
        if best is None or sign * (edge - best) > self._half_spread:
            side.set(edge, self._size(0))
        for _ in range(_QUOTES[int(chance() * 4)]):
            place = int(-_PLACE * log(1.0 - chance()))
            if chance() < 0.35 and place < len(levels):
                side.set(levels.price_at(place), 0 if chance() < 0.5 else self._size(place))
            else:
                away = place * (1.0 + self._widening * place) * (0.4 + 0.6 * chance())
                price = edge - sign * round(away)
                if price > 0:
                    side.set(price, self._size(place))
        self._turn = turn = (self._turn + 1) % _LOOK_EVERY
        if not turn and not _LEAST_LEVELS <= len(levels) <= _MOST_LEVELS:
            self._restore(side, edge)

    def _restore(self, side: _Side, edge: int) -> None:
        """Bring the number of levels back to the usual, at the far end."""
        levels = side.levels
        if (count := len(levels)) < LEVELS:
            worst = levels.price_at(count - 1) if count else edge
            self._extend(side, worst, min(LEVELS - count, _REFILL))
        else:
            for price in levels.prices(count)[LEVELS:]:
                side.set(price, 0)

    def _extend(self, side: _Side, start: int, count: int) -> None:
        """Add ``count`` levels behind ``start``."""
        price = start
        for _ in range(count):
            place = len(side.levels)
            gap = 1.0 + self._widening * place
            price -= side.sign * max(1, round(-gap * log(1.0 - self._chance())))
            if price <= 0:
                return
            side.set(price, self._size(place))

    def _size(self, place: int) -> int:
        """Return the size of a new level: the further away, the greater; some are round."""
        chance = self._chance
        lots = round(self._unit * (0.3 + place / 40.0) * _QUOTED[int(chance() * DRAWS)])
        if chance() < 0.3:
            unit = 10 ** max(len(str(lots)) - 2, 0)
            lots -= lots % unit
        return max(lots, 1)

    def _sweep(self, side: _Side, trades: list[Trade]) -> None:
        """Let an aggressive order eat into ``side``."""
        left = max(1, round(self._unit * _AGGRESSIVE[int(self._chance() * DRAWS)]))
        for price, size in side.levels.top(_SWEPT_LEVELS):
            matched = min(left, size)
            trades.append(self._match(side.sign, price, matched))
            side.set(price, size - matched)
            left -= matched
            if not left:
                return

    def _match(self, sign: int, price: int, size: int) -> Trade:
        self.trades += 1
        side: Literal["buy", "sell"] = "sell" if sign > 0 else "buy"
        return Trade(self.trades, side, price, size)
