"""Which of the processes that collect the same venue publishes: decided by the order of records in a topic. Pure.

All processes of one collector (same venue, same service name) read one partition of ``state.collectors``. Exactly one
owns the venue's streams; the others stand by with connections and books of their own, and publish nothing.

* The owner renews its right every :data:`HOLD_SECONDS` with :class:`Held`. The right lasts ``lease`` seconds from when
  the record was *sent*, and only once the owner has read it back as still being the owner's.
* A newcomer writes :class:`Asked` once a second, with the books it has. The owner hands over to it when it has every
  book that the owner has, and the owner has read all that the venue had sent by then: a :class:`HandedOver` for each
  instrument, of which the owner from then on publishes nothing, and :class:`Yielded` at the end. A process that has
  yielded stands by and does not ask again.
* :class:`Taken` makes its writer the owner if no other process wrote an owner's record in between (``after``). It is
  written if there is no owner, if the owner is known to be dead, or if it was silent for ``lease`` seconds in which
  the writer was in contact with the broker without a break. The predecessor's right has then expired by its own clock.

Two properties follow. At no time do two processes have the right to publish the same instrument; and records that a
process without the right may still have in its client's queue belong to epochs older than its successor's, so that
every reader ignores them (:class:`schemas.book_reader.BookReader`).

Times are those of a monotonic clock, in seconds; every process uses its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from enum import Enum
from typing import Final, TypeAlias

import msgspec

from producers.feed.continuation import HandedInstrument

VERSION: Final = 1
HOLD_SECONDS: Final = 2.0
"""Interval of the owner's renewals, and of the records of a process that has yielded and stands by."""
ASK_SECONDS: Final = 1.0
"""Interval of a newcomer's records."""
ATTENTIVE_SECONDS: Final = 1.5 * HOLD_SECONDS
"""A process that wrote nothing for this long is not handed anything."""
NONE: Final = -1
"""Offset in place of none."""


class Held(msgspec.Struct, tag="held"):
    """The owner, since the record at offset ``since``, is alive."""

    holder: str
    since: int
    number: int


class Asked(msgspec.Struct, tag="asked"):
    """A process without the right to publish is alive.

    ``wants``: whether it asks the owner to hand over. ``symbols``: what it collects; ``good``: those with a valid book.
    """

    holder: str
    number: int
    wants: bool
    symbols: list[str]
    good: list[str]


class Taken(msgspec.Struct, tag="taken"):
    """``holder`` becomes the owner if the last record of an owner is at offset ``after``."""

    holder: str
    after: int
    number: int


class HandedOver(msgspec.Struct, tag="handed"):
    """The owner publishes no more of an instrument; all it published is on the broker.

    ``to`` continues, if its :class:`Asked` with this ``number`` is younger than the lease.
    """

    holder: str
    to: str
    number: int
    instrument: HandedInstrument


class Yielded(msgspec.Struct, tag="yielded"):
    """The owner publishes nothing any more; ``to`` owns everything."""

    holder: str
    to: str
    number: int


class Released(msgspec.Struct, tag="released"):
    """The owner has ended its books and publishes nothing any more; nobody owns anything."""

    holder: str


OwnershipRecord: TypeAlias = Held | Asked | Taken | HandedOver | Yielded | Released

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final[msgspec.msgpack.Decoder[OwnershipRecord]] = msgspec.msgpack.Decoder(OwnershipRecord)


def pack(record: OwnershipRecord) -> bytes:
    """Return ``record`` as bytes."""
    return bytes((VERSION,)) + _ENCODER.encode(record)


def unpack(value: bytes) -> OwnershipRecord | None:
    """Return the record in ``value``; None if it is of another version or unreadable, and says nothing to this one."""
    if not value or value[0] != VERSION:
        return None
    try:
        return _DECODER.decode(value[1:])
    except msgspec.MsgspecError:
        return None


