"""Line reader for recordings: gzip or plain text, streamed, tolerant of truncated files.

A line is ``<received_ns> <frame>``. A line of another form is returned too, with all its bytes as the frame.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from alphapulse.errors import RecordingError

MAX_LINE_BYTES = 64 << 20
"""Maximum length; no venue's message is longer."""

_CHUNK = 1 << 16
_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 31  # zlib's wbits for the gzip format
_DIGITS = 19  # of a signed 64-bit integer


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a recording.

    Attributes:
        number: 1-based.
        received_ns: receipt time of the frame; None if the line has none.
        frame: as sent by the venue; the whole line if it is not ``<received_ns> <frame>``.
    """

    number: int
    received_ns: int | None
    frame: bytes


def read(path: Path) -> Iterator[Line]:
    """Yield the lines of the recording at ``path``, without blank ones.

    All complete lines are yielded before an error is raised. A frame truncated by the end of the compressed data is
    not: the venue never sent it.

    Raises:
        RecordingError: no such file, not the format its name says, or truncated; then ``line`` is the first incomplete
            line.
    """
    number = 0
    rest = b""
    try:
        for position, chunk in enumerate(_chunks(path)):
            if position == 0:  # an editor may have added a byte order mark
                chunk = chunk.removeprefix(codecs.BOM_UTF8)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                number += 1
                if line.strip():
                    yield _parse(number, line)
            if len(rest) > MAX_LINE_BYTES:
                raise RecordingError(str(path), number + 1, f"the line is longer than {MAX_LINE_BYTES} bytes")
    except _Damage as damage:
        reason = f"the recording is truncated ({damage})"
        if rest and _is_whole(last := _parse(number + 1, rest)):
            number += 1
            yield last
        elif rest:
            reason += f"; the first {len(rest)} bytes of this line were ignored"
        raise RecordingError(str(path), number + 1, reason) from damage
    if rest.strip():
        yield _parse(number + 1, rest)


def _parse(number: int, line: bytes) -> Line:
    time, _, frame = line.partition(b" ")
    if frame.strip() and time.isdigit() and len(time) <= _DIGITS:
        return Line(number, int(time), frame)
    return Line(number, None, line)


def _is_whole(line: Line) -> bool:
    """Whether the last line of a truncated file is complete: no proper prefix of a JSON object is one."""
    try:
        msgspec.json.decode(line.frame, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return line.received_ns is not None


class _Damage(Exception):
    """The compressed data is truncated or corrupt."""


def _chunks(path: Path) -> Iterator[bytes]:
    """Yield the text in chunks.

    Raises:
        RecordingError: the file cannot be opened or is not a gzip file despite its name.
        _Damage: compressed data is truncated or corrupt; everything before was yielded.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_CHUNK)
            if start.startswith(_GZIP):
                yield from _inflate(iter(lambda: file.read(_CHUNK), b""), start)
            elif path.suffix == ".gz" and start:
                raise RecordingError(str(path), 0, f"is not a gzip file (starts with {start[:8]!r})")
            else:
                while start:
                    yield start
                    start = file.read(_CHUNK)
    except OSError as error:
        raise RecordingError(str(path), 0, f"cannot be read: {error.strerror or error}") from error


def _inflate(chunks: Iterator[bytes], data: bytes) -> Iterator[bytes]:
    """Decompress consecutive gzip members, as written by an appending recorder."""
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    while data:
        before = inflater.copy()
        try:
            yield inflater.decompress(data)
        except zlib.error as error:
            yield from _salvage(before, data)
            raise _Damage(str(error)) from error
        data = inflater.unused_data if inflater.eof else b""
        if inflater.eof:
            data = data.lstrip(b"\0") or next(chunks, b"").lstrip(b"\0")
            if data:
                inflater = zlib.decompressobj(_GZIP_WINDOW)
        else:
            data = next(chunks, b"")
    if not inflater.eof:
        raise _Damage("unexpected end of the compressed data")


def _salvage(inflater: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """Yield what can be decompressed from ``data`` before the first corrupt byte."""
    for position in range(len(data)):
        try:
            yield inflater.decompress(data[position : position + 1])
        except zlib.error:
            return
