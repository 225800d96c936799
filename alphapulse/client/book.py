"""A book kept from snapshots and deltas of the stream. Pure."""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import islice
from typing import Final, Literal, TypeAlias

from alphapulse.client.messages import BookDelta, BookSnapshot, Level

CHECKSUM_LEVELS: Final = 10

Outcome: TypeAlias = Literal["applied", "ignored", "sequence", "checksum"]
"""applied: the book moved. ignored: it waits for a snapshot. sequence, checksum: it is wrong, subscribe again."""

NOBODY_KNOWS: Final = "waiting"
STALE: Final = "stale"


def checksum(bids: Sequence[Level], asks: Sequence[Level]) -> int:
    """Return the stream's CRC-32 of the best ten levels a side, best first."""
    parts = [f"{price}:{size}," for price, size in islice(bids, CHECKSUM_LEVELS)]
    parts.append("|")
    parts += [f"{price}:{size}," for price, size in islice(asks, CHECKSUM_LEVELS)]
    return zlib.crc32("".join(parts).encode("ascii"))


class _Side:
    """Levels, best first; ``direction`` is 1 for asks (ascending) and -1 for bids."""

    def __init__(self, direction: Literal[1, -1]) -> None:
        self._direction = direction
        self._keys: list[Decimal] = []
        self.levels: list[Level] = []

    def clear(self) -> None:
        self._keys.clear()
        self.levels.clear()

    def change(self, level: Level) -> None:
        key = Decimal(level.price) * self._direction
        at = bisect_left(self._keys, key)
        found = at < len(self._keys) and self._keys[at] == key
        if level.size == "0":
            if found:
                del self._keys[at], self.levels[at]
        elif found:
            self.levels[at] = level
        else:
            self._keys.insert(at, key)
            self.levels.insert(at, level)


class Book:
    """A book of one venue and symbol, in step with the gateway or marked as not valid.

    Only while :attr:`valid` are the levels current; else they are the last known, or none, and :attr:`reason` says why:
    ``waiting`` (no snapshot yet), ``no_book``, ``invalid`` (the gateway says so), ``stale`` (its time is too long ago,
    by the gateway or by our own watch), ``sequence``, ``checksum``, ``unreadable`` (a message is missing or wrong; a
    snapshot was asked for), ``not_recovered`` (reconnected, a snapshot follows), ``disconnected``.

    Args:
        gateway_time: the gateway's clock, µs; None while unknown.
        max_age: µs after which a book is stale; None while unknown.

    Attributes:
        venue, symbol: the instrument.
        epoch: one uninterrupted life of the book at its collector, decimal text; empty before the first message.
        sequence: of the last update in the book, -1 before the first message.
        time: when the book was last known to match the venue, µs; 0 before the first message.
    """

    def __init__(
        self,
        venue: str,
        symbol: str,
        gateway_time: Callable[[], int | None],
        max_age: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.venue = venue
        self.symbol = symbol
        self.epoch = ""
        self.sequence = -1
        self.time = 0
        self._gateway_time = gateway_time
        self._max_age = max_age
        self._bids = _Side(-1)
        self._asks = _Side(1)
        self._fault: str | None = NOBODY_KNOWS
        self._before: str | None = NOBODY_KNOWS

    @property
    def bids(self) -> Sequence[Level]:
        """Best first."""
        return self._bids.levels

    @property
    def asks(self) -> Sequence[Level]:
        """Best first."""
        return self._asks.levels

    @property
    def best_bid(self) -> Level | None:
        return self._bids.levels[0] if self._bids.levels else None

    @property
    def best_ask(self) -> Level | None:
        return self._asks.levels[0] if self._asks.levels else None

    @property
    def age(self) -> int | None:
        """Microseconds since :attr:`time` by the gateway's clock; None while either is unknown."""
        now = self._gateway_time()
        return None if now is None or not self.time else max(0, now - self.time)

    @property
    def reason(self) -> str | None:
        """Why the book is not valid; None if it is."""
        if self._fault is None:
            age, most = self.age, self._max_age()
            if age is not None and most is not None and age > most:
                return STALE
        return self._fault

    @property
    def valid(self) -> bool:
        """In step with the gateway and not too old."""
        return self.reason is None

    @property
    def in_step(self) -> bool:
        """Whether the next delta can be applied: valid but for its age."""
        return self._fault is None

    def apply(self, message: BookSnapshot | BookDelta) -> Outcome:
        """Apply a snapshot always, a delta only to the very book that it builds on; verify the checksum, if any.

        After ``sequence`` or ``checksum`` deltas are ignored until a snapshot comes.
        """
        if isinstance(message, BookDelta):
            if self._fault is not None:
                # After an invalid book only a snapshot can follow; while one is awaited, older deltas still arrive.
                return self._wrong("sequence") if self._fault in {"no_book", "invalid", STALE} else "ignored"
            if (message.epoch, message.previous_sequence) != (self.epoch, self.sequence):
                return self._wrong("sequence")
        else:
            # The last levels of a stale book stay in sight: it comes without any.
            if message.valid or message.reason != STALE:
                self._bids.clear()
                self._asks.clear()
            self._fault = None if message.valid else (message.reason or "invalid")
        self.epoch, self.sequence, self.time = message.epoch, message.sequence, message.time
        for level in message.bids:
            self._bids.change(level)
        for level in message.asks:
            self._asks.change(level)
        if (
            message.checksum is not None
            and self._fault is None
            and checksum(self._bids.levels, self._asks.levels) != message.checksum
        ):
            return self._wrong("checksum")
        return "applied"

    def doubt(self, reason: str) -> None:
        """Mark the book as not valid until a snapshot comes."""
        self._fault = reason

    def disconnected(self) -> None:
        """The connection is gone: keep the levels, for the gateway may continue exactly here."""
        if self._fault != "disconnected":
            self._before, self._fault = self._fault, "disconnected"

    def continued(self) -> None:
        """The gateway continues where the connection was lost: the book is what it was."""
        if self._fault == "disconnected":
            self._fault = self._before

    def _wrong(self, outcome: Literal["sequence", "checksum"]) -> Outcome:
        self._fault = outcome
        return outcome
