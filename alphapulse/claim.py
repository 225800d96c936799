"""Folders that belong to one process at a time: the kernel's lock on a file decides, whatever else lies about."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from alphapulse.errors import ServiceError


class InUse(ServiceError):
    """A running process holds what was to be claimed.

    ``holder`` is its process id, as far as it has said so; 0 where it has not.
    """

    def __init__(self, text: str, holder: int) -> None:
        self.holder = holder
        super().__init__(text)


def claim(data_dir: Path) -> IO[str]:
    """Make ``data_dir`` ours until the returned file is closed.

    Raises:
        ServiceError: it cannot be written.
        InUse: a running process holds it.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        return lock(data_dir / ".lock", f"data directory {data_dir}")
    except OSError as error:
        raise ServiceError(f"data directory {data_dir} is not writable: {error.strerror or error}") from error


def lock(path: Path, what: str) -> IO[str]:
    """Hold ``path``, which is made if it is not there, until the returned file is closed or this process ends.

    Args:
        path: of a file that has no other use; it names its holder.
        what: is in use, for the message.

    Raises:
        OSError: the file cannot be opened.
        InUse: a running process holds it.
    """
    file = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        holder = file.read(64).strip()
        file.close()
        number = holder.removeprefix("process ")
        pid = int(number) if number.isascii() and number.isdecimal() else 0
        raise InUse(f"{what} is in use by {f'process {pid}' if pid else 'another process'}", pid) from error
    file.truncate(0)
    file.write(f"process {os.getpid()}")
    file.flush()
    return file
