"""One symbol's market on one venue: a book and the orders that change it. Pure and seeded.

The book has a target shape: the distance of each level from the best price (:func:`.liquidity.distances`). Orders are
added and removed at random places: added where levels are missing compared with that shape, removed where there are too
many. So whatever the price does, the book soon has its usual shape around it: gaps are filled, far levels follow, and
the number of levels is stable.

The best bid and ask are quoted around the fair price. They stay until it has moved away from where it was quoted; then
the levels it passed are traded or cancelled and new quotes are set. Bids stay below the fair price and asks above it,
so the book never crosses, except in an auction: then it also shows an order that is not matched yet (:data:`Shown`). An
aggressive order comes first in its event, so it meets the book as it was shown.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterable
from math import ceil, floor, inf
from typing import Final, Literal

from alphapulse.book import BookSide, OrderBook
from producers.simulator.draws import DRAWS, EXPONENTIAL
from producers.simulator.events import BookChange, Event, Level, SimulatedTrade, Trades
from producers.simulator.liquidity import distances
from producers.simulator.listings import SimulatedListing
from producers.simulator.sizes import BEST_SIZES, LEVEL_SIZES, ORDER_SIZES, SIZE_DRAWS, rounded

LEVELS: Final = 260
"""Usual number of levels per side."""
MOST_UNITS: Final = 46_116_860_414
"""Maximum size of a level, in the base asset: Binance's limit for SHIB, half of what fits 64 bits at eight decimals."""

HUGE_UNITS: Final = 100_000_000_000
"""In the base asset: more than an int64 at eight decimals, less at seven."""
Shown = Literal["auction", "huge"]
"""Orders that a book may show in addition to its market's."""
NOTHING_SHOWN: Final[frozenset[Shown]] = frozenset()

_LEAST_LEVELS, _MOST_LEVELS = 250, 270
_SWEPT_LEVELS: Final = 6  # maximum levels that an aggressive order takes
_SWEPT: Final = 2e-4  # maximum distance from the best price, of the price, or the usual spread if that is more
_PASSED_TRADES: Final = 3  # levels passed by the fair price that are still traded
_PASSED_SHARE: Final = 0.7  # probability
_CHURN: Final = (0, 1, 1, 2)  # places per side changed in one event
_FREE_PLACES: Final = 6  # behind the best, with random distances
_HOLE: Final = 5  # in usual gaps; a larger one is filled
_MOST_DEBT: Final = 120
_LOOKED_AT, _WINDOW = 3, 8  # places examined for the densest one, and levels from each

# All durations are in seconds of market time, independent of the event rate.
_REFILL_NS: Final = 600_000_000  # time constant of refilling the levels that the price passed
_FOLLOW_NS: Final = 1_000_000_000  # time constant of refilling missing levels at the far end
_TOUCH_NS: Final = 120_000_000  # mean time until a taken or cancelled best level is restored
_QUOTE_NS: Final = 2_000_000_000  # mean time until a wide spread is requoted
_BUSY_NS, _CALM_NS = 500_000_000, 2_500_000_000  # mean durations of busy and calm periods

_TRADES_BUSY, _TRADES_CALM = 0.7, 0.1  # aggressive orders per event
_SAME_SIDE: Final = 0.7  # probability that an aggressive order has the side of the one before
_MORE_ORDERS: Final = 0.45  # probability that an order matches one more order of a level
_MEAN_ORDER: Final = 0.35  # relative to a usual level
_PATIENCE: Final = 0.3  # of half the spread: how far the fair price may move without new quotes


# Where orders are added and removed: mostly near the best price, a quarter anywhere. One draw gives place and action.
_CHURN_PLACES: Final = tuple(
    int(6.0 * EXPONENTIAL[number * 4 % DRAWS]) if number % 4 else number * (LEVELS + 8) // DRAWS
    for number in range(DRAWS)
)
_ACTIONS: Final = 16
_RESIZED, _GONE, _JUST_BEHIND, _JUST_AHEAD = 8, 12, 14, 15  # below the first: resize, below the second: remove, …


