"""Files of text lines, plain or compressed, as blocks of whole lines.

``.gz`` (also of several members), ``.zip`` with one file in it, or plain, told by their first bytes and not by their
names. Memory is bounded by the size of a block.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from sinks.load.faults import SourceRefused

BLOCK_BYTES: Final = 4 * 2**20
"""Bytes of a block: some 60,000 rows. Blocks of a content are always cut at the same places."""
LINE_BYTES: Final = 2**20
"""Maximum length of a line."""
_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"
_BOM: Final = b"\xef\xbb\xbf"
_READ: Final = 2**16


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines.

    Attributes:
        data: each line ends with a line feed.
        line: number of its first line, 1-based.
        read: bytes of the file read so far, compressed as it is.
    """

    data: bytes
    line: int
    read: int


class SourceFile:
    """A file to load.

    Args:
        path: of the file.
        block_bytes: size of the blocks.

    Attributes:
        size: bytes on the disk.
        digest: SHA-256 of the content, decompressed, in hexadecimal; empty until it was read to its end.

    Raises:
        SourceRefused: it is no regular file, or cannot be read.
    """

    def __init__(self, path: Path, block_bytes: int = BLOCK_BYTES) -> None:
        self.path = path
        self.digest = ""
        self._block_bytes = block_bytes
        try:
            status = path.stat()
        except OSError as error:
            raise SourceRefused(path, 0, f"cannot be read: {error.strerror or error}") from error
        if stat.S_ISDIR(status.st_mode):
            raise SourceRefused(path, 0, "is a folder; name the files in it")
        if not stat.S_ISREG(status.st_mode):
            raise SourceRefused(path, 0, "is not a regular file; a source is read twice")
        self.size = status.st_size

    def first_lines(self) -> tuple[bytes, bytes]:
        """Return the first two lines, without their ends; empty where there are none.

        Raises:
            SourceRefused: they cannot be read.
        """
        data = b""
        for block in SourceFile(self.path, _READ).blocks():
            data += block.data
            if data.count(b"\n") > 1:
                break
        lines = [line.rstrip(b"\r") for line in data.split(b"\n")]
        return lines[0], lines[1] if len(lines) > 1 else b""

    def blocks(self) -> Iterator[Block]:
        """Read the file.

        Raises:
            SourceRefused: it cannot be read to its end, or a line is too long.
        """
        digest = hashlib.sha256()
        line, rest, first = 1, b"", True
        try:
            with ExitStack() as stack:
                raw = stack.enter_context(self.path.open("rb"))
                content = self._content(raw, stack)
                while data := content.read(self._block_bytes):
                    digest.update(data)
                    if first:
                        data, first = data.removeprefix(_BOM), False
                    end = data.rfind(b"\n") + 1
                    if not end:
                        rest += data
                        if len(rest) > LINE_BYTES + self._block_bytes:
                            raise SourceRefused(self.path, line, f"the line is longer than {LINE_BYTES:,} bytes")
                        continue
                    block = rest + data[:end]
                    rest = data[end:]
                    yield Block(block, line, raw.tell())
                    line += block.count(b"\n")
                if rest:
                    yield Block(rest + b"\n", line, raw.tell())
        except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
            raise SourceRefused(
                self.path, 0, f"damaged or not complete, from about line {line:,} on: {error}"
            ) from error
        except OSError as error:
            raise SourceRefused(self.path, 0, f"cannot be read: {error.strerror or error}") from error
        self.digest = digest.hexdigest()

    def _content(self, raw: IO[bytes], stack: ExitStack) -> IO[bytes]:
        head = raw.read(4)
        raw.seek(0)
        if head.startswith(_GZIP):
            opened = stack.enter_context(gzip.GzipFile(fileobj=raw))
            return cast("IO[bytes]", io.BufferedReader(opened, _READ))
        if not head.startswith(_ZIP):
            return raw
        archive = stack.enter_context(zipfile.ZipFile(raw))
        inside = [one for one in archive.infolist() if not one.is_dir()]
        if len(inside) != 1:
            raise SourceRefused(self.path, 0, f"holds {len(inside)} files; unpack it and name those to load")
        if inside[0].flag_bits & 1:
            raise SourceRefused(self.path, 0, "is encrypted; unpack it first")
        return stack.enter_context(archive.open(inside[0]))
