"""Recordings of ``alphapulse record`` as sources of a load: their trades, and their books.

The venue's protocol makes the records, in a process of its own (:mod:`producers.recorded`), because sinks import no
venue. It makes the same of the same file every time, so a record is known by what it says, and by its number.
"""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa

from alphapulse import topics
from alphapulse.errors import ServiceError
from alphapulse.instruments import Instrument
from alphapulse.recent import RecentIds
from schemas.codec import Codec
from schemas.records import L2Update, Record, Trade
from sinks.columns import batch
from sinks.load.faults import Fault, SourceRefused
from sinks.load.source import SourceFile
from sinks.load.trades import REMEMBERED
from sinks.load.unit import ID_CHARACTERS, Checked, Counts, Read, Survey

BATCH_RECORDS: Final = 20_000
_HEAD: Final = struct.Struct(">cQI")
_KINDS: Final[dict[bytes, type[Record]]] = {b"T": Trade, b"B": L2Update}
_MODULE: Final = "producers.recorded"


@dataclass(frozen=True, slots=True)
class Part:
    """The records of a recording that go into one topic; a survey's ``format``.

    Attributes:
        name: for people.
        topic: of the records.
        kind: of the messages.
    """

    name: str
    topic: str
    kind: bytes


PARTS: Final = (
    Part("trades of a recording", topics.TRADES, b"T"),
    Part("books of a recording", topics.L2, b"B"),
)


@dataclass(frozen=True, slots=True)
class Choice:
    """Venue of recordings whose names and frames do not tell it, and symbols whose names do not show them."""

    venue: str | None = None
    symbols: Sequence[str] = ()


class RecordedUnit:
    """The trades or the books of a recording.

    Args:
        path: of the file.
        part: which.
        choice: of the venue and symbols.

    Raises:
        SourceRefused: it is no file, or cannot be read.
    """

    def __init__(self, path: Path, part: Part, choice: Choice) -> None:
        self.path = path
        self.source = SourceFile(path)
        self.part = part
        self._choice = choice
        self._codec = Codec()
        self._frames = 0

    def batches(
        self, survey: Survey, counts: Counts, rejected: Callable[[Fault], None], read: Read
    ) -> Iterator[pa.RecordBatch]:
        """Return the records, in their order; ``_offset`` is the record's number, ``_partition`` 0.

        Args:
            survey: of the file.
            counts: filled with the trades that the venue repeated.
            rejected: told each bad line, if it counts among this part's.
            read: told the progress.

        Raises:
            SourceRefused: it cannot be read, or has changed since the survey.
        """
        kind, known = _KINDS[self.part.kind], dict[str, RecentIds[str]]()
        digest, number = hashlib.sha256(), 0
        records: list[Record] = []
        offsets: list[int] = []
        for found, line, body in self.messages():
            if found == b"F" and survey.faults.total:
                rejected(_fault(line, body))
            if found != self.part.kind:
                continue
            digest.update(body)
            record = self._codec.decode_as(kind, body)
            if isinstance(record, Trade) and not known.setdefault(record.symbol, RecentIds(REMEMBERED)).add(
                record.trade_id
            ):
                counts.repeated += 1
            else:
                records.append(record)
                offsets.append(number)
            number += 1
            if len(records) == BATCH_RECORDS:
                yield batch(kind, records, 0, offsets)
                records, offsets = [], []
                read(self.at(line))
        if digest.hexdigest() != survey.digest:
            raise SourceRefused(self.path, 0, "has changed while it was loaded; repeat the load with the file complete")
        if records:
            yield batch(kind, records, 0, offsets)
        read(self.source.size)

    def at(self, line: int) -> int:
        """Return the bytes of the file, about, at which a line is."""
        return self.source.size * min(line, self._frames) // max(self._frames, 1)

    def messages(self) -> Iterator[tuple[bytes, int, bytes]]:
        """Yield kind, line and content of all messages, see :mod:`producers.recorded`.

        Raises:
            SourceRefused: it cannot be read.
            ServiceError: the process ends before its work is done.
        """
        command = [sys.executable, "-m", _MODULE, str(self.path)]
        command += [] if self._choice.venue is None else [f"--venue={self._choice.venue}"]
        command += [f"--symbol={symbol}" for symbol in self._choice.symbols]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, bufsize=1 << 20) as process:
            assert process.stdout is not None  # noqa: S101 asked for
            try:
                while (message := _message(process.stdout)) is not None:
                    kind, line, body = message
                    if kind == b"X":
                        raise SourceRefused(self.path, line, str(json.loads(body)["reason"]))
                    if kind == b"S":
                        self._frames = int(json.loads(body)["frames"])
                    if kind == b"E":
                        return
                    yield message
            finally:
                process.kill()
        raise ServiceError(f"{self.path}: its records cannot be made: {_MODULE} has ended with {process.returncode}")


def survey_recording(path: Path, choice: Choice, read: Checked) -> list[tuple[RecordedUnit, Survey]]:
    """Read and check a recording; return its trades and its books, those that there are.

    Bad lines count among those of the first of them.

    Raises:
        SourceRefused: it cannot be loaded.
    """
    units = {part.kind: RecordedUnit(path, part, choice) for part in PARTS}
    surveys = {part.kind: Survey(part) for part in PARTS}
    digests = {part.kind: hashlib.sha256() for part in PARTS}
    reader, codec, venue = units[PARTS[0].kind], Codec(), ""
    spelled: dict[str, str] = {}
    faults: list[tuple[int, bytes]] = []
    rows = 0
    for kind, line, body in reader.messages():
        if kind == b"F":
            faults.append((line, body))
        elif kind == b"S":
            told = json.loads(body)
            venue = str(told["venue"])
            spelled = {ours: name for name, ours in told["symbols"].items()}
        else:
            made: Any = codec.decode_as(_KINDS[kind], body)
            _add(surveys[kind], made, spelled.get(made.symbol, made.symbol))
            surveys[kind].lines = line
            digests[kind].update(body)
            rows += 1
        if not rows % 1000:
            read(reader.at(line), rows)
    found = [(units[kind], one) for kind, one in surveys.items() if one.rows]
    if not found:
        raise SourceRefused(path, 0, f"has neither trades nor books of {venue}; quotes are not loaded")
    for unit, one in found:
        unit._frames = reader._frames  # noqa: SLF001 of the same class
        kind = unit.part.kind
        one.digest = digests[kind].hexdigest()
        one.id = hashlib.sha256(f"{venue}\n{unit.part.topic}\n{one.digest}".encode()).hexdigest()[:ID_CHARACTERS]
    for line, body in faults:
        found[0][1].faults.add(_fault(line, body))
    return found


def _add(survey: Survey, record: Any, name: str) -> None:
    survey.rows += 1
    time = int(record.received_time)
    survey.first_time = min(survey.first_time or time, time)
    survey.last_time = max(survey.last_time, time)
    instrument = Instrument(record.venue, record.symbol, name)
    if instrument not in survey.named:
        survey.named.append(instrument)


def _fault(line: int, body: bytes) -> Fault:
    told = json.loads(body)
    return Fault(line, "", str(told["reason"]), str(told["text"]))


def _message(stream: IO[bytes]) -> tuple[bytes, int, bytes] | None:
    """Read a message; None: the stream has ended, in the middle of one or not."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    kind, line, length = _HEAD.unpack(head)
    body = stream.read(length)
    return (kind, line, body) if len(body) == length else None
