"""Relay of children's logs to this process's own standard error, where container engines look for logs."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import BinaryIO, Final

from alphapulse.supervisor.supervisor import Child, Supervisor

INTERVAL_SECONDS: Final = 0.5
"""Time between two looks at the files."""
CHUNK_BYTES: Final = 1_048_576
"""Read of one file at once."""
KEEP_BYTES: Final = 8 * 2**20
"""A file larger than this is emptied when all of it is relayed: it would fill the container's disk."""


class LogRelay:
    """Copies the lines that children write from now on; files are bounded by :data:`KEEP_BYTES`.

    Args:
        supervisor: of the children; later ones are found.
        stream: where lines go.
        keep_bytes: see :data:`KEEP_BYTES`.
    """

    def __init__(self, supervisor: Supervisor, stream: BinaryIO, *, keep_bytes: int = KEEP_BYTES) -> None:
        self._supervisor = supervisor
        self._stream = stream
        self._keep = keep_bytes
        self._read: dict[str, int] = {}  # bytes relayed or older than the child, by name

    async def run(self) -> None:
        """Relay until cancelled; at the end, everything is relayed that the files have."""
        try:
            while True:
                self.turn()
                await asyncio.sleep(INTERVAL_SECONDS)
        finally:
            self.turn()

    def turn(self) -> None:
        """Relay the whole lines that the files have now."""
        for name, child in self._supervisor.children.items():
            # A file that is not there yet will be found.
            with contextlib.suppress(FileNotFoundError):
                self._copy(name, child)
        self._stream.flush()

    def _copy(self, name: str, child: Child) -> None:
        path = self._supervisor.log_path(name)
        done = self._read.setdefault(name, child.log_start)
        with path.open("rb") as file:
            file.seek(done)
            while chunk := file.read(CHUNK_BYTES):
                end = chunk.rfind(b"\n") + 1
                if not end:
                    if len(chunk) < CHUNK_BYTES:
                        break  # the rest of the line is still to come
                    end = len(chunk)
                self._stream.write(chunk[:end])
                done += end
                file.seek(done)
        self._read[name] = done
        if done >= self._keep:
            self._empty(path, child, name)

    def _empty(self, path: Path, child: Child, name: str) -> None:
        """Empty the file, which its writer appends to, unless there is more to relay.

        A line written between the two calls is lost, as with logrotate's ``copytruncate``: once in 8 MB, at most.
        """
        if path.stat().st_size == self._read[name]:
            os.truncate(path, 0)
            self._read[name] = child.log_start = 0