class Role(Enum):
    """Role of a process.

    ``NEWCOMER``: it publishes nothing and asks for the ownership. ``OWNER``: it publishes. ``STANDBY``: it was the
    owner, publishes nothing, and takes over if the owner dies.
    """

    NEWCOMER = "newcomer"
    OWNER = "owner"
    STANDBY = "standby"


class Ownership:
    """One process's knowledge of the ownership, and what it has to write.

    Args:
        me: unique name of this process.
        lease: seconds for which a record of the owner gives it the right to publish.

    Attributes:
        owner: name of the owner; None: nobody.
        owner_works: whether the owner has written something since it became the owner.
        role: of this process.
        until: until when this process, if it is the owner, may begin epochs.
        leaving: whether this process is about to end: it does not take anything over.
    """

    def __init__(self, me: str, *, lease: float) -> None:
        self.me = me
        self.lease = lease
        self.owner: str | None = None
        self.owner_works = False
        self.role = Role.NEWCOMER
        self.until = -math.inf
        self.leaving = False
        self._since = NONE
        self._last = NONE
        self._seen_at = -math.inf  # when an owner's record was read last
        self._contact_since = math.inf  # since when own records have come back without a break
        self._echoed_at = -math.inf
        self._number = 0
        self._sent: dict[int, float] = {}
        self._next = -math.inf
        self._taking = False
        self._asked: dict[str, tuple[float, Asked]] = {}

    # --- reading ---

    def read(self, record: OwnershipRecord, offset: int, now: float) -> None:
        """Take note of the record at ``offset``; ``now``: the time of reading."""
        if isinstance(record, Asked):
            self._asked_by(record, now)
            return
        if isinstance(record, HandedOver):
            return  # changes no ownership; see may_continue()
        match record:
            case Held():
                self._held(record)
            case Taken() if record.after == self._last:
                self._changes_to(record.holder, offset, record.number, works=True)
            case Yielded() if record.holder == self.owner:
                self._changes_to(record.to, offset, record.number, works=False)
            case Released() if record.holder == self.owner:
                self.owner = None
        if record.holder == self.me:
            self._taking = False
            self._echo(now)
        self._last, self._seen_at = offset, now
        self._decide_role()

    def _held(self, record: Held) -> None:
        if record.since > self._since:  # what made it the owner is no longer in the topic
            self.owner, self._since = record.holder, record.since
        if record.holder == self.owner:
            self._asked.pop(record.holder, None)
            self.owner_works = True
            if record.holder == self.me:
                self._renew(record.number)

    def _changes_to(self, holder: str, offset: int, number: int, *, works: bool) -> None:
        self.owner, self._since, self.owner_works = holder, offset, works
        self._asked.pop(holder, None)  # what it asked for before says nothing of its end as the owner
        if holder == self.me:
            self._renew(number)

    def _decide_role(self) -> None:
        if self.owner == self.me:
            if self.role is not Role.OWNER:
                self._next = -math.inf  # others learn at once that it works
            self.role = Role.OWNER
        elif self.role is Role.OWNER:
            self.role = Role.STANDBY
            self._next = -math.inf  # the owner learns at once that there is someone to hand over to

    def _renew(self, number: int) -> None:
        self.until = max(self.until, self._sent.get(number, -math.inf) + self.lease)

    def _asked_by(self, record: Asked, now: float) -> None:
        if record.holder == self.me:
            self._echo(now)
        else:
            self._asked[record.holder] = now, record

    def _echo(self, now: float) -> None:
        if now - self._echoed_at > 2 * ASK_SECONDS + HOLD_SECONDS:
            self._contact_since = now
        self._echoed_at = now

    # --- the process's rights ---

    def may_publish(self, now: float) -> bool:
        """Whether this process is the owner and its right has not expired."""
        return self.owner == self.me and now < self.until

    def may_continue(self, record: HandedOver, now: float) -> bool:
        """Whether the instrument of ``record`` is handed to this process, and in time."""
        return (
            record.to == self.me
            and record.holder == self.owner
            and now < self._sent.get(record.number, -math.inf) + self.lease
        )

    def successor(
        self, books: Collection[str], now: float, *, any_process: bool = False, any_books: bool = False
    ) -> Asked | None:
        """Return the last record of the process to hand over to, if there is one that is alive and prepared.

        Args:
            books: the valid books of this process; a successor needs those that it collects.
            now: time.
            any_process: accept one that does not ask: this one has to go.
            any_books: accept one that lacks books: this one has to go at once.
        """
        found: list[tuple[bool, float, Asked]] = []
        for at, asked in self._asked.values():
            if now - at > ATTENTIVE_SECONDS or not (asked.wants or any_process):
                continue
            good = set(asked.good)
            complete = all(symbol in good for symbol in set(books).intersection(asked.symbols))
            if good and (complete or any_books):
                found.append((complete, at, asked))
        return max(found, key=lambda one: one[:2])[2] if found else None

    def number_of(self, holder: str, default: int) -> int:
        """Return the number of the last record of ``holder`` that asked."""
        known = self._asked.get(holder)
        return known[1].number if known is not None else default

    def company(self, now: float) -> list[str]:
        """Return the names of other processes that are alive and may take over, prepared or not."""
        return [name for name, (at, asked) in self._asked.items() if asked.symbols and now - at <= ATTENTIVE_SECONDS]

    # --- writing ---

    def due(
        self, now: float, symbols: Collection[str], good: Collection[str], is_dead: Callable[[str], bool]
    ) -> OwnershipRecord | None:
        """Return the record to write now, if any.

        Args:
            now: time.
            symbols, good: see :class:`Asked`.
            is_dead: whether the process of this name has certainly ended.
        """
        if self.owner == self.me:
            return self._hold(now)
        if not self.leaving and (taken := self.take(now, is_dead)) is not None:
            return taken
        if now < self._next:
            return None
        if self.leaving:
            symbols = good = ()
        wants = self.role is Role.NEWCOMER
        self._next = now + (ASK_SECONDS if wants else HOLD_SECONDS)
        return Asked(self.me, self._stamp(now), wants, sorted(symbols), sorted(good))

    @property
    def has_read_itself(self) -> bool:
        """Whether a record of this process has come back: everything before it has been read."""
        return self._echoed_at > -math.inf

    def introduction(self, now: float) -> Asked:
        """Return a first record that asks for nothing; see :attr:`has_read_itself`."""
        return Asked(self.me, self._stamp(now), wants=False, symbols=[], good=[])

    def take(self, now: float, is_dead: Callable[[str], bool]) -> Taken | None:
        """Return the record that makes this process the owner, if nobody else can be and none is under way."""
        if self._taking or not self.vacant(now, is_dead):
            return None
        self._taking = True
        return Taken(self.me, self._last, self._stamp(now))

    def leave(self) -> None:
        """Begin to end: this process takes nothing over any more, and says so at once."""
        self.leaving = True
        self._next = -math.inf

    def next_due(self, now: float) -> float:
        """Return the seconds until :meth:`due` may return a record again."""
        return max(self._next - now, 0.0)

    def _hold(self, now: float) -> Held | None:
        if now < self._next:
            return None
        self._next = now + HOLD_SECONDS
        return Held(self.me, self._since, self._stamp(now))

    def vacant(self, now: float, is_dead: Callable[[str], bool]) -> bool:
        """Whether there is no owner, or its right has certainly expired."""
        if self.owner == self.me:
            return False
        if self.owner is None or is_dead(self.owner):
            return True
        return self._echoed_at - max(self._seen_at, self._contact_since) >= self.lease

    def _stamp(self, now: float) -> int:
        self._number += 1
        self._sent[self._number] = now
        self._sent.pop(self._number - 1000, None)
        return self._number
