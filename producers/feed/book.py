"""Order book of one instrument as a stream of ``md.l2`` records: epochs, sequences, exponents (DESIGN.md).

A snapshot opens an epoch and fixes its exponents; each update is one delta with the next sequence. Whatever makes the
book invalid publishes INVALID, and nothing more until the next snapshot. Pure, like the protocols that feed it.

A book whose frames are read too late (:mod:`producers.collector.lateness`) is withheld: its epoch ends with INVALID,
updates are still applied, and once the collector has caught up the book opens a new epoch. The same applies to a book
that the venue itself shows crossed (:mod:`producers.feed.crossing`), until it is uncrossed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd
from typing import Any, Final, Literal, TypeAlias

from alphapulse.book import BookSide, OrderBook
from alphapulse.errors import MantissaOverflow, PrecisionExceeded, ValueRefused
from alphapulse.fixed import decimal_text, needed_exponent, rescale
from alphapulse.instruments import Instrument
from producers.feed.continuation import HandedBook
from producers.feed.counters import InstrumentCounters
from producers.feed.crossing import Crossing
from producers.feed.levels import Levels, exact, fitting, stated_decimals, tightest_exponent
from schemas.checkpoints import SideState
from schemas.records import L2Kind, L2Update

DoubtKind: TypeAlias = Literal["sequence", "checksum", "crossed", "refused", "silence"]

LEAST_DECIMALS: Final = 8
"""Minimum decimals of an epoch's first exponent; more are rarely needed, and a change costs a new epoch."""
_HEADROOM: Final = 2
"""Digits of headroom added after a number did not fit, before the exponent must change again."""
_MOST_DECIMALS: Final = 18
"""With more decimals the number 10 would not fit an int64; further trailing zeros are dropped."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Reason why a book is invalid."""

    kind: DoubtKind
    message: str


Arrays: TypeAlias = tuple[list[int], list[int], list[int], list[int]]
"""Bid prices, bid sizes, ask prices, ask sizes."""
NO_LEVELS: Final[Arrays] = ([], [], [], [])


