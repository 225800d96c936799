"""One symbol's market on one venue: a book, and the orders that move it. Pure and seeded.

The book has a usual shape: how far from the best price each of its levels is (:func:`.liquidity.distances`). Orders
come and go at random places of it; where levels are missing compared with that shape they come, where there are too
many they go. So whatever the price does, the book is soon the usual one around it: what was passed is filled up, far
levels follow, and the number of levels stays.

The best bid and ask are quoted around the fair price. They stay until it has moved away from where it was quoted; then
what it passed is traded or cancelled and new quotes come. Bids stay below the fair price and asks above it, so the book
never crosses, but in an auction: then it shows an order, too, that nobody matches yet (:data:`Shown`). An aggressive
order comes before anything else of its event, so it meets the book as it was shown.
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
"""A side's usual number of levels."""
MOST_UNITS: Final = 46_116_860_414
"""No level is greater, in the base asset: Binance's limit for SHIB, half of what fits 64 bits at eight decimals."""

HUGE_UNITS: Final = 100_000_000_000
"""Of the base asset: beyond an int64 at eight decimals, within it at seven."""
Shown = Literal["auction", "huge"]
"""Orders that a book may show beside those of its market."""
NOTHING_SHOWN: Final[frozenset[Shown]] = frozenset()

_LEAST_LEVELS, _MOST_LEVELS = 250, 270
_SWEPT_LEVELS: Final = 6  # an aggressive order eats at most
_SWEPT: Final = 2e-4  # of the price, or the usual spread if that is more: so far from the best price at most
_PASSED_TRADES: Final = 3  # levels that the fair price passed and somebody still trades with
_PASSED_SHARE: Final = 0.7  # of the times
_CHURN: Final = (0, 1, 1, 2)  # places of a side looked at in one event
_FREE_PLACES: Final = 6  # behind the best, where distances are left to chance
_HOLE: Final = 5  # usual gaps; a greater one is filled
_MOST_DEBT: Final = 120
_LOOKED_AT, _WINDOW = 3, 8  # places, to find one where levels are many, and levels from each

# Everything that takes time takes it in seconds, however many events there are in one.
_REFILL_NS: Final = 600_000_000  # a passed stretch of the book fills up with this time constant
_FOLLOW_NS: Final = 1_000_000_000  # likewise missing levels at the far end
_TOUCH_NS: Final = 120_000_000  # mean time until a best level that was eaten or cancelled comes again
_QUOTE_NS: Final = 2_000_000_000  # mean time until a wide spread is quoted anew
_BUSY_NS, _CALM_NS = 500_000_000, 2_500_000_000  # mean times of many and of few trades

_TRADES_BUSY, _TRADES_CALM = 0.7, 0.1  # aggressive orders an event
_SAME_SIDE: Final = 0.7  # of aggressive orders, as the one before
_MORE_ORDERS: Final = 0.45  # chance that an order takes one more of the orders that make up a level
_MEAN_ORDER: Final = 0.35  # of a usual level
_PATIENCE: Final = 0.3  # of half the spread: so far the fair price may go without new quotes


# Where orders come and go: mostly near the best price, a quarter anywhere. What happens there is drawn along with it.
_CHURN_PLACES: Final = tuple(
    int(6.0 * EXPONENTIAL[number * 4 % DRAWS]) if number % 4 else number * (LEVELS + 8) // DRAWS
    for number in range(DRAWS)
)
_ACTIONS: Final = 16
_RESIZED, _GONE, _JUST_BEHIND, _JUST_AHEAD = 8, 12, 14, 15  # below the first the size changes, below the second …


