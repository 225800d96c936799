"""Cross-venue arbitrage on ``md.depth``: opportunities opened, changed, closed.

Pure: records and times are arguments. Every ordered pair of venues is examined. An opportunity lasts from the record
    that
makes its trade profitable, after both taker fees, to the one that makes it unprofitable, or until one of its books
becomes invalid or stale (:mod:`alphapulse.freshness`), by the clock: nothing is opened or changed on a book that is
stale at that time, and :meth:`SymbolState.tick` closes what has become stale without a record.

Because of the clock, the same records read later lead to other decisions. So opportunities published by an earlier
owner of the partition are never derived again. The next owner reads them back (:meth:`SymbolState.was_published`),
which gives the open ones, and for each pair the books up to which it was judged; it continues from there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import permutations
from typing import TypeAlias

from alphapulse.fixed import decimal_text
from alphapulse.freshness import book_fault
from schemas.lazy_levels import best_prices
from schemas.records import ArbitrageOpportunity, Depth
from stream_processors.processing.ladders import Costs, Execution, execute

PRICES = "prices"
INVALID_BOOK = "invalid_book"
STALE_BOOK = "stale_book"

Pair: TypeAlias = tuple[str, str]
"""Buy venue and sell venue."""


@dataclass(frozen=True)
class ArbitrageRules:
    """Args: taker fees by venue and the minimum profit, in basis points; the age at which a book is stale, in ns."""

    fees: Mapping[str, Decimal] = field(default_factory=dict)
    least_basis_points: Decimal = Decimal(0)
    max_book_age: int = 5_000_000_000

    def fee(self, venue: str) -> Decimal:
        """Return a venue's taker fee in basis points; 0 if none is configured."""
        return self.fees.get(venue, Decimal(0))