class BookStream:
    """Order book of one instrument, and the records derived from it.

    Args:
        instrument: names the records; its exponents, where the venue states them, widen the initial ones.
        tally: counters.
        depth: levels per side that the venue keeps updated; levels beyond are deleted, in the records too.
        digest: computes the venue's checksum of the current book.

    Attributes:
        book: the levels, as mantissas at ``price_exponent`` and ``size_exponent``; empty while not ``follows``.
        follows: whether the book is in sync with the venue.
        withheld: whether nothing is published because frames are read too late.
        crossing: state of a book that the venue shows crossed; it is not published either.
        verifying: whether a snapshot was requested only to compare it, after a long silence.
        epoch, sequence: of the last record; epoch 0 before the first.
        times: received_time and exchange_time of the venue's last message that changed the book.
        exchange_sequence: the venue's sequence number of that message, if it has one.
        confirmed: the latest time at which the book was known to be unchanged.
        price_decimals, size_decimals: as written in the last snapshot, trailing zeros included.
    """

    def __init__(
        self,
        instrument: Instrument,
        tally: InstrumentCounters,
        *,
        depth: int | None = None,
        digest: Callable[[BookStream], int] | None = None,
    ) -> None:
        self.instrument = instrument
        self.book = OrderBook()
        self.follows = False
        self.withheld = False
        self.crossing = Crossing()
        self.verifying = False
        self.epoch = 0
        self.sequence = -1
        self.price_exponent = self.size_exponent = -LEAST_DECIMALS
        self.price_decimals = self.size_decimals = 0
        self._tally = tally
        self._depth = depth
        self._digest = digest
        self.times = (0, 0)
        self.confirmed = 0
        self.exchange_sequence: int | None = None

    @property
    def valid(self) -> bool:
        """Whether the book is in sync with the venue and may be published."""
        return self.follows and not self.crossing.hides

    @property
    def published(self) -> bool:
        """Whether readers of the records see a valid book."""
        return self.follows and not self.crossing.hides and not self.withheld

    def snapshot(
        self,
        outputs: list[Any],
        bids: Levels,
        asks: Levels,
        *,
        received_time: int,
        exchange_time: int = 0,
        exchange_sequence: int | None = None,
        checksum: int | None = None,
    ) -> Doubt | None:
        """Open an epoch with the venue's snapshot; append its record.

        A snapshot requested for comparison that equals the book changes nothing. A crossed snapshot is followed without
        being published.

        Returns:
            Why the book was or is invalid; :attr:`follows` says whether it can be followed from here. INVALID is
            appended if the book was published.

        Raises:
            ValueRefused: a value is not a number or does not fit; nothing was changed.
        """
        (bid_prices, bid_sizes), (ask_prices, ask_sizes) = bids.texts(), asks.texts()
        price_texts, size_texts = bid_prices + ask_prices, bid_sizes + ask_sizes
        price_decimals, size_decimals = stated_decimals(price_texts), stated_decimals(size_texts)
        stated = self.instrument
        prices, price_exponent = fitting(price_texts, _initial(price_decimals, stated.price_exponent), "price")
        sizes, size_exponent = fitting(size_texts, _initial(size_decimals, stated.size_exponent), "size")
        split = len(bid_prices)
        arrays = prices[:split], sizes[:split], prices[split:], sizes[split:]
        verified, self.verifying = self.verifying, False
        doubt = None
        if verified and self.published:
            if self._is(arrays, price_exponent, size_exponent):
                self._tally.unchanged += 1
                return None
            doubt = Doubt("silence", "the snapshot differs from the book although no update was received")
            self.end(outputs, received_time)
        self.book.replace(*arrays)
        self.price_exponent, self.size_exponent = price_exponent, size_exponent
        self.price_decimals, self.size_decimals = price_decimals, size_decimals
        if any(self._truncate()):
            arrays = self._levels()
        if (wrong := self._check(checksum)) is not None:
            self.end(outputs, received_time)
            return wrong
        if self.book.crossed:
            doubt = self._follow_crossed(outputs, received_time) or doubt
        else:
            self.crossing.ended()
        self.follows = True
        self.times, self.exchange_sequence = (received_time, exchange_time), exchange_sequence
        if self.crossing.hides:
            self._tally.crossed += 1
        elif self.withheld:
            self._tally.withheld += 1
        else:
            self._open_epoch(received_time)
            outputs.append(self._record("SNAPSHOT", received_time, exchange_time, arrays, checksum))
            self._tally.snapshots += 1
            self._tally.published_l2 += 1
        return doubt

    def delta(
        self,
        outputs: list[Any],
        bids: Levels,
        asks: Levels,
        *,
        received_time: int,
        exchange_time: int = 0,
        exchange_sequence: int | None = None,
        checksum: int | None = None,
    ) -> Doubt | None:
        """Apply the venue's update; append its record, after a SNAPSHOT if the exponents had to change.

        An update is counted as ignored while the book is invalid, as withheld while it is withheld, and as crossed
        while it is hidden; the update that uncrosses it appends a SNAPSHOT.

        Returns:
            Why the book is invalid; then INVALID is appended and the update is not. :attr:`follows` says whether it
            can still be followed.

        Raises:
            ValueRefused: a value is not a number or does not fit; nothing was changed.
        """
        tally = self._tally
        if not self.follows:
            tally.ignored += 1
            return None
        try:
            arrays = (
                *bids.mantissas(self.price_exponent, self.size_exponent),
                *asks.mantissas(self.price_exponent, self.size_exponent),
            )
        except (MantissaOverflow, PrecisionExceeded):
            arrays = self._change_exponents(outputs, bids, asks, received_time)
        changes = len(arrays[0]) + len(arrays[2])
        self.book.apply(*arrays)
        if self._depth is not None:
            gone_bids, gone_asks = self._truncate()
            if gone_bids or gone_asks:
                # The venue sends no deletes for these levels, and a reader of the records cannot know the depth.
                arrays = (
                    arrays[0] + gone_bids,
                    arrays[1] + [0] * len(gone_bids),
                    arrays[2] + gone_asks,
                    arrays[3] + [0] * len(gone_asks),
                )
        if (doubt := self._check(checksum)) is not None:
            self.end(outputs, received_time)
            return doubt
        if self.crossing.hides or self.book.crossed:
            return self._crossed_delta(outputs, received_time, exchange_time, exchange_sequence)
        self.times, self.exchange_sequence = (received_time, exchange_time), exchange_sequence
        if self.withheld:
            tally.withheld += 1
            return None
        self.sequence += 1
        outputs.append(self._record("DELTA", received_time, exchange_time, arrays, checksum))
        tally.deltas += 1
        tally.level_changes += changes
        tally.published_changes += len(arrays[0]) + len(arrays[2])
        tally.published_l2 += 1
        return None

    def end(self, outputs: list[Any], received_time: int) -> None:
        """End the epoch and empty the book; append INVALID if the book is published."""
        self.book.clear()
        published, self.follows, self.verifying = self.published, False, False
        self.crossing.ended()
        if published:
            self._invalidate(outputs, received_time)

    def _follow_crossed(self, outputs: list[Any], received_time: int) -> Doubt | None:
        """Follow a crossed snapshot without publishing it; return the reason, unless it was already reported."""
        known = self.crossing.hides
        if self.published:
            self._invalidate(outputs, received_time)
        elif not self.epoch:
            self.invalidate_unopened(outputs, received_time)
        self.crossing.snapshot()
        if known:
            return None
        return Doubt("crossed", f"{self._best()} in the venue's snapshot; not published while crossed")

    def _crossed_delta(
        self, outputs: list[Any], received_time: int, exchange_time: int, exchange_sequence: int | None
    ) -> Doubt | None:
        """Handle an update, already applied, that crosses the book or changes a crossed one."""
        doubt = None
        if not self.crossing.hides:
            doubt = Doubt("crossed", self._best())
            published = self.published
            if not self.crossing.update():
                self.end(outputs, received_time)
                return doubt
            if published:
                self._invalidate(outputs, received_time)
        self.times, self.exchange_sequence = (received_time, exchange_time), exchange_sequence
        self._tally.crossed += 1
        self.uncross(outputs)
        return doubt

    def uncross(self, outputs: list[Any], *, timer: bool = False) -> None:
        """Publish a book that is no longer crossed, in a new epoch.

        Args:
            timer: as in :meth:`Crossing.show`.
        """
        if not self.crossing.hides or self.book.crossed or not self.crossing.show(timer=timer) or self.withheld:
            return
        received_time, exchange_time = self.times
        self._open_epoch(received_time)
        outputs.append(self._record("SNAPSHOT", received_time, exchange_time, self._levels(), None))
        self._tally.published_l2 += 1

    def _invalidate(self, outputs: list[Any], received_time: int) -> None:
        self.sequence += 1
        outputs.append(self._record("INVALID", received_time, self.times[1], NO_LEVELS, None))
        self._tally.invalidations += 1

    def withhold(self, outputs: list[Any], received_time: int) -> None:
        """Stop publishing the book; if it is valid its epoch ends with INVALID."""
        if self.published:
            self._invalidate(outputs, received_time)
        self.withheld = True

    def resume(self, outputs: list[Any], received_time: int) -> None:
        """Resume publishing after :meth:`withhold`: a valid book opens a new epoch."""
        was, self.withheld = self.withheld, False
        if was and self.published:
            self._open_epoch(received_time)
            outputs.append(self._record("SNAPSHOT", received_time, self.times[1], self._levels(), None))
            self.confirmed = received_time
            self._tally.published_l2 += 1

    def confirm(self, outputs: list[Any], heard: int) -> None:
        """Append a HEARTBEAT if ``heard``, the venue's last sign of life, is newer than the last record."""
        if not self.published or heard <= max(self.times[0], self.confirmed):
            return
        outputs.append(self._record("HEARTBEAT", heard, 0, NO_LEVELS, None))
        self.confirmed = heard

    def invalidate_unopened(self, outputs: list[Any], received_time: int) -> None:
        """Open an epoch with INVALID if there was none yet: a previous process may have left a valid book."""
        if self.epoch:
            return
        self._open_epoch(received_time)
        outputs.append(self._record("INVALID", received_time, 0, NO_LEVELS, None))
        self._tally.invalidations += 1

    # --- between processes ---

    def handed_over(self) -> HandedBook:
        """Return the book as the records show it, for the process that continues them."""
        shown = self.published
        levels = self.book if shown else OrderBook()
        return HandedBook(
            valid=shown,
            epoch=self.epoch,
            sequence=self.sequence,
            price_exponent=self.price_exponent,
            size_exponent=self.size_exponent,
            received_time=max(self.times[0], self.confirmed),
            exchange_time=self.times[1],
            bids=SideState.of(levels.bids),
            asks=SideState.of(levels.asks),
        )

    def has_reached(self, handed: HandedBook) -> bool:
        """Whether the venue's own times prove that this book is not older than ``handed``."""
        return 0 < handed.exchange_time <= self.times[1]

    def continue_from(self, outputs: list[Any], handed: HandedBook, now: int) -> None:
        """Continue the records of another process, which publishes no more of this book.

        Its epoch goes on with a DELTA of the difference between its book and this one, if there is any. A book that is
        not in sync ends it with INVALID. Exponents at which this book is not exact require an epoch of their own.

        Args:
            outputs: the records are appended.
            handed: the book as readers have it.
            now: ns since the Unix epoch.
        """
        self.epoch, self.sequence = handed.epoch, handed.sequence
        if not handed.valid:
            if self.published or not self.epoch:
                self.begin_anew(outputs, now)
            return
        if not self.published:
            self._invalidate(outputs, now)
        elif not self._take_exponents(handed.price_exponent, handed.size_exponent):
            self.begin_anew(outputs, now)
        else:
            received_time = max(self.times[0], self.confirmed, handed.received_time)
            bids = _difference(handed.bids, self.book.bids)
            asks = _difference(handed.asks, self.book.asks)
            if bids[0] or asks[0]:
                self.sequence += 1
                outputs.append(self._record("DELTA", received_time, self.times[1], (*bids, *asks), None))
                self._tally.deltas += 1
                self._tally.published_l2 += 1
                self._tally.published_changes += len(bids[0]) + len(asks[0])

    def begin_anew(self, outputs: list[Any], now: int) -> None:
        """Open an epoch that begins ``now`` for readers who may have one of another process: the book, or INVALID.

        ``now`` is later than any epoch of a process that had to stop before; the book's own time is that of its last
        confirmation, so that it does not appear fresher than it is.
        """
        self._open_epoch(now)
        if not self.published:
            outputs.append(self._record("INVALID", now, 0, NO_LEVELS, None))
            self._tally.invalidations += 1
            return
        received_time = max(self.times[0], self.confirmed)
        outputs.append(self._record("SNAPSHOT", received_time, self.times[1], self._levels(), None))
        self._tally.published_l2 += 1

    def _take_exponents(self, price_exponent: int, size_exponent: int) -> bool:
        """Change to these exponents; False if the book is not exact at them (nothing was changed)."""
        if (price_exponent, size_exponent) == (self.price_exponent, self.size_exponent):
            return True
        bid_prices, bid_sizes, ask_prices, ask_sizes = self._levels()
        try:
            levels = (
                [rescale(price, self.price_exponent, price_exponent) for price in bid_prices],
                [rescale(size, self.size_exponent, size_exponent) for size in bid_sizes],
                [rescale(price, self.price_exponent, price_exponent) for price in ask_prices],
                [rescale(size, self.size_exponent, size_exponent) for size in ask_sizes],
            )
        except (ValueError, MantissaOverflow):
            return False
        self.book.replace(*levels)
        self.price_exponent, self.size_exponent = price_exponent, size_exponent
        return True

    def _check(self, checksum: int | None) -> Doubt | None:
        if checksum is not None and self._digest is not None:
            found = self._digest(self)
            if found != checksum:
                self._tally.checksums_bad += 1
                return Doubt("checksum", f"checksum mismatch: computed {found}, the venue sent {checksum}")
            self._tally.checksums_ok += 1
        return None

    def _best(self) -> str:
        bid, ask = self.book.bids.best_price(), self.book.asks.best_price()
        return f"best bid {bid}e{self.price_exponent} is not below best ask {ask}"

    def _is(self, levels: Arrays, price_exponent: int, size_exponent: int) -> bool:
        """Whether these levels, at these exponents, equal the book."""
        other = OrderBook(self._depth)
        other.replace(*levels)
        known = self.book.sha256(self.price_exponent, self.size_exponent)
        return other.sha256(price_exponent, size_exponent) == known

    def _truncate(self) -> tuple[list[int], list[int]]:
        depth = self._depth
        if depth is None:
            return [], []
        return self.book.bids.truncate(depth), self.book.asks.truncate(depth)

    def _change_exponents(self, outputs: list[Any], bids: Levels, asks: Levels, received_time: int) -> Arrays:
        """Open an epoch of the same book with exponents at which book and update are exact; return the update's arrays.

        Raises:
            ValueRefused: no such exponents; nothing was changed.
        """
        (bid_prices, bid_sizes), (ask_prices, ask_sizes) = bids.texts(), asks.texts()
        book = self._levels()
        price_exponent = _common_exponent(book[0] + book[2], self.price_exponent, bid_prices + ask_prices, "price")
        size_exponent = _common_exponent(book[1] + book[3], self.size_exponent, bid_sizes + ask_sizes, "size")
        arrays = (
            *bids.mantissas(price_exponent, size_exponent),
            *asks.mantissas(price_exponent, size_exponent),
        )
        old_price, old_size = self.price_exponent, self.size_exponent
        book = (
            [rescale(price, old_price, price_exponent) for price in book[0]],
            [rescale(size, old_size, size_exponent) for size in book[1]],
            [rescale(price, old_price, price_exponent) for price in book[2]],
            [rescale(size, old_size, size_exponent) for size in book[3]],
        )
        self.book.replace(*book)
        self.price_exponent, self.size_exponent = price_exponent, size_exponent
        if self.published:
            self._open_epoch(received_time)
            outputs.append(self._record("SNAPSHOT", received_time, self.times[1], book, None))
            self._tally.published_l2 += 1
        return arrays

    def _levels(self) -> Arrays:
        bids, asks = list(self.book.bids), list(self.book.asks)
        return (
            [price for price, _ in bids],
            [size for _, size in bids],
            [price for price, _ in asks],
            [size for _, size in asks],
        )

    def _open_epoch(self, received_time: int) -> None:
        self.epoch = max(received_time, self.epoch + 1)
        self.sequence = 0

    def _record(
        self, kind: L2Kind, received_time: int, exchange_time: int, arrays: Arrays, checksum: int | None
    ) -> L2Update:
        return L2Update(
            venue=self.instrument.venue,
            symbol=self.instrument.symbol,
            kind=kind,
            epoch=self.epoch,
            sequence=self.sequence,
            exchange_sequence=self.exchange_sequence,
            exchange_time=exchange_time,
            received_time=received_time,
            price_exponent=self.price_exponent,
            size_exponent=self.size_exponent,
            bid_prices=arrays[0],
            bid_sizes=arrays[1],
            ask_prices=arrays[2],
            ask_sizes=arrays[3],
            checksum=checksum,
        )


