"""The contract between a venue's protocol and the collector that runs it.

A protocol is pure: frames, answers and the times they came go in, outputs come out. It keeps the books, checks each by
the venue's own integrity rule, and says what has to be sent or fetched; it does no I/O and reads no clock. Recorded
and live frames therefore give the same records.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from alphapulse.errors import FrameRefused, ValueRefused
from producers.book_stream import BookStream, Doubt
from producers.outputs import FetchSnapshot, Note, Outputs, Refused, Send
from producers.tally import Tally
from producers.trade_stream import TradeStream


class InstrumentState:
    """One instrument's book, trades and figures."""

    __slots__ = ("book", "symbol", "tally", "trades", "venue_symbol")

    def __init__(self, symbol: str, venue_symbol: str, tally: Tally, book: BookStream, trades: TradeStream) -> None:
        self.symbol = symbol
        self.venue_symbol = venue_symbol
        self.tally = tally
        self.book = book
        self.trades = trades

    def report(self) -> dict[str, Any]:
        """Return what ``/status`` tells of it."""
        book = self.book
        return {**self.tally.report(), "epoch": book.epoch, "sequence": book.sequence, "valid": book.valid}


class VenueProtocol(ABC):
    """One connection's view of a venue. Subclasses hold what is the venue's own.

    Attributes:
        venue: its name.
        instruments: states by canonical symbol.
        ignored: frames that no channel of ours needs, by name.
        refused: frames refused so far.
    """

    def __init__(self, venue: str) -> None:
        self.venue = venue
        self.instruments: dict[str, InstrumentState] = {}
        self.ignored: Counter[str] = Counter()
        self.refused = 0

    @property
    def waiting(self) -> int:
        """Frames held back until a snapshot comes; their records are still to be made."""
        return 0

    @abstractmethod
    def path(self) -> str:
        """Return path and query to connect to, behind the venue's address."""

    @abstractmethod
    def subscribe(self) -> list[Send]:
        """Return what to send on a new connection."""

    @abstractmethod
    def resubscribe(self, symbol: str) -> Sequence[Send | FetchSnapshot]:
        """Return what asks for a new snapshot of one book."""

    def add(self, symbols: Sequence[str]) -> list[Send] | None:
        """Take up ``symbols`` on the connection that stands; return what to send, None if that takes a new connection.

        Raises:
            ValueRefused: a symbol the venue cannot have; nothing was changed.
        """
        return None

    def remove(self, symbol: str, received_time: int) -> Outputs:
        """Give up a symbol: end its epoch and tell the venue. Frames of it that still come are ignored."""
        outputs: Outputs = []
        state = self.instruments.pop(symbol)
        state.book.end(outputs, received_time)
        outputs += self._forget(state)
        return outputs

    def _forget(self, state: InstrumentState) -> list[Send]:
        """Let go of what else is kept of ``state``; return what unsubscribes it."""
        return []

    def revive(self, symbol: str, received_time: int, seconds: float) -> Outputs:
        """Doubt a book of which nothing was heard for ``seconds``, though its connection lives, and ask for it anew."""
        outputs: Outputs = []
        state = self.instruments[symbol]
        state.book.end(outputs, received_time)
        self._doubt(state, Doubt("silence", f"nothing heard of it for {seconds:g} s"), outputs)
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
        return outputs

    def disconnected(self, received_time: int) -> Outputs:
        """End the epoch of every valid book: what the venue does from now on is not seen."""
        outputs: Outputs = []
        for state in self.instruments.values():
            state.book.end(outputs, received_time)
        return outputs

    def overdue(self, now: int) -> Outputs:
        """Say what should have come by ``now`` (nanoseconds) and has not; asked about once a second while connected."""
        return []

    @abstractmethod
    def _handle(self, frame: bytes, received_time: int, outputs: Outputs) -> None:
        """Read one frame, appending to ``outputs``.

        Raises:
            FrameRefused: it is not understood.
        """

    @abstractmethod
    def _ask_again(self, symbol: str, outputs: Outputs) -> None:
        """Append what gets a new snapshot of ``symbol``'s book."""

    def _suspect(self, frame: bytes) -> str | None:
        """Return the symbol whose book a frame that cannot be read was most likely about, None if it is not known."""
        return None

    def _suspects(self, frame: bytes) -> Sequence[str]:
        """Return the symbols whose books are in doubt because of a frame that cannot be read."""
        suspect = self._suspect(frame)
        return [suspect] if suspect is not None else []

    def _refuse(
        self, error: FrameRefused, frame: bytes, received_time: int, outputs: Outputs, *, kept: bool = False
    ) -> None:
        """Keep ``frame``, unless another of its entries was refused and it is ``kept``; end the books it is about."""
        symbol = error.symbol
        doubtful = [symbol] if symbol is not None and isinstance(error, BookRefused) else []
        if symbol is None:
            doubtful = list(self._suspects(frame))
            symbol = doubtful[0] if len(doubtful) == 1 else None
        if not kept:
            self.refused += 1
            outputs.append(Refused(frame, type(error).__name__, str(error), symbol))
            outputs.append(Note("dead_letter", "WARNING", str(error), symbol, loss="refused"))
        doubt = Doubt("refused", "a frame about it was refused")
        for symbol in doubtful:
            self.instruments[symbol].book.end(outputs, received_time)
            self._resync(symbol, doubt, outputs)

    def _doubt(self, state: InstrumentState, doubt: Doubt, outputs: Outputs) -> None:
        """Tell of a book that its own check has just ended, and ask for a new one."""
        kind = _EVENT_OF_DOUBT[doubt.kind]
        outputs.append(Note(kind, "WARNING", doubt.message, state.symbol, loss=doubt.kind))
        self._resync(state.symbol, doubt, outputs)

    def _resync(self, symbol: str, doubt: Doubt, outputs: Outputs) -> None:
        self.instruments[symbol].tally.resyncs += 1
        outputs.append(Note("resync", "INFO", f"new snapshot asked for: {doubt.kind}", symbol))
        self._ask_again(symbol, outputs)

    def _trade_gap(self, state: InstrumentState, missing: int, outputs: Outputs) -> None:
        outputs.append(self.trade_gap(state, missing))

    def trade_gap(self, state: InstrumentState, missing: int) -> Note:
        """Count a hole in an instrument's trade ids; return the word of it."""
        state.tally.trade_gaps += 1
        return Note(
            "trade_gap",
            "WARNING",
            f"{missing} trade ids are missing",
            state.symbol,
            loss="trade_id",
            details={"missing": str(missing)},
        )

    def _decode(self, decode: Any, data: bytes | msgspec.Raw, symbol: str | None = None) -> Any:
        try:
            return decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FrameRefused(self.venue, f"{error} in {bytes(data)[:200]!r}", symbol=symbol) from error


class BookRefused(FrameRefused):
    """A frame about a book whose values cannot be used; that book is in doubt."""


_EVENT_OF_DOUBT = {
    "sequence": "gap",
    "checksum": "checksum_failure",
    "crossed": "crossed_book",
    "refused": "resync",
    "silence": "silent",
}


def refused_book(venue: str, symbol: str, error: ValueRefused) -> BookRefused:
    """Return the refusal of a book message because of one of its values."""
    return BookRefused(venue, str(error), symbol=symbol)


def quoted(symbols: Iterable[str]) -> str:
    """Return ``symbols`` as a JSON array."""
    return msgspec.json.encode(list(symbols)).decode()
