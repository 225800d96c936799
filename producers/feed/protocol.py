"""The contract between a venue's protocol and the collector that runs it.

A protocol is pure: frames, answers and the times they came go in, outputs come out. It keeps the books, checks each by
the venue's own integrity rule, and says what has to be sent or fetched; it does no I/O and reads no clock. Recorded
and live frames therefore give the same records.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeVar

import msgspec

from alphapulse.errors import FrameRefused, ValueRefused
from producers.feed.actions import FetchSnapshot, Note, Outputs, Refused, Resubscribe, Send
from producers.feed.book import Doubt
from producers.feed.entries import UNREADABLE, Entries, Entry, split
from producers.feed.instruments import InstrumentState
from producers.feed.subscriber import ChannelSubscriber
from producers.feed.subscriptions import Item, Operation

__all__ = ["BookRefused", "Item", "Operation", "VenueProtocol", "quoted"]

E = TypeVar("E", bound=Entry)
T = TypeVar("T")


class VenueProtocol(ChannelSubscriber, ABC):
    """One connection's view of a venue. Subclasses hold what is the venue's own.

    Attributes:
        ignored: frames that no channel of ours needs, by name.
        refused: frames refused so far.
        pongs: answers so far to the venue's own ping (:attr:`producers.feed.venue.Venue.text_ping`), which are frames.
    """

    def __init__(self, venue: str) -> None:
        super().__init__(venue)
        self.ignored: Counter[str] = Counter()
        self.refused = 0
        self.pongs = 0

    @property
    def waiting(self) -> int:
        """Frames held back until a snapshot comes; their records are still to be made."""
        return 0

    def path(self) -> str:
        """Return path and query to connect to, behind the venue's address."""
        return ""

    def resubscribe(self, symbol: str) -> Sequence[Send | FetchSnapshot]:
        """Return what asks for a new snapshot of one book."""
        return self.resubscribe_book(symbol)

    def add(self, symbols: Sequence[str]) -> list[Send]:
        """Take up ``symbols`` on the connection that stands; return what to send.

        Raises:
            ValueRefused: a symbol the venue cannot have; nothing was changed.
        """
        states: list[InstrumentState] = []
        try:
            states.extend(map(self._add_instrument, symbols))
        except ValueRefused:
            for state in states:
                self._remove_instrument(state)
            raise
        return self._ask("subscribe", self._wanted(states))

    def remove(self, symbol: str, received_time: int) -> Outputs:
        """Give up a symbol: end its epoch and tell the venue. Frames of it that still come are ignored."""
        outputs: Outputs = []
        state = self.instruments[symbol]
        state.book.end(outputs, received_time)
        outputs += self._ask("unsubscribe", self._wanted([state]))
        self._remove_instrument(state)
        self.subscriptions.forget(symbol)
        return outputs

    def verify(self, symbol: str, seconds: float) -> Outputs:
        """Ask for the snapshot of a book of which nothing was heard for ``seconds``, to compare it.

        Most likely nothing has changed: the book stays valid until the snapshot shows another, or does not come.
        """
        told = f"nothing heard of it for {seconds:g} s: its snapshot is asked for and compared"
        outputs: Outputs = [Note("quiet", "INFO", told, symbol)]
        self.instruments[symbol].book.verifying = True
        self._request_snapshot(symbol, outputs)
        return outputs

    def recheck(self, symbol: str) -> Outputs:
        """Ask for the snapshot of a book that the venue has shown crossed for long: an update may have got lost."""
        outputs: Outputs = []
        self.instruments[symbol].book.verifying = True
        self._resync(symbol, Doubt("crossed", "the venue shows it crossed"), outputs)
        return outputs

    def revive(self, symbol: str, received_time: int, seconds: float) -> Outputs:
        """Doubt a book whose snapshot was asked for and has not come for ``seconds``, and ask for it anew."""
        outputs: Outputs = []
        state = self.instruments[symbol]
        state.book.end(outputs, received_time)
        self._doubt(state, Doubt("silence", f"its snapshot has not come for {seconds:g} s"), outputs)
        return outputs

    def snapshot(self, request: FetchSnapshot, body: bytes, received_time: int) -> Outputs:
        """Take the answer to ``request``; an answer nobody waits for any more is ignored."""
        raise NotImplementedError(f"{self.venue} has no REST snapshots")

    def receive(self, frame: bytes | str, received_time: int) -> Outputs:
        """Take a frame and return what it leads to, in order. Never raises because of what is in the frame."""
        outputs: Outputs = []
        data = frame if isinstance(frame, bytes) else frame.encode("utf-8", "surrogatepass")
        try:
            self._handle(data, received_time, outputs)
        except FrameRefused as error:
            self._refuse(error, data, received_time, outputs)
        except UNREADABLE as error:
            self._refuse(self._unreadable(error, data), data, received_time, outputs)
        return outputs

    def disconnected(self, received_time: int) -> Outputs:
        """End the epoch of every valid book: what the venue does from now on is not seen."""
        outputs: Outputs = []
        self.subscriptions.disconnected()
        for state in self.instruments.values():
            state.book.end(outputs, received_time)
        return outputs

    def invalidate_unopened(self, received_time: int) -> Outputs:
        """End what an earlier life of the collector may have left of books that have not begun."""
        outputs: Outputs = []
        for state in self.instruments.values():
            state.book.invalidate_unopened(outputs, received_time)
        return outputs

    def heartbeats(self, heard: int, before: int) -> Outputs:
        """Confirm the valid books of which nothing was published since ``before``.

        Args:
            heard: when the connection was heard last, ns since the Unix epoch: all books are as of then.
            before: likewise.
        """
        outputs: Outputs = []
        for state in self.instruments.values():
            book = state.book
            if book.times[0] <= before and book.confirmed <= before:
                book.confirm(outputs, heard)
        return outputs

    def withhold(self, received_time: int) -> Outputs:
        """End the epoch of every valid book: frames are read too late. The books go on, unpublished."""
        outputs: Outputs = []
        self.withheld = True
        for state in self.instruments.values():
            state.book.withhold(outputs, received_time)
        return outputs

    def resume(self, now: Callable[[], int]) -> Iterator[Outputs]:
        """Publish the books again that were withheld, each in an epoch of its own that begins ``now``.

        Yields what is to be published of each: many large books take long, and other things must go on in between.
        """
        self.withheld = False
        for symbol in list(self.instruments):
            state = self.instruments.get(symbol)
            if state is not None and state.book.withheld:
                outputs: Outputs = []
                state.book.resume(outputs, now())
                yield outputs

    def newest(self, since: int) -> tuple[int, int] | None:
        """Return received and exchange time of the newest frame on a book that tells its time; None: none ``since``."""
        times = (state.book.times for state in self.instruments.values())
        return max((pair for pair in times if pair[0] > since and pair[1] > 0), default=None)

    def overdue(self, now: int) -> Outputs:
        """Say what should have come by ``now`` (nanoseconds) and has not; asked about once a second while connected."""
        outputs: Outputs = []
        for state in self.instruments.values():
            state.book.uncross(outputs, timer=True)
        return outputs

    @abstractmethod
    def _handle(self, frame: bytes, received_time: int, outputs: Outputs) -> None:
        """Read one frame, appending to ``outputs``.

        Raises:
            FrameRefused, what decoders raise: it is not understood.
        """

    def _request_snapshot(self, symbol: str, outputs: Outputs) -> None:
        """Append what gets a new snapshot of ``symbol``'s book."""
        outputs.append(Resubscribe(symbol))

    def _entries(
        self, kind: Entries[T], data: bytes | msgspec.Raw, frame: bytes, received_time: int, outputs: Outputs
    ) -> Iterable[T]:
        """Return the entries of ``data``, an array in ``frame``; one that cannot be read is refused when it is come to.

        Raises:
            DecodeError: it is no array.
        """
        try:
            return kind.decode(data)
        except UNREADABLE:
            return self._readable(kind, split(data), frame, received_time, outputs)

    def _readable(
        self, kind: Entries[T], parts: Iterable[msgspec.Raw], frame: bytes, received_time: int, outputs: Outputs
    ) -> Iterator[T]:
        for part in parts:
            try:
                entry = kind.decode_one(part)
            except UNREADABLE as error:
                self._refuse(self._unreadable(error, part), frame, received_time, outputs, bytes(part))
            else:
                yield entry

    def _apply_entries(
        self,
        entries: Iterable[E],
        handle: Callable[[InstrumentState, E, int, Outputs], Doubt | None],
        refusal: type[FrameRefused],
        frame: bytes,
        received_time: int,
        outputs: Outputs,
    ) -> None:
        """Let ``handle`` take each of the ``entries`` of ``frame`` that is about an instrument of ours.

        An entry with a value that cannot be used is refused with a ``refusal``, :class:`BookRefused` if its book is in
        doubt then; the others are none the worse for it. A doubt that ``handle`` returns is one its book has ended of.
        """
        for entry in entries:
            self._apply_entry(entry, handle, refusal, frame, received_time, outputs)

    def _apply_entry(
        self,
        entry: E,
        handle: Callable[[InstrumentState, E, int, Outputs], Doubt | None],
        refusal: type[FrameRefused],
        frame: bytes,
        received_time: int,
        outputs: Outputs,
    ) -> None:
        """As :meth:`_apply_entries`, for the only one that the frame has."""
        state = self._by_venue_symbol.get(entry.symbol) or self._find(entry.symbol)
        if state is None:
            self.ignored["other_symbol"] += 1
            return
        try:
            doubt = handle(state, entry, received_time, outputs)
        except ValueRefused as error:
            self._refuse(refusal(self.venue, str(error), symbol=state.symbol), frame, received_time, outputs)
            return
        if doubt is not None:
            self._doubt(state, doubt, outputs)

    def _ignore(self, what: str, name: str, known: Collection[str], frame: bytes) -> None:
        """Count a frame of a channel that is not ours.

        Raises:
            FrameRefused: it is not ``known`` either.
        """
        if name not in known:
            raise self._not_understood(f"unknown {what} {name[:80]!r}", frame)
        self.ignored[name] += 1

    def _not_understood(self, reason: str, frame: bytes) -> FrameRefused:
        return FrameRefused(self.venue, f"{reason} in {frame[:200]!r}")

    def _about_book(self, frame: bytes) -> bool:
        """Whether a frame that cannot be read was most likely about books."""
        return False

    def _affected_symbols(self, frame: bytes, part: bytes) -> Sequence[str]:
        """Return the symbols whose books are in doubt because ``part`` of ``frame``, or all of it, cannot be read."""
        return self._named(part) if self._about_book(frame) else []

    def _refuse(
        self, error: FrameRefused, frame: bytes, received_time: int, outputs: Outputs, part: bytes | None = None
    ) -> None:
        """Keep ``frame``, once, and end the books that the error names, or that ``part`` of the frame may be about."""
        symbol = error.symbol
        doubtful: Sequence[str] = [symbol] if symbol is not None and isinstance(error, BookRefused) else []
        if symbol is None:
            doubtful = self._affected_symbols(frame, part if part is not None else frame)
            symbol = doubtful[0] if len(doubtful) == 1 else None
        if not any(isinstance(output, Refused) and output.value is frame for output in outputs):
            self._dead_letter(error, frame, symbol, outputs)
        doubt = Doubt("refused", "a frame about it was refused")
        for symbol in doubtful:
            self.instruments[symbol].book.end(outputs, received_time)
            self._resync(symbol, doubt, outputs)

    def _dead_letter(self, error: FrameRefused, frame: bytes, symbol: str | None, outputs: Outputs) -> None:
        self.refused += 1
        outputs.append(Refused(frame, type(error).__name__, str(error), symbol))
        outputs.append(Note("dead_letter", "WARNING", str(error), symbol, loss="refused"))

    def _doubt(self, state: InstrumentState, doubt: Doubt, outputs: Outputs) -> None:
        """Tell of a book that its own check has put in doubt; unless it is followed all the same ask for a new one."""
        kind = _EVENT_OF_DOUBT[doubt.kind]
        outputs.append(Note(kind, "WARNING", doubt.message, state.symbol, loss=doubt.kind))
        if not state.book.follows:
            self._resync(state.symbol, doubt, outputs)

    def _resync(self, symbol: str, doubt: Doubt, outputs: Outputs) -> None:
        self.instruments[symbol].tally.resyncs += 1
        outputs.append(Note("resync", "INFO", f"new snapshot asked for: {doubt.kind}", symbol))
        self._request_snapshot(symbol, outputs)

    def _trade_gap(self, state: InstrumentState, missing: int, outputs: Outputs) -> None:
        outputs.append(self.trade_gap(state, missing))

    def trade_gap(self, state: InstrumentState, missing: int, *, last: int | None = None) -> Note:
        """Count a hole in an instrument's trade ids; return the word of it.

        Args:
            state: the instrument.
            missing: how many ids.
            last: the last of them, where no trade behind the hole tells it.
        """
        state.tally.trade_gaps += 1
        details = {"missing": str(missing)}
        if last is not None:
            details |= {"first": str(last - missing + 1), "last": str(last)}
        return Note(
            "trade_gap",
            "WARNING",
            f"{missing} trade ids are missing",
            state.symbol,
            loss="trade_id",
            details=details,
        )

    def _unreadable(self, error: Exception, data: bytes | msgspec.Raw, symbol: str | None = None) -> FrameRefused:
        return FrameRefused(self.venue, f"{error} in {bytes(data)[:200]!r}", symbol=symbol)


class BookRefused(FrameRefused):
    """A frame about a book whose values cannot be used; that book is in doubt."""


_EVENT_OF_DOUBT = {
    "sequence": "gap",
    "checksum": "checksum_failure",
    "crossed": "crossed_book",
    "refused": "resync",
    "silence": "silent",
}


def quoted(symbols: Iterable[str]) -> str:
    """Return ``symbols`` as a JSON array."""
    return msgspec.json.encode(list(symbols)).decode()