def _difference(before: SideState, side: BookSide) -> tuple[list[int], list[int]]:
    """Return prices and sizes of the changes that make the levels ``before`` those of ``side``; size 0 deletes."""
    old = dict(zip(before.prices, before.sizes, strict=True))
    changed = [(price, size) for price, size in side if old.pop(price, 0) != size]
    return [price for price, _ in changed] + list(old), [size for _, size in changed] + [0] * len(old)


def _initial(decimals: int, stated_exponent: int | None) -> int:
    """Return an epoch's first exponent, provided that all values fit."""
    return -min(max(LEAST_DECIMALS, decimals, -(stated_exponent or 0)), _MOST_DECIMALS)


def _common_exponent(values: list[int], exponent: int, texts: list[str], what: str) -> int:
    """Return the finest exponent at which ``values`` (mantissas at ``exponent``) and ``texts`` are exact and fit.

    It is no finer than ``exponent`` and ``texts`` require. If possible it is coarser, as headroom for larger numbers.

    Raises:
        ValueRefused: there is none; ``what`` names the numbers in the message.
    """
    needed = tightest_exponent(texts)
    finest, coarsest = min(exponent, needed), min(needed, exponent + _shared_zeros(values)) if values else needed
    for found in range(finest, coarsest + 1):
        try:
            exact(texts, found, what)
            rescale(max(values, default=0), exponent, found)
        except MantissaOverflow:
            continue
        return found if found == finest else min(found + _HEADROOM, coarsest)
    raise ValueRefused(
        f"no exponent at which {what}s {min(texts, key=needed_exponent, default='')[:80]!r} and "
        f"{max((decimal_text(value, exponent) for value in values), key=len, default='')[:80]!r} both fit 64 bits"
    )


def _shared_zeros(values: list[int]) -> int:
    """Return the number of trailing zeros shared by all ``values``, none of which is 0."""
    whole = gcd(*values)
    return len(str(whole)) - len(str(whole).rstrip("0"))
