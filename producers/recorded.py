"""``python -m producers.recorded FILE``: the records of a recording, for programs that import no venue.

The venue's protocol is pure: recorded frames and their times of receipt make the same records every time, without
sockets and clocks. They are written to standard output as messages: a byte that tells the kind, the number of the line
(8 bytes) and the length (4 bytes, both unsigned and big-endian), then so many bytes.

====  ==================================================================================
kind  bytes
====  ==================================================================================
S     JSON, first: ``venue``, ``frames`` (lines in the file), ``symbols`` (spelled → canonical)
T     a trade, in the encoding of topics
B     an update of a book, likewise
F     JSON: ``reason`` and ``text`` of a line that makes no record
X     JSON: ``reason`` why nothing can be read, instead of all others
E     empty: the end
====  ==================================================================================

Books are INVALID at the end: what came afterwards is not in the file. Quotes and candles that a venue makes itself are
left out.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from alphapulse import output
from alphapulse.arguments import CommandParser
from alphapulse.config import VenueSettings
from alphapulse.errors import AlphaPulseError, FrameRefused, RecordingError
from producers.feed.actions import FetchSnapshot, Output, Refused
from producers.registry import load, unknown
from producers.replay.lines import read
from producers.replay.recording import Recording, survey
from producers.venue_server.dialects import dialect, served
from producers.venue_server.frames import RestKey, rest_key
from schemas.codec import Codec
from schemas.records import L2Update, Trade

HEAD: Final = struct.Struct(">cQI")
"""Of a message: kind, line, length."""
_FAULT_BYTES: Final = 4096
_BUFFER_BYTES: Final = 1 << 20


class Conversion:
    """Makes records of a recording's lines.

    Args:
        recording: its survey.
    """

    def __init__(self, recording: Recording) -> None:
        found = dialect(recording.venue)
        settings = VenueSettings(
            symbols=tuple(recording.symbols.values()), depth=recording.depth, key=found.key, secret=found.key
        )
        self._recording = recording
        self._protocol = load(recording.venue).protocol(settings)
        self._classify = found.classify
        # Where a venue numbers the frames of a connection, those of several are numbered as one has them.
        self._recorded = found.recorded()
        self._session = found.session(recording.symbols)
        self._wanted: dict[str, FetchSnapshot] = {}

    def messages(self) -> Iterator[tuple[bytes, int, bytes | Trade | L2Update]]:
        """Yield kind, line and content of the messages from the first record on."""
        number = time = 0
        try:
            for line in read(self._recording.path):
                number = line.number
                if line.received_ns is None:
                    yield _fault(number, "not `<received_ns> <frame>`", line.frame)
                    continue
                time = line.received_ns
                yield from self._told(number, self._outputs(line.frame, time), line.frame)
        except RecordingError as error:
            yield _fault(error.line, error.reason, b"")
        yield from self._told(number + 1, self._protocol.disconnected(time), b"")

    def _outputs(self, recorded: bytes, time: int) -> Iterable[Output]:
        try:
            shape = self._classify(recorded)
        except FrameRefused:
            shape = None  # the protocol says what is wrong with it
        if shape is not None and shape.rest is not None:
            return self._answered(shape.rest, shape.body, time)
        frame, lost = self._recorded.prepare(recorded)
        self._session.next_number += lost
        return self._protocol.receive(self._session.outgoing(frame), time)

    def _answered(self, key: RestKey, body: bytes, time: int) -> Iterator[Output]:
        for symbol, request in list(self._wanted.items()):
            if rest_key(request.path) == key:
                del self._wanted[symbol]
                yield from self._protocol.snapshot(request, body, time)

    def _told(
        self, number: int, outputs: Iterable[Output], frame: bytes
    ) -> Iterator[tuple[bytes, int, bytes | Trade | L2Update]]:
        for one in outputs:
            match one:
                case Trade():
                    yield b"T", number, one
                case L2Update():
                    yield b"B", number, one
                case FetchSnapshot():
                    self._wanted[one.symbol] = one
                case Refused():
                    yield _fault(number, one.reason, frame)


def _fault(line: int, reason: str, text: bytes) -> tuple[bytes, int, bytes]:
    told = {"reason": reason, "text": text[:_FAULT_BYTES].decode("utf-8", "backslashreplace")}
    return b"F", line, json.dumps(told).encode()


def messages(path: Path, venue: str | None, symbols: Sequence[str]) -> Iterator[bytes]:
    """Yield the messages of a recording, whole.

    Args:
        path: the file.
        venue: of its frames; None: by its name or its frames.
        symbols: canonical symbols whose names at the venue do not show them.
    """
    codec = Codec()
    if venue is not None and venue not in served():
        yield _whole(b"X", 0, {"reason": f"--venue: {venue!r}: {unknown(venue, served())}"})
        return
    try:
        found = survey(path, venue, symbols=symbols)
    except RecordingError as error:
        yield _whole(b"X", error.line, {"reason": error.reason})
        return
    yield _whole(b"S", 0, {"venue": found.venue, "frames": found.frames, "symbols": found.symbols})
    for kind, line, content in Conversion(found).messages():
        body = content if isinstance(content, bytes) else codec.encode(content)
        yield HEAD.pack(kind, line, len(body)) + body
    yield HEAD.pack(b"E", 0, 0)


def _whole(kind: bytes, line: int, told: dict[str, Any]) -> bytes:
    body = json.dumps(told).encode()
    return HEAD.pack(kind, line, len(body)) + body


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the messages to standard output; return the exit code."""
    commands = CommandParser(prog="records of a recording", description="Write the records of one recording.")
    commands.add_argument("file", type=Path)
    commands.add_argument("--venue")
    commands.add_argument("--symbol", action="append", default=[])
    options = commands.parse_args(arguments)
    try:
        waiting = bytearray()
        for message in messages(options.file, options.venue, options.symbol):
            waiting += message
            if len(waiting) >= _BUFFER_BYTES:
                output.write(bytes(waiting))
                waiting.clear()
        output.write(bytes(waiting))
    except AlphaPulseError as error:
        output.tell(str(error))
        return 2
    return 0


if __name__ == "__main__":
    output.finish(main)