class _Side:
    """One side of the book, with its changes in the current event."""

    __slots__ = ("after", "before", "debt", "edge", "fresh", "levels", "sign", "stretch")

    def __init__(self, sign: int, levels: BookSide) -> None:
        self.sign = sign
        self.levels = levels
        self.before: dict[int, int] = {}
        self.after: dict[int, int] = {}
        self.edge = 0  # best price quoted
        self.fresh = True  # new, and quoted at once
        self.debt = 0  # number of levels missing behind it
        self.stretch = 1  # number of places among which they are missing

    def set(self, price: int, size: int) -> None:
        self.before.setdefault(price, self.levels.set(price, size))
        self.after[price] = size

    def changes(self) -> tuple[Level, ...]:
        """Return the levels changed by the event."""
        before, after = self.before, self.after
        changed = tuple([level for level in after.items() if before[level[0]] != level[1]])
        before.clear()
        after.clear()
        return changed


class SimulatedInstrument:
    """Simulated order book of one instrument.

    Args:
        listing: symbol and venue.
        seed: the same seed and fair prices give the same events.
        fair: fair price in ticks at the start.
        first_trade: id of the first trade.
    """

    def __init__(self, listing: SimulatedListing, seed: int, fair: float, first_trade: int = 1) -> None:
        self.listing = listing
        self.book = OrderBook()
        self.trades = first_trade - 1
        self._shown: dict[Shown, Level] = {}  # bids in addition to the market's
        self._chance = random.Random(f"{seed}/{listing.venue}/{listing.symbol}").random  # noqa: S311 a simulation
        self._unit: float = listing.unit_size * 10**listing.size_decimals
        self._most_lots: int = MOST_UNITS * 10**listing.size_decimals
        self._best_unit = self._unit * listing.liquidity.touch
        self._away = distances(listing.liquidity, fair, _MOST_LEVELS + 2)
        self._furthest = self._away[LEVELS] * 5 // 4
        self._half_spread = max(0.5, listing.liquidity.spread * fair / 2)
        self._wide = self._half_spread > 0.5
        self._swept = max(1, round(max(_SWEPT, listing.liquidity.spread) * fair))
        self._patience = max(0.5, _PATIENCE * self._half_spread)
        self._fair = fair
        self._middle = floor(fair) + 0.5
        self._time_ns = self._quote_ns = self._turn_ns = 0
        self._busy = self._buying = False
        self._bids, self._asks = _Side(+1, self.book.bids), _Side(-1, self.book.asks)
        self._quote()
        for side in (self._bids, self._asks):
            side.set(side.edge, self._best_size())
            self._complete(side, LEVELS - 1)
            side.changes()

    def evolve(self, time_ns: int, fair: float) -> list[Event]:
        """Simulate one step at ``time_ns``, with the fair price at ``fair`` ticks; return its events, trades first."""
        chance, bids, asks = self._chance, self._bids, self._asks
        elapsed_ns = time_ns - self._time_ns
        self._time_ns = time_ns
        trades: list[SimulatedTrade] = []
        if abs(fair - self._middle) > self._patience:
            self._follow(fair, trades)
        else:
            if time_ns >= self._turn_ns:
                self._turn()
            if chance() < (_TRADES_BUSY if self._busy else _TRADES_CALM):
                self._take(trades)
            if time_ns >= self._quote_ns and self._wide:
                self._quote()
                self._clear(bids, trades)
                self._clear(asks, trades)
        self._requote(bids, elapsed_ns)
        self._requote(asks, elapsed_ns)
        events: list[Event] = [Trades(self.listing, time_ns, tuple(trades))] if trades else []
        changed = bids.changes() if bids.after else ()
        changed_asks = asks.changes() if asks.after else ()
        if changed or changed_asks:
            if self._shown:
                changed = tuple([(price, size + self._beside(price)) for price, size in changed])
                self._apply(changed, changed_asks)
            events.append(BookChange(self.listing, time_ns, changed, changed_asks))
        return events

    # --- orders in addition to the market's ---

    def show(self, time_ns: int, shown: frozenset[Shown]) -> BookChange | None:
        """Set the additional orders that the book shows; return the change, None for none.

        The market underneath is unaffected. An ``auction`` shows a bid above the best ask, ``huge`` one of
        :data:`HUGE_UNITS` at the lowest possible price.
        """
        if shown == self._shown.keys():
            return None
        if not self._shown:
            market = OrderBook()
            market.replace(*_columns(self.book.bids), *_columns(self.book.asks))
            self._bids.levels, self._asks.levels = market.bids, market.asks
        before = dict(self._shown)
        self._shown = {what: before.get(what) or self._order(what) for what in sorted(shown)}
        prices = {price for price, _ in (*before.values(), *self._shown.values())}
        changes = [(price, self._bids.levels.size_at(price) + self._beside(price)) for price in sorted(prices)]
        changes = [(price, size) for price, size in changes if size != self.book.bids.size_at(price)]
        self._apply(changes, ())
        if not self._shown:
            self._bids.levels, self._asks.levels = self.book.bids, self.book.asks
        return BookChange(self.listing, time_ns, tuple(changes), ())

    def _order(self, what: Shown) -> Level:
        if what == "huge":
            return 1, HUGE_UNITS * 10**self.listing.size_decimals
        ask = self._asks.levels.best_price() or self._asks.edge
        return ask + round(2 * self._half_spread), max(1, round(self._best_unit))

    def _beside(self, price: int) -> int:
        """Return the size of the additional orders at ``price``."""
        return sum(size for where, size in self._shown.values() if where == price)

    def _apply(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        self.book.apply(*_columns(bids), *_columns(asks))

    # --- quotes ---

    def _quote(self) -> None:
        """Choose new prices for the best bid and ask."""
        chance, half, middle = self._chance, self._half_spread, self._middle
        bids, asks = self._bids, self._asks
        below = above = half
        if self._wide:
            below, above = max(half * (0.6 + 0.8 * chance()), 0.5), max(half * (0.6 + 0.8 * chance()), 0.5)
        bid = max(floor(middle - below), 1)
        ask = max(ceil(middle + above), bid + 1)
        for side, edge in ((bids, bid), (asks, ask)):
            if edge != side.edge:
                side.edge, side.fresh = edge, True
        if self._wide:
            self._quote_ns = self._time_ns + int(_QUOTE_NS * EXPONENTIAL[int(chance() * DRAWS)])

    def _follow(self, fair: float, trades: list[SimulatedTrade]) -> None:
        """Requote around a fair price that has moved; the levels it passed are traded or cancelled."""
        moved = abs(fair - self._fair)
        self._fair, self._middle = fair, floor(fair) + 0.5
        self._quote()
        places = min(bisect_left(self._away, moved) - 1, _MOST_DEBT)
        for side in (self._bids, self._asks):
            # On both sides the levels next to the best price are missing now.
            self._clear(side, trades)
            side.debt = min(side.debt + places, _MOST_DEBT)
            side.stretch = max(side.stretch, places)

    def _clear(self, side: _Side, trades: list[SimulatedTrade]) -> None:
        """Remove the levels better than the quoted price; beyond the fair price some are traded."""
        sign, edge, fair, levels = side.sign, side.edge, self._fair, side.levels
        best = levels.best_price()
        passed = best is not None and sign * (best - fair) >= 0
        traded = _PASSED_TRADES if passed and self._chance() < _PASSED_SHARE else 0
        while best is not None and sign * (best - edge) > 0:
            if traded and sign * (best - fair) >= 0:
                traded -= 1
                self._match(trades, sign, best, levels.size_at(best))
            side.set(best, 0)
            best = levels.best_price()

    def _requote(self, side: _Side, elapsed_ns: int) -> None:
        """Add and remove orders on one side."""
        chance, levels = self._chance, side.levels
        if levels.best_price() != side.edge and (side.fresh or chance() * _TOUCH_NS < elapsed_ns):
            side.set(side.edge, self._best_size())
            side.fresh = False
        for _ in range(_CHURN[int(chance() * 4)]):
            self._churn(side)
        if side.debt:
            self._refill(side, elapsed_ns)
        count = len(levels)
        if count < _LEAST_LEVELS:
            missing = min(LEVELS, side.edge if side.sign > 0 else LEVELS) - count
            if missing > 0:
                at_once = missing if count < LEVELS // 2 else 1 + int(missing * elapsed_ns / _FOLLOW_NS)
                self._complete(side, min(missing, at_once))
        elif count > _MOST_LEVELS:
            for _ in range(count - _MOST_LEVELS):
                self._thin(side)

    def _churn(self, side: _Side) -> None:
        """Add, resize or remove an order at a random place, depending on whether levels are missing there."""
        chance, levels, sign = self._chance, side.levels, side.sign
        drawn = int(chance() * (DRAWS * _ACTIONS))
        place, action = _CHURN_PLACES[drawn // _ACTIONS], drawn % _ACTIONS
        if place >= len(levels):
            self._complete(side, 1)
            return
        price = levels.price_at(place)
        if not place:
            side.set(price, self._best_size())
            return
        away, usual = sign * (side.edge - price), self._away
        if place > _FREE_PLACES:
            if 4 * away > 5 * usual[place]:
                self._insert(side, 1 + int(chance() * place))
                if away > self._furthest:
                    side.set(price, 0)
                return
            if 4 * away < 3 * usual[place]:
                side.set(levels.price_at(1 + int(chance() * place)), 0)
                return
        gap = sign * (levels.price_at(place - 1) - price)
        usual_gap = usual[place] - usual[place - 1]
        if gap > _HOLE * usual_gap or gap > usual_gap == 1:
            side.set(price + sign * (1 + int(chance() * (gap - 1))), self._size(place))
        elif action < _RESIZED or usual_gap == 1:  # where every tick has a level none is removed
            side.set(price, self._size(place))
        elif action < _GONE:
            side.set(price, 0)
        elif gap > 1:  # add one: a tick behind the level in front, a tick ahead of the level behind, or between the two
            ahead = gap - 1 if action < _JUST_BEHIND else 1 if action < _JUST_AHEAD else 1 + int(chance() * (gap - 1))
            side.set(price + sign * ahead, self._size(place))

    def _refill(self, side: _Side, elapsed_ns: int) -> None:
        """Add levels where the fair price left none, and remove as many further away if there are too many."""
        chance, levels = self._chance, side.levels
        count = min(int(side.debt * elapsed_ns / _REFILL_NS + chance()), side.debt)
        for _ in range(count):
            self._insert(side, 1 + int(chance() * side.stretch))
            if len(levels) > LEVELS:
                self._thin(side)
        side.debt -= count
        if not side.debt:
            side.stretch = 1

    def _thin(self, side: _Side) -> None:
        """Remove a level where they are denser than usual, and the last one if it is too far away."""
        levels, sign, usual = side.levels, side.sign, self._away
        last = levels.price_at(len(levels) - 1)
        if sign * (side.edge - last) > self._furthest:
            side.set(last, 0)
        least, found = inf, last
        for number in range(_LOOKED_AT):
            drawn = self._chance()
            place = 1 + int((LEVELS - _WINDOW - 2) * (drawn if number else drawn * drawn * drawn))
            price = levels.price_at(place)
            width = sign * (price - levels.price_at(place + _WINDOW))
            if (part := width / (usual[place + _WINDOW] - usual[place])) < least:
                least, found = part, price
        side.set(found, 0)

    def _insert(self, side: _Side, place: int) -> None:
        """Add an order where level number ``place`` usually is."""
        nearer, further = self._away[place - 1], self._away[place]
        price = side.edge - side.sign * (nearer + 1 + int(self._chance() * (further - nearer)))
        if price > 0:
            side.set(price, self._size(place))

    def _complete(self, side: _Side, count: int) -> None:
        """Add ``count`` levels: after the last, or anywhere if that is as far away as usual."""
        levels, sign, usual, chance = side.levels, side.sign, self._away, self._chance
        price = levels.price_at(len(levels) - 1)
        for _ in range(count):
            place = len(levels)
            if place > _MOST_LEVELS or sign * (side.edge - price) > usual[LEVELS - 1]:
                self._insert(side, 1 + int(chance() * (LEVELS - 1)))
                continue
            gap = usual[place] - usual[place - 1]
            price -= sign * (1 if gap < 2 else max(1, round(gap * EXPONENTIAL[int(chance() * DRAWS)])))
            if price <= 0:
                return
            side.set(price, self._size(place))

    def _size(self, place: int) -> int:
        """Return the size of a new level, which increases with the distance; some are round."""
        drawn = int(self._chance() * SIZE_DRAWS)
        lots = round(self._unit * (0.6 + place / 100.0) * LEVEL_SIZES[drawn])
        if lots > self._most_lots:
            return self._most_lots
        return (lots if drawn < DRAWS else rounded(lots)) or 1

    def _best_size(self) -> int:
        """Return the size of a new best level."""
        drawn = int(self._chance() * SIZE_DRAWS)
        lots = min(round(self._best_unit * BEST_SIZES[drawn]), self._most_lots)
        return (lots if drawn < DRAWS else rounded(lots)) or 1

    # --- trades ---

    def _turn(self) -> None:
        """Switch between busy and calm periods."""
        self._busy = not self._busy
        mean = _BUSY_NS if self._busy else _CALM_NS
        self._turn_ns = self._time_ns + int(mean * EXPONENTIAL[int(self._chance() * DRAWS)])

    def _take(self, trades: list[SimulatedTrade]) -> None:
        """Match an aggressive order with the best levels."""
        chance = self._chance
        if chance() >= _SAME_SIDE:
            self._buying = not self._buying
        side = self._asks if self._buying else self._bids
        drawn = int(chance() * SIZE_DRAWS)
        left = round(_MEAN_ORDER * self._unit * ORDER_SIZES[drawn])
        left = (left if drawn < DRAWS else rounded(left)) or 1
        levels = side.levels
        limit = -1
        for _ in range(_SWEPT_LEVELS):
            price = levels.best_price()
            if price is None or len(levels) == 1:
                return
            if limit < 0:
                limit = price - side.sign * self._swept
            if side.sign * (price - limit) < 0:
                return
            size = levels.size_at(price)
            matched = min(left, size)
            self._match(trades, side.sign, price, matched)
            side.set(price, size - matched)
            left -= matched
            if not left:
                return

    def _match(self, trades: list[SimulatedTrade], sign: int, price: int, size: int) -> None:
        """Trade with a level: with one of its orders, or with several."""
        side: Literal["buy", "sell"] = "sell" if sign > 0 else "buy"
        chance = self._chance
        while size > 1 and chance() < _MORE_ORDERS:
            part = rounded(1 + int(chance() * (size - 1)))
            self.trades += 1
            trades.append(SimulatedTrade(self.trades, side, price, part))
            size -= part
        self.trades += 1
        trades.append(SimulatedTrade(self.trades, side, price, size))


def _columns(levels: Iterable[Level]) -> tuple[list[int], list[int]]:
    """Return prices and sizes as two lists."""
    prices, sizes = [], []
    for price, size in levels:
        prices.append(price)
        sizes.append(size)
    return prices, sizes