class SymbolState:
    """State of one symbol: the newest book of each venue, and the open opportunities.

    Attributes:
        books: by venue.
        open: the last record of each open opportunity, by (buy venue, sell venue).
    """

    __slots__ = ("_best", "_costs", "_judged", "_rules", "books", "open", "symbol")

    def __init__(self, symbol: str, rules: ArbitrageRules) -> None:
        self.symbol = symbol
        self._rules = rules
        self._costs: dict[Pair, Costs] = {}
        # For each pair, the times of the books with which an earlier owner judged it last; empty once all of its
        # records have been read again.
        self._judged: dict[Pair, tuple[int, int]] = {}
        # Best bid and offer by venue: nearly always they decide, and the other levels need not be decoded.
        self._best: dict[str, tuple[int | None, int | None]] = {}
        self.books: dict[str, Depth] = {}
        self.open: dict[Pair, ArbitrageOpportunity] = {}

    def restore(self, books: Iterable[Depth], opportunities: Iterable[ArbitrageOpportunity]) -> None:
        """Restore an earlier owner's state."""
        self.books = {book.venue: book for book in books}
        self._best = {venue: best_prices(book) for venue, book in self.books.items()}
        self.open = {(made.buy_venue, made.sell_venue): made for made in opportunities}

    def was_published(self, made: ArbitrageOpportunity) -> None:
        """Apply a record that an earlier owner published after its last checkpoint, in order."""
        pair = (made.buy_venue, made.sell_venue)
        if made.state != "CLOSED":
            self.open[pair] = made
        elif pair in self.open and self.open[pair].opportunity_id == made.opportunity_id:
            del self.open[pair]
        self._judged[pair] = (made.buy_book_time, made.sell_book_time)

    def take(self, depth: Depth) -> bool:
        """Store a record of ``md.depth`` without a decision; return whether it is new."""
        known = self.books.get(depth.venue)
        if known is not None and _place(depth) < _place(known):
            return False  # published again after a restart
        self.books[depth.venue] = depth
        self._best[depth.venue] = best_prices(depth)
        return True

    def apply(self, depth: Depth, now: int, *, again: bool = False) -> list[ArbitrageOpportunity]:
        """Apply a record of ``md.depth``; return the changes of opportunities at ``now``.

        Args:
            depth: the record.
            now: the clock's time.
            again: an earlier owner may have judged it, and newer ones still to come: only books newer than those of its
                published records are judged, and apparently stale ones are left for :meth:`reread`.
        """
        if not self.take(depth):
            return []
        venue, time = depth.venue, depth.received_time
        of_venue = self._fault(venue, now)
        made: list[ArbitrageOpportunity] = []
        for other in self.books:
            if other == venue:
                continue
            reason = _worse(of_venue, self._fault(other, now))
            for pair in ((venue, other), (other, venue)):
                if again and (reason == STALE_BOOK or not self._beyond(pair)):
                    continue
                if (record := self._judge(pair, reason, time, now)) is not None:
                    made.append(record)
        return made

    def tick(self, now: int) -> list[ArbitrageOpportunity]:
        """Close opportunities on books that are stale at ``now``."""
        faults = [(pair, self._unusable(pair, now)) for pair in self.open]
        return [self._close(pair, reason, now) for pair, reason in faults if reason == STALE_BOOK]

    def reread(self, now: int) -> list[ArbitrageOpportunity]:
        """Judge all pairs again: everything that an earlier owner may have judged has been read again."""
        self._judged.clear()
        made: list[ArbitrageOpportunity] = []
        for pair in dict.fromkeys((*self.open, *permutations(self.books, 2))):
            time = max((self.books[venue].received_time for venue in pair if venue in self.books), default=now)
            if (record := self._judge(pair, self._unusable(pair, now), time, now)) is not None:
                made.append(record)
        return made

    def _judge(self, pair: Pair, reason: str | None, time: int, now: int) -> ArbitrageOpportunity | None:
        """Return the change of a pair's opportunity; ``reason`` why its books cannot be used, or None."""
        execution = None
        if reason is None:
            execution = self._execution(pair)
            reason = PRICES
        if execution is None:
            return self._close(pair, reason, now if reason == STALE_BOOK else time) if pair in self.open else None
        known = self.open.get(pair)
        record = self._record(pair, execution, time, known)
        if known is not None and _same_trade(known, record):
            return None
        self.open[pair] = record
        return record

    def _beyond(self, pair: Pair) -> bool:
        """Return whether a pair's books are newer than those with which an earlier owner judged it last."""
        judged = self._judged.get(pair)
        if judged is None:
            return True
        buy, sell = self.books[pair[0]].received_time, self.books[pair[1]].received_time
        return (buy, sell) != judged and buy >= judged[0] and sell >= judged[1]

    def _execution(self, pair: Pair) -> Execution | None:
        ask, bid = self._best[pair[0]][1], self._best[pair[1]][0]
        if ask is None or bid is None:
            return None
        buy, sell = self.books[pair[0]], self.books[pair[1]]
        costs = self._costs_of(pair)
        if buy.price_exponent == sell.price_exponent and not costs.pay(ask, bid):
            return None
        return execute(buy, sell, costs)

    def _unusable(self, pair: Pair, now: int) -> str | None:
        """Return why the pair's books cannot be used at ``now``, or None."""
        return _worse(self._fault(pair[0], now), self._fault(pair[1], now))

    def _fault(self, venue: str, now: int) -> str | None:
        """Return why a venue's book cannot be used at ``now``, or None."""
        book = self.books.get(venue)
        if book is None:
            return INVALID_BOOK
        fault = book_fault(book.valid, book.received_time, now, self._rules.max_book_age)
        return None if fault is None else INVALID_BOOK if fault == "invalid" else STALE_BOOK

    def _costs_of(self, pair: Pair) -> Costs:
        found = self._costs.get(pair)
        if found is None:
            rules = self._rules
            found = Costs.of(rules.fee(pair[0]), rules.fee(pair[1]), rules.least_basis_points)
            self._costs[pair] = found
        return found

    def _close(self, pair: Pair, reason: str, time: int) -> ArbitrageOpportunity:
        known = self.open.pop(pair)
        buy, sell = (self.books.get(venue) for venue in pair)
        return replace(
            known,
            state="CLOSED",
            updated_time=max(time, known.updated_time),
            buy_book_time=buy.received_time if buy is not None else known.buy_book_time,
            sell_book_time=sell.received_time if sell is not None else known.sell_book_time,
            close_reason=reason,
        )

    def _record(
        self, pair: Pair, trade: Execution, time: int, known: ArbitrageOpportunity | None
    ) -> ArbitrageOpportunity:
        buy, sell = self.books[pair[0]], self.books[pair[1]]
        prices, price_exponent = trade.told_prices
        size, size_exponent = trade.told_size
        return ArbitrageOpportunity(
            opportunity_id=known.opportunity_id if known is not None else identity(self.symbol, buy, sell),
            state="OPENED" if known is None else "CHANGED",
            symbol=self.symbol,
            buy_venue=pair[0],
            sell_venue=pair[1],
            buy_price=prices.buy,
            sell_price=prices.sell,
            buy_limit_price=prices.buy_limit,
            sell_limit_price=prices.sell_limit,
            size=size,
            price_exponent=price_exponent,
            size_exponent=size_exponent,
            gross_profit=decimal_text(trade.proceeds - trade.cost, trade.price_exponent + trade.size_exponent),
            net_profit=decimal_text(trade.net, trade.net_exponent),
            net_basis_points=trade.net_basis_points,
            buy_fee_basis_points=float(self._rules.fee(pair[0])),
            sell_fee_basis_points=float(self._rules.fee(pair[1])),
            # Records of venues overtake one another: an opportunity must not end before it began.
            opened_time=time if known is None else known.opened_time,
            updated_time=time if known is None else max(time, known.updated_time),
            buy_book_time=buy.received_time,
            sell_book_time=sell.received_time,
        )


def identity(symbol: str, buy: Depth, sell: Depth) -> str:
    """Return the id of an opportunity opened by these two books: the same each time they are read."""
    books = "|".join(f"{book.venue}|{book.epoch}|{book.sequence}|{book.received_time}" for book in (buy, sell))
    return hashlib.blake2b(f"{symbol}|{books}".encode(), digest_size=12).hexdigest()


def _worse(fault: str | None, other: str | None) -> str | None:
    return INVALID_BOOK if INVALID_BOOK in (fault, other) else fault or other


def _place(depth: Depth) -> tuple[int, int, int]:
    """Return a key that orders the records of a book."""
    return depth.epoch, depth.sequence, depth.received_time


def _same_trade(known: ArbitrageOpportunity, record: ArbitrageOpportunity) -> bool:
    return (
        known.net_profit == record.net_profit
        and known.gross_profit == record.gross_profit
        and decimal_text(known.size, known.size_exponent) == decimal_text(record.size, record.size_exponent)
        and decimal_text(known.buy_limit_price, known.price_exponent)
        == decimal_text(record.buy_limit_price, record.price_exponent)
        and decimal_text(known.sell_limit_price, known.price_exponent)
        == decimal_text(record.sell_limit_price, record.price_exponent)
    )
