"""Exclusive use of a folder by one process, by a kernel lock on a file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from alphapulse.errors import ServiceError


class InUse(ServiceError):
    """Another running process holds the folder.

    ``holder`` is its process id, 0 if unknown.
    """

    def __init__(self, text: str, holder: int) -> None:
        self.holder = holder
        super().__init__(text)


def claim(folder: Path, what: str = "data directory", *, beside: bool = False) -> IO[str]:
    """Lock ``folder`` until the returned file is closed or this process ends.

    Args:
        folder: created if missing.
        what: names it in messages.
        beside: keep the lock file beside the folder (``name.lock``) instead of in it (``.lock``), for a folder whose
            files belong to another program. Then neither the folder nor its parent is created.

    Raises:
        ServiceError: the folder or its lock file cannot be written.
        InUse: another running process holds it.
    """
    try:
        if beside:
            return _lock(folder.with_name(f"{folder.name}.lock"), f"{what} {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        return _lock(folder / ".lock", f"{what} {folder}")
    except OSError as error:
        raise ServiceError(f"{what} {folder} is not writable: {error.strerror or error}") from error


def _lock(path: Path, what: str) -> IO[str]:
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
