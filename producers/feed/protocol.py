"""Interface between a venue's protocol and the collector that runs it.

A protocol is pure: frames, answers and receipt times are its input, outputs its result. It maintains the books, checks
each by the venue's integrity rule, and says what to send or fetch; it does no I/O and reads no clock. Recorded and live
frames therefore produce the same records.
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
    """Protocol state of one connection. Subclasses implement the venue's specifics.

    Attributes:
        ignored: number of frames of channels not used here, by name.
        refused: number of frames refused.
        pongs: number of frames that answer the venue's own ping (:attr:`producers.feed.venue.Venue.text_ping`).
    """

    def __init__(self, venue: str) -> None:
        super().__init__(venue)
        self.ignored: Counter[str] = Counter()
        self.refused = 0
        self.pongs = 0

    @property
    def waiting(self) -> int:
        """Number of frames held back until a snapshot arrives; they have no records yet."""
        return 0

    def path(self) -> str:
        """Return the path and query to connect to, appended to the venue's address."""
        return ""

    def resubscribe(self, symbol: str) -> Sequence[Send | FetchSnapshot]:
        """Return the requests for a new snapshot of one book."""
        return self.resubscribe_book(symbol)

    def add(self, symbols: Sequence[str]) -> list[Send]:
        """Subscribe to ``symbols`` on the open connection; return the requests.

        Raises:
            ValueRefused: a symbol that the venue cannot have; nothing was changed.
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
        """Unsubscribe a symbol and end its epoch. Its late frames are ignored."""
        outputs: Outputs = []
        state = self.instruments[symbol]
        state.book.end(outputs, received_time)
        outputs += self._ask("unsubscribe", self._wanted([state]))
        self._remove_instrument(state)
        self.subscriptions.forget(symbol)
        return outputs

    def verify(self, symbol: str, seconds: float) -> Outputs:
        """Request the snapshot of a book that was silent for ``seconds``, to compare it.

        Most likely the market is quiet: the book stays valid until the snapshot differs or does not arrive.
        """
        told = f"no update for {seconds:g} s: requesting a snapshot to compare"
        outputs: Outputs = [Note("quiet", "INFO", told, symbol)]
        self.instruments[symbol].book.verifying = True
        self._request_snapshot(symbol, outputs)
        return outputs

    def recheck(self, symbol: str) -> Outputs:
        """Request the snapshot of a book that was crossed for long: an update may have been lost."""
        outputs: Outputs = []
        self.instruments[symbol].book.verifying = True
        self._resync(symbol, Doubt("crossed", "the book is crossed"), outputs)
        return outputs

    def revive(self, symbol: str, received_time: int, seconds: float) -> Outputs:
        """Set a book invalid whose requested snapshot has not arrived for ``seconds``, and request it again."""
        outputs: Outputs = []
        state = self.instruments[symbol]
        state.book.end(outputs, received_time)
        self._doubt(state, Doubt("silence", f"requested snapshot not received within {seconds:g} s"), outputs)
        return outputs

    def snapshot(self, request: FetchSnapshot, body: bytes, received_time: int) -> Outputs:
        """Process the answer to ``request``; an outdated answer is ignored."""
        raise NotImplementedError(f"{self.venue} has no REST snapshots")

    def receive(self, frame: bytes | str, received_time: int) -> Outputs:
        """Process a frame and return its outputs, in order. Never raises because of the frame's content."""
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
        """End the epoch of every valid book: updates are missed from now on."""
        outputs: Outputs = []
        self.subscriptions.disconnected()
        for state in self.instruments.values():
            state.book.end(outputs, received_time)
        return outputs

    def invalidate_unopened(self, received_time: int) -> Outputs:
        """Publish INVALID for books without an epoch: a previous process may have left them valid."""
        outputs: Outputs = []
        for state in self.instruments.values():
            state.book.invalidate_unopened(outputs, received_time)
        return outputs

    def heartbeats(self, heard: int, before: int) -> Outputs:
        """Confirm the valid books without a record since ``before``.

        Args:
            heard: time at which the connection was last heard, and of the heartbeats; ns since the Unix epoch.
            before: ns since the Unix epoch.
        """
        outputs: Outputs = []
        for state in self.instruments.values():
            book = state.book
            if book.times[0] <= before and book.confirmed <= before:
                book.confirm(outputs, heard)
        return outputs

    def withhold(self, received_time: int) -> Outputs:
        """End the epoch of every valid book because frames are read too late; updates are still applied."""
        outputs: Outputs = []
        self.withheld = True
        for state in self.instruments.values():
            state.book.withhold(outputs, received_time)
        return outputs

    def resume(self, now: Callable[[], int]) -> Iterator[Outputs]:
        """Publish the withheld books again, each in a new epoch that begins ``now``.

        Yields the outputs per book: many large books take long, and other work must run in between.
        """
        self.withheld = False
        for symbol in list(self.instruments):
            state = self.instruments.get(symbol)
            if state is not None and state.book.withheld:
                outputs: Outputs = []
                state.book.resume(outputs, now())
                yield outputs

    def newest(self, since: int) -> tuple[int, int] | None:
        """Return received and exchange time of the newest timestamped book frame; None if there is none ``since``."""
        times = (state.book.times for state in self.instruments.values())
        return max((pair for pair in times if pair[0] > since and pair[1] > 0), default=None)

    def overdue(self, now: int) -> Outputs:
        """Report what should have arrived by ``now`` (nanoseconds) and has not; called about once a second."""
        outputs: Outputs = []
        for state in self.instruments.values():
            state.book.uncross(outputs, timer=True)
        return outputs

    @abstractmethod
    def _handle(self, frame: bytes, received_time: int, outputs: Outputs) -> None:
        """Parse one frame, appending to ``outputs``.

        Raises:
            FrameRefused, decoder errors: the frame is not understood.
        """

    def _request_snapshot(self, symbol: str, outputs: Outputs) -> None:
        """Append the requests for a new snapshot of ``symbol``'s book."""
        outputs.append(Resubscribe(symbol))

    def _entries(
        self, kind: Entries[T], data: bytes | msgspec.Raw, frame: bytes, received_time: int, outputs: Outputs
    ) -> Iterable[T]:
        """Return the entries of ``data``, an array in ``frame``; a malformed entry is refused when it is reached.

        Raises:
            DecodeError: it is not an array.
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
        """Call ``handle`` for each of the ``entries`` of ``frame`` whose instrument is collected.

        An entry with an invalid value is refused with a ``refusal``; :class:`BookRefused` also makes its book invalid.
        The other entries are unaffected. A doubt returned by ``handle`` has already ended the book's epoch.
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
        """Call ``handle`` for the only entry of ``frame``; see :meth:`_apply_entries`."""
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
        """Count a frame of a channel not used here.

        Raises:
            FrameRefused: the channel is not ``known``.
        """
        if name not in known:
            raise self._not_understood(f"unknown {what} {name[:80]!r}", frame)
        self.ignored[name] += 1

    def _not_understood(self, reason: str, frame: bytes) -> FrameRefused:
        return FrameRefused(self.venue, f"{reason} in {frame[:200]!r}")

    def _about_book(self, frame: bytes) -> bool:
        """Whether a malformed frame was most likely about books."""
        return False

    def _affected_symbols(self, frame: bytes, part: bytes) -> Sequence[str]:
        """Return the symbols whose books become invalid because ``part`` of ``frame``, or all of it, is malformed."""
        return self._named(part) if self._about_book(frame) else []

    def _refuse(
        self, error: FrameRefused, frame: bytes, received_time: int, outputs: Outputs, part: bytes | None = None
    ) -> None:
        """Send ``frame`` to the dead letters, once, and end the books named by the error or affected by ``part``."""
        symbol = error.symbol
        doubtful: Sequence[str] = [symbol] if symbol is not None and isinstance(error, BookRefused) else []
        if symbol is None:
            doubtful = self._affected_symbols(frame, part if part is not None else frame)
            symbol = doubtful[0] if len(doubtful) == 1 else None
        if not any(isinstance(output, Refused) and output.value is frame for output in outputs):
            self._dead_letter(error, frame, symbol, outputs)
        doubt = Doubt("refused", "a frame of this book was refused; see the dead letters")
        for symbol in doubtful:
            self.instruments[symbol].book.end(outputs, received_time)
            self._resync(symbol, doubt, outputs)

    def _dead_letter(self, error: FrameRefused, frame: bytes, symbol: str | None, outputs: Outputs) -> None:
        self.refused += 1
        outputs.append(Refused(frame, type(error).__name__, str(error), symbol))
        outputs.append(Note("dead_letter", "WARNING", str(error), symbol, loss="refused"))

    def _doubt(self, state: InstrumentState, doubt: Doubt, outputs: Outputs) -> None:
        """Report a book whose integrity check failed; request a new snapshot unless it can still be followed."""
        kind = _EVENT_OF_DOUBT[doubt.kind]
        outputs.append(Note(kind, "WARNING", doubt.message, state.symbol, loss=doubt.kind))
        if not state.book.follows:
            self._resync(state.symbol, doubt, outputs)

    def _resync(self, symbol: str, doubt: Doubt, outputs: Outputs) -> None:
        self.instruments[symbol].tally.resyncs += 1
        outputs.append(Note("resync", "INFO", f"new snapshot requested: {doubt.kind}", symbol))
        self._request_snapshot(symbol, outputs)

    def _trade_gap(self, state: InstrumentState, missing: int, outputs: Outputs) -> None:
        outputs.append(self.trade_gap(state, missing))

    def trade_gap(self, state: InstrumentState, missing: int, *, last: int | None = None) -> Note:
        """Count a gap in an instrument's trade ids; return the event.

        Args:
            state: the instrument.
            missing: number of missing ids.
            last: the last missing id, if no trade after the gap shows it.
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
    """A frame about a book has invalid values; that book becomes invalid."""


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
