"""Recording files that survive a crash of their writer.

A file is a sequence of gzip members, one per block, each compressed and written as a whole; while it is being written
its name ends in ``.part``. After a crash at most the last block is torn; :func:`seal` truncates it at the next start.
"""

from __future__ import annotations

import asyncio
import fcntl
import gzip
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from alphapulse.errors import ServiceError

PART: Final = ".part"
BLOCK_BYTES: Final = 1 << 20
"""A block is written at this size, or at the next flush."""
_WAITING_BLOCKS: Final = 16
"""Maximum bytes waiting for the disk; above it the venue is not read."""
_LEVEL: Final = 6
_CHUNK: Final = 1 << 20
_GZIP_WINDOW: Final = 31  # zlib's wbits for the gzip format
_LINE_BREAKS: Final = bytes.maketrans(b"\r\n", b"  ")


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a file is closed and the next one begins.

    Attributes:
        bytes: maximum compressed size of a file.
        seconds: maximum time since its first frame.
    """

    bytes: int = 256 << 20
    seconds: float = 3600.0


class Tape:
    """Recording of one venue.

    Args:
        folder: folder of the files; created if missing.
        venue: prefix of the file names.
        rotation: when a new file begins.
        clock: ns since the Unix epoch; names the files.

    Attributes:
        frames: number of lines written, REST answers included.
        failed: set when a block could not be written; :meth:`check` then raises the error.
    """

    def __init__(self, folder: Path, venue: str, rotation: Rotation, clock: Callable[[], int]) -> None:
        self._folder = folder
        self._venue = venue
        self._rotation = rotation
        self._clock = clock
        self._lines: list[bytes] = []
        self._size = 0
        self._waiting = 0
        self._loop = asyncio.get_running_loop()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="tape")
        self._file: BinaryIO | None = None
        self._written = 0
        self._begun_ns = 0
        self._room = asyncio.Event()
        self._room.set()
        self._failure: ServiceError | None = None
        self.failed = asyncio.Event()
        self.frames = 0
        self.files: list[Path] = []

    def frame(self, received_ns: int, frame: bytes) -> None:
        """Write a frame. Line breaks, which JSON allows between its tokens, become spaces."""
        line = b"%d %b\n" % (received_ns, frame.translate(_LINE_BREAKS) if b"\n" in frame or b"\r" in frame else frame)
        self._lines.append(line)
        self._size += len(line)
        self.frames += 1
        if self._size >= BLOCK_BYTES:
            self.flush()

    def rest(self, received_ns: int, path: str, body: bytes) -> None:
        """Write a REST answer: ``{"rest": path, "body": …}``; a body that is not JSON becomes a JSON string."""
        try:
            raw = msgspec.json.decode(body, type=msgspec.Raw)
        except (msgspec.DecodeError, RecursionError):
            raw = msgspec.Raw(msgspec.json.encode(body.decode(errors="replace")))
        self.frame(received_ns, msgspec.json.encode({"rest": path, "body": raw}))

    @property
    def full(self) -> bool:
        """Whether the disk is so far behind that the venue must not be read."""
        return not self._room.is_set()

    async def room(self) -> None:
        """Wait until more can be written.

        Raises:
            ServiceError: see :meth:`check`.
        """
        await self._room.wait()
        self.check()

    def check(self) -> None:
        """Raise the error of a failed write, if any.

        Raises:
            ServiceError: a file cannot be written.
        """
        if self._failure is not None:
            raise self._failure

    def flush(self) -> None:
        """Pass buffered lines to the disk's thread."""
        if not self._lines or self._failure is not None:
            return
        block, self._lines, self._size = b"".join(self._lines), [], 0
        self._waiting += 1
        if self._waiting >= _WAITING_BLOCKS:
            self._room.clear()
        self._disk.submit(self._store, block, self._clock())

    async def close(self) -> None:
        """Write the rest and finish the file.

        Raises:
            ServiceError: see :meth:`check`.
        """
        self.flush()
        await self._loop.run_in_executor(self._disk, self._seal)
        self._disk.shutdown()
        self.check()

    # --- in the disk's thread ---

    def _store(self, block: bytes, now_ns: int) -> None:
        failure: ServiceError | None = None
        try:
            self._append(gzip.compress(block, _LEVEL, mtime=0), now_ns)
        except OSError as error:
            failure = ServiceError(f"{self._folder}: cannot write the recording: {error.strerror or error}")
        self._loop.call_soon_threadsafe(self._stored, failure)

    def _append(self, member: bytes, now_ns: int) -> None:
        if self._file is None:
            self._file = self._open(now_ns)
            self._written, self._begun_ns = 0, now_ns
        self._file.write(member)
        os.fsync(self._file.fileno())
        self._written += len(member)
        aged = now_ns - self._begun_ns >= self._rotation.seconds * 1e9
        if self._written >= self._rotation.bytes or aged:
            self._seal()

    def _open(self, now_ns: int) -> BinaryIO:
        self._folder.mkdir(parents=True, exist_ok=True)
        time = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M%S")
        path = self._folder / f"{self._venue}_{time}_{now_ns % 1_000_000_000:09d}.rec.gz{PART}"
        # Locked before it is visible: a recorder starting now would take it for an abandoned file.
        unseen = path.with_name(f".{path.name}")
        file = unseen.open("xb", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unseen.rename(path)
        self.files.append(path)
        return file

    def _seal(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        path = self.files[-1]
        self.files[-1] = path.rename(path.with_suffix(""))
        file.close()
        _sync_folder(self._folder)

    def _stored(self, failure: ServiceError | None) -> None:
        self._waiting -= 1
        if failure is not None:
            self._failure = self._failure or failure
            self.failed.set()
        if self._waiting < _WAITING_BLOCKS or failure is not None:
            self._room.set()


def seal(folder: Path, venue: str) -> list[tuple[Path, int]]:
    """Finish the files an earlier recorder of the venue left unfinished; return each with the bytes truncated.

    A file without a complete block is removed.

    Raises:
        ServiceError: another process is writing there, or the files cannot be read.
    """
    sealed: list[tuple[Path, int]] = []
    for path in sorted(folder.glob(f"{venue}_[0-9]*.rec.gz{PART}")):
        try:
            with path.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                size, whole = path.stat().st_size, _whole(file)
                file.truncate(whole)
                os.fsync(file.fileno())
                if whole:
                    path.rename(path.with_suffix(""))
                else:
                    path.unlink()
        except BlockingIOError as error:
            raise ServiceError(f"{path}: another process is recording {venue} there") from error
        except OSError as error:
            raise ServiceError(f"{path}: cannot finish the recording: {error.strerror or error}") from error
        sealed.append((path.with_suffix(""), size - whole))
    if sealed:
        _sync_folder(folder)
    return sealed


def _whole(file: BinaryIO) -> int:
    """Return the end of the last complete gzip member of ``file``."""
    end = position = 0
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    while data := file.read(_CHUNK):
        position += len(data)
        while data:
            try:
                inflater.decompress(data)
            except zlib.error:
                return end
            data = b""
            if inflater.eof:
                data = inflater.unused_data
                end = position - len(data)
                inflater = zlib.decompressobj(_GZIP_WINDOW)
    return end


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
