"""Cross-venue arbitrage on ``md.depth``: opportunities opened, changed, closed.

Pure, and a function of the records of a symbol in their order alone: the same records give the same opportunities
with the same ids, so reading some of them again after a restart repeats no more than was published already.

Every ordered pair of venues is looked at. An opportunity lives from the record that makes its trade pay, after both
taker fees, to the one that makes it pay no more, or until one of its books becomes invalid or stale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from alphapulse.fixed import decimal_text
from schemas.records import ArbitrageOpportunity, Depth
from stream_processors.ladders import Costs, Execution, execute

PRICES = "prices"
INVALID_BOOK = "invalid_book"
STALE_BOOK = "stale_book"


@dataclass(frozen=True)
class ArbitrageRules:
    """Args: taker fees by venue and the least profit, in basis points; the age at which a book is stale, in ns."""

    fees: Mapping[str, Decimal] = field(default_factory=dict)
    least_basis_points: Decimal = Decimal(0)
    max_book_age: int = 5_000_000_000

    def fee(self, venue: str) -> Decimal:
        """Return a venue's taker fee in basis points; 0 if none is configured."""
        return self.fees.get(venue, Decimal(0))


class SymbolState:
    """One symbol: the newest book of each venue, and the opportunities that are open.

    Attributes:
        books: by venue.
        open: the last record of each open opportunity, by (buy venue, sell venue).
        newest: the newest received_time seen.
    """

    __slots__ = ("_costs", "_rules", "books", "newest", "open", "symbol")

    def __init__(self, symbol: str, rules: ArbitrageRules) -> None:
        self.symbol = symbol
        self._rules = rules
        self._costs: dict[tuple[str, str], Costs] = {}
        self.books: dict[str, Depth] = {}
        self.open: dict[tuple[str, str], ArbitrageOpportunity] = {}
        self.newest = 0

    def restore(self, books: Iterable[Depth], opportunities: Iterable[ArbitrageOpportunity]) -> None:
        """Go on with what an earlier owner knew."""
        self.books = {book.venue: book for book in books}
        self.newest = max((book.received_time for book in self.books.values()), default=0)
        self.open = {(made.buy_venue, made.sell_venue): made for made in opportunities}

    def apply(self, depth: Depth) -> list[ArbitrageOpportunity]:
        """Take a record of ``md.depth``; return what became of opportunities."""
        venue, time = depth.venue, depth.received_time
        known = self.books.get(venue)
        if known is not None and (depth.epoch, depth.sequence) < (known.epoch, known.sequence):
            return []  # published again after a restart
        self.books[venue] = depth
        self.newest = max(self.newest, time)
        # The books of the others have not changed, but time has gone by for them.
        stale = [(pair, self._unusable(pair)) for pair in self.open if venue not in pair]
        made = [self._close(pair, reason, time) for pair, reason in stale if reason is not None]
        pairs = [pair for other in self.books if other != venue for pair in ((venue, other), (other, venue))]
        made += [record for pair in pairs if (record := self._judge(pair, time)) is not None]
        return made

    def _judge(self, pair: tuple[str, str], time: int) -> ArbitrageOpportunity | None:
        reason = self._unusable(pair)
        execution = None
        if reason is None:
            execution = execute(self.books[pair[0]], self.books[pair[1]], self._costs_of(pair))
            reason = PRICES
        if execution is None:
            return self._close(pair, reason, time) if pair in self.open else None
        known = self.open.get(pair)
        record = self._record(pair, execution, time, known)
        if known is not None and _same_trade(known, record):
            return None
        self.open[pair] = record
        return record

    def _unusable(self, pair: tuple[str, str]) -> str | None:
        """Return why the pair's books cannot be traded on, or None."""
        for venue in pair:
            book = self.books.get(venue)
            if book is None or not book.valid:
                return INVALID_BOOK
            if self.newest - book.received_time > self._rules.max_book_age:
                return STALE_BOOK
        return None

    def _costs_of(self, pair: tuple[str, str]) -> Costs:
        found = self._costs.get(pair)
        if found is None:
            rules = self._rules
            found = Costs.of(rules.fee(pair[0]), rules.fee(pair[1]), rules.least_basis_points)
            self._costs[pair] = found
        return found

    def _close(self, pair: tuple[str, str], reason: str, time: int) -> ArbitrageOpportunity:
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
        self, pair: tuple[str, str], trade: Execution, time: int, known: ArbitrageOpportunity | None
    ) -> ArbitrageOpportunity:
        buy, sell = self.books[pair[0]], self.books[pair[1]]
        return ArbitrageOpportunity(
            opportunity_id=known.opportunity_id if known is not None else identity(self.symbol, buy, sell),
            state="OPENED" if known is None else "CHANGED",
            symbol=self.symbol,
            buy_venue=pair[0],
            sell_venue=pair[1],
            buy_price=trade.buy_price,
            sell_price=trade.sell_price,
            buy_limit_price=trade.buy_limit_price,
            sell_limit_price=trade.sell_limit_price,
            size=trade.size,
            price_exponent=trade.price_exponent,
            size_exponent=trade.size_exponent,
            gross_profit=decimal_text(trade.proceeds - trade.cost, trade.price_exponent + trade.size_exponent),
            net_profit=decimal_text(trade.net, trade.net_exponent),
            net_basis_points=trade.net_basis_points,
            buy_fee_basis_points=float(self._rules.fee(pair[0])),
            sell_fee_basis_points=float(self._rules.fee(pair[1])),
            # Venues' records overtake one another: an opportunity must not end before it began.
            opened_time=time if known is None else known.opened_time,
            updated_time=time if known is None else max(time, known.updated_time),
            buy_book_time=buy.received_time,
            sell_book_time=sell.received_time,
        )


def identity(symbol: str, buy: Depth, sell: Depth) -> str:
    """Return the id of an opportunity opened by these two books: the same whenever they are read."""
    books = "|".join(f"{book.venue}|{book.epoch}|{book.sequence}|{book.received_time}" for book in (buy, sell))
    return hashlib.blake2b(f"{symbol}|{books}".encode(), digest_size=12).hexdigest()


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
