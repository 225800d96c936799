"""Name of a collector's process, and whether a process of another name has certainly ended.

A process holds a kernel lock on a file of its name in ``data_dir/run/collectors``, which the kernel releases when the
process ends, however it ends. So a successor on the same machine knows at once that its predecessor was killed; without
the file, or on another machine, it knows nothing and waits for the predecessor's right to expire.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import secrets
from pathlib import Path
from typing import IO, Final

from alphapulse.errors import ServiceError

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Holder:
    """This process's name and lock, held until :meth:`close` or the process's end.

    Args:
        data_dir: of the service.
        service: name of the service.

    Raises:
        ServiceError: the folder cannot be written.

    Attributes:
        name: unique name of the process.
    """

    def __init__(self, data_dir: Path, service: str) -> None:
        self.name = f"{service}@{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._folder = data_dir / "run" / "collectors"
        self._service = service
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path(self.name).open("x", encoding="utf-8")
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._file.write(_machine())
            self._file.flush()
        except OSError as error:
            raise ServiceError(f"data_dir: {self._folder} is not writable: {error.strerror or error}") from error

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.lock"

    def is_dead(self, name: str) -> bool:
        """Whether the process ``name`` ran on this machine with this data directory, and has ended."""
        file = _unlocked(self._path(name)) if "/" not in name else None
        if file is None:
            return False
        with file:
            return file.read() == _machine()

    def clean_up(self) -> None:
        """Remove the files of processes of this service that have ended."""
        for path in self._folder.glob(f"{self._service}@*.lock"):
            file = _unlocked(path)
            if file is not None:
                with file, contextlib.suppress(OSError):  # another process removes it as well
                    path.unlink()

    def close(self) -> None:
        """Release the lock and remove the file: the process says by itself that it has ended."""
        self._path(self.name).unlink(missing_ok=True)
        self._file.close()


def _unlocked(path: Path) -> IO[str] | None:
    """Return the file, locked by us, if nobody holds its lock; else None."""
    try:
        file = path.open(encoding="utf-8")
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def _machine() -> str:
    """Return what tells this machine from others: locks on network file systems may not reach further."""
    with contextlib.suppress(OSError):
        return _BOOT_ID.read_text(encoding="ascii").strip()
    return platform.node()