class _Side:
    """One side of the book, and what its levels were before the event under way and are by now."""

    __slots__ = ("after", "before", "debt", "edge", "fresh", "levels", "sign", "stretch")

    def __init__(self, sign: int, levels: BookSide) -> None:
        self.sign = sign
        self.levels = levels
        self.before: dict[int, int] = {}
        self.after: dict[int, int] = {}
        self.edge = 0  # the best price quoted
        self.fresh = True  # it is new, and quoted at once
        self.debt = 0  # levels that are missing behind it
        self.stretch = 1  # places among which they are missing

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

    def __init__(self, listing: SimulatedListing, seed: int, fair: float, first_trade: int = 1) -> None:
        self.listing = listing
        self.book = OrderBook()
        self.trades = first_trade - 1
        self._shown: dict[Shown, Level] = {}  # bids beside those of the market
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
        """Let one thing happen at ``time_ns``, with the fair price at ``fair`` ticks; return it, trades first."""
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

    # --- orders beside those of the market ---

    def show(self, time_ns: int, shown: frozenset[Shown]) -> BookChange | None:
        """Have the book show these orders beside those of its market; return what that changes, None for nothing.

        The market goes on beneath as ever. An ``auction`` shows a bid above the best ask, ``huge`` one of
        :data:`HUGE_UNITS` at the lowest price there is.
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
        """Return the size of the orders shown at ``price`` beside those of the market."""
        return sum(size for where, size in self._shown.values() if where == price)

    def _apply(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        self.book.apply(*_columns(bids), *_columns(asks))

    # --- quotes ---

    def _quote(self) -> None:
        """Choose the prices of the best bid and ask anew."""
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
        """Quote around a fair price that has moved; what it passed is traded or cancelled."""
        moved = abs(fair - self._fair)
        self._fair, self._middle = fair, floor(fair) + 0.5
        self._quote()
        places = min(bisect_left(self._away, moved) - 1, _MOST_DEBT)
        for side in (self._bids, self._asks):
            # On either side the levels that are usual next to the best price are missing now.
            self._clear(side, trades)
            side.debt = min(side.debt + places, _MOST_DEBT)
            side.stretch = max(side.stretch, places)

    def _clear(self, side: _Side, trades: list[SimulatedTrade]) -> None:
        """Take away what is better than the price quoted: beyond the fair price somebody may trade with it."""
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
        """Let orders come and go on one side."""
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
        """Let an order come, change or go at some place; where levels are missing one comes, of too many one goes."""
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
        elif action < _RESIZED or usual_gap == 1:  # where every tick has its level none goes
            side.set(price, self._size(place))
        elif action < _GONE:
            side.set(price, 0)
        elif gap > 1:  # a new one: a tick behind the level in front of it, a tick ahead of it, or between the two
            ahead = gap - 1 if action < _JUST_BEHIND else 1 if action < _JUST_AHEAD else 1 + int(chance() * (gap - 1))
            side.set(price + sign * ahead, self._size(place))

    def _refill(self, side: _Side, elapsed_ns: int) -> None:
        """Let levels come where the fair price has left none, and as many go further away if there are too many."""
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
        """Let a level go where they are closer to each other than usual, and the last if it is too far away."""
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
        """Let an order come where the level number ``place`` usually is."""
        nearer, further = self._away[place - 1], self._away[place]
        price = side.edge - side.sign * (nearer + 1 + int(self._chance() * (further - nearer)))
        if price > 0:
            side.set(price, self._size(place))

    def _complete(self, side: _Side, count: int) -> None:
        """Add ``count`` levels: behind the last, or anywhere if that is as far away as usual."""
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
        """Return the size of a new level, which grows with the distance; some are round."""
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
        """Change between times of many and of few trades."""
        self._busy = not self._busy
        mean = _BUSY_NS if self._busy else _CALM_NS
        self._turn_ns = self._time_ns + int(mean * EXPONENTIAL[int(self._chance() * DRAWS)])

    def _take(self, trades: list[SimulatedTrade]) -> None:
        """Let an aggressive order meet the best levels."""
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
        """Trade with a level: with one of the orders that make it up, or with several."""
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
    """Return prices and sizes."""
    prices, sizes = [], []
    for price, size in levels:
        prices.append(price)
        sizes.append(size)
    return prices, sizes
