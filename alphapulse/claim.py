"""A folder that belongs to one process at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from alphapulse.errors import ServiceError


def claim(data_dir: Path) -> IO[str]:
    """Make ``data_dir`` ours until the returned file is closed.

    Raises:
        ServiceError: it cannot be written, or a running process holds it.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / ".lock").open("a+")
    except OSError as error:
        raise ServiceError(f"data directory {data_dir} is not writable: {error.strerror or error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        holder = lock.read().strip() or "another process"
        lock.close()
        raise ServiceError(f"data directory {data_dir} is in use by {holder}") from error
    lock.truncate(0)
    lock.write(f"process {os.getpid()}")
    lock.flush()
    return lock
