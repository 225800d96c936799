"""One instrument's book on its way to ``md.l2``: epochs, sequences, exponents (DESIGN, "Records").

A snapshot opens an epoch and fixes its exponents; each update is one delta, next in sequence. Whatever puts the book
in doubt publishes INVALID, and nothing more until the next snapshot. Pure, like the protocols that feed it.

A book that its collector reads too late (:mod:`producers.collector.lateness`) is withheld: its epoch ends with INVALID,
the venue's updates are applied all the same, and once the collector has caught up the book goes on in an epoch of its
own. So it is with one that the venue itself shows crossed (:mod:`producers.feed.crossing`), until it is not any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd
from typing import Any, Final, Literal, TypeAlias

from alphapulse.book import OrderBook
from alphapulse.errors import MantissaOverflow, PrecisionExceeded, ValueRefused
from alphapulse.fixed import decimal_text, needed_exponent, rescale
from alphapulse.instruments import Instrument
from producers.feed.counters import InstrumentCounters
from producers.feed.crossing import Crossing
from producers.feed.levels import Levels, exact, fitting, stated_decimals, tightest_exponent
from schemas.records import L2Kind, L2Update

DoubtKind: TypeAlias = Literal["sequence", "checksum", "crossed", "refused", "silence"]

LEAST_DECIMALS: Final = 8
"""Decimals an epoch starts with at least: hardly any later value needs more, which would cost a new epoch."""
_HEADROOM: Final = 2
"""Digits by which numbers may grow after one did not fit, before the epoch's exponent has to change again."""
_MOST_DECIMALS: Final = 18
"""More could not hold the number 10 in an int64; trailing zeros beyond are not worth it."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a book cannot be trusted any more."""

    kind: DoubtKind
    message: str


Arrays: TypeAlias = tuple[list[int], list[int], list[int], list[int]]
"""Bid prices, bid sizes, ask prices, ask sizes."""
NO_LEVELS: Final[Arrays] = ([], [], [], [])


class BookStream:
    """The book as the venue's messages tell it, and the records that tell it on.

    Args:
        instrument: names the records; its exponents, where the venue states them, widen the initial ones.
        tally: counts.
        depth: levels a side the venue keeps us informed of; what falls out of them is deleted, in the records too.
        digest: computes the venue's checksum of the book as it stands.

    Attributes:
        book: the levels, as mantissas at ``price_exponent`` and ``size_exponent``; empty while not ``follows``.
        follows: whether the book follows the venue.
        withheld: whether nothing is published of it for the time being, because it is read too late.
        crossing: likewise, because the venue shows it crossed.
        verifying: whether a snapshot was asked for only to be compared: nothing was heard of the book for long.
        epoch, sequence: of the last record; epoch 0 before the first.
        times: received_time and exchange_time of the venue's last message that changed it.
        exchange_sequence: the venue's own number of that message, where it has one.
        confirmed: when it was known to be still the same after that.
        price_decimals, size_decimals: as written out in the last snapshot, trailing zeros included.
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
        """Whether the book follows the venue and may be shown."""
        return self.follows and not self.crossing.hides

    @property
    def published(self) -> bool:
        """Whether readers of the records have it as a valid book."""
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

        One that was asked for to be compared, and shows the book as it is known, changes nothing. One that is crossed
        is followed, unpublished.

        Returns:
            Why the book was or is in doubt: :attr:`follows` says whether it can be followed from here. INVALID is
            appended if a published book ends.

        Raises:
            ValueRefused: a value is no number or does not fit; nothing was changed.
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
            doubt = Doubt("silence", "it had changed, though nothing was heard of it")
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
        """Apply the venue's update; append its record, before it a SNAPSHOT if the exponents had to change.

        An update that comes while the book is invalid is counted as ignored, one while it is withheld as withheld, one
        while it is hidden as crossed; the one that uncrosses it appends a SNAPSHOT.

        Returns:
            Why the book is in doubt; then INVALID is appended and the update is not. :attr:`follows` says whether it
            can be followed all the same.

        Raises:
            ValueRefused: a value is no number or does not fit; nothing was changed.
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
                # The venue sends no deletes for these; a reader of the records cannot know the depth.
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
        """End the epoch, appending INVALID, if the book is published; it is empty from now on."""
        self.book.clear()
        published, self.follows, self.verifying = self.published, False, False
        self.crossing.ended()
        if published:
            self._invalidate(outputs, received_time)

    def _follow_crossed(self, outputs: list[Any], received_time: int) -> Doubt | None:
        """Follow a snapshot that is crossed, unpublished; return the doubt of it, unless it was known."""
        known = self.crossing.hides
        if self.published:
            self._invalidate(outputs, received_time)
        elif not self.epoch:
            self.invalidate_unopened(outputs, received_time)
        self.crossing.snapshot()
        if known:
            return None
        return Doubt("crossed", f"{self._best()} in the venue's own snapshot: not published until that is over")

    def _crossed_delta(
        self, outputs: list[Any], received_time: int, exchange_time: int, exchange_sequence: int | None
    ) -> Doubt | None:
        """Judge an update, applied already, of a book that it crosses, or that has been crossed before it."""
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
        """Publish a book again that the venue shows crossed no more: as it is, in an epoch of its own.

        Args:
            timer: as of :meth:`Crossing.show`.
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
        """Publish nothing of the book from now on; if it is valid its epoch ends with INVALID."""
        if self.published:
            self._invalidate(outputs, received_time)
        self.withheld = True

    def resume(self, outputs: list[Any], received_time: int) -> None:
        """Publish again what was withheld: the book as it is now opens an epoch, if it is valid."""
        was, self.withheld = self.withheld, False
        if was and self.published:
            self._open_epoch(received_time)
            outputs.append(self._record("SNAPSHOT", received_time, self.times[1], self._levels(), None))
            self.confirmed = received_time
            self._tally.published_l2 += 1

    def confirm(self, outputs: list[Any], heard: int) -> None:
        """Say that the book is still the same at ``heard``, when the venue was heard last, if that is news."""
        if not self.published or heard <= max(self.times[0], self.confirmed):
            return
        outputs.append(self._record("HEARTBEAT", heard, 0, NO_LEVELS, None))
        self.confirmed = heard

    def invalidate_unopened(self, outputs: list[Any], received_time: int) -> None:
        """Open an epoch with INVALID, if there was none yet: nobody keeps what an earlier life may have left."""
        if self.epoch:
            return
        self._open_epoch(received_time)
        outputs.append(self._record("INVALID", received_time, 0, NO_LEVELS, None))
        self._tally.invalidations += 1

    def _check(self, checksum: int | None) -> Doubt | None:
        if checksum is not None and self._digest is not None:
            found = self._digest(self)
            if found != checksum:
                self._tally.checksums_bad += 1
                return Doubt("checksum", f"the book's checksum is {found}, the venue's {checksum}")
            self._tally.checksums_ok += 1
        return None

    def _best(self) -> str:
        bid, ask = self.book.bids.best_price(), self.book.asks.best_price()
        return f"best bid {bid}e{self.price_exponent} is not below best ask {ask}"

    def _is(self, levels: Arrays, price_exponent: int, size_exponent: int) -> bool:
        """Whether these levels, at these exponents, are the book as it is."""
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
            ValueRefused: there are none; nothing was changed.
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


def _initial(decimals: int, stated_exponent: int | None) -> int:
    """Return the exponent an epoch starts with, if all values fit at it."""
    return -min(max(LEAST_DECIMALS, decimals, -(stated_exponent or 0)), _MOST_DECIMALS)


def _common_exponent(values: list[int], exponent: int, texts: list[str], what: str) -> int:
    """Return the finest exponent at which ``values`` (mantissas at ``exponent``) and ``texts`` are exact and fit.

    It is no finer than ``exponent`` and ``texts`` ask for. A coarser one leaves room for longer numbers, where it can.

    Raises:
        ValueRefused: there is none; ``what`` names the numbers.
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
    """Return how many zeros all ``values`` end with; none are 0."""
    whole = gcd(*values)
    return len(str(whole)) - len(str(whole).rstrip("0"))
