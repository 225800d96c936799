"""Hot reload: follow a configuration folder; a change is read as a whole and applied or refused.

The files are polled a few times a second; SIGHUP triggers an immediate read (not on a terminal, which sends that
signal when it closes). A file being written is ignored until two polls find it equal.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from alphapulse import config, logs
from alphapulse.config import FILES, Settings
from alphapulse.errors import ConfigError

POLL_SECONDS: Final = 0.2

Stamp = tuple[tuple[int, int, int] | None, ...]
"""Identifies file contents: modification time (ns), size and inode of each; None: no such file."""


def stamp(folder: Path) -> Stamp:
    """Return the stamp of the configuration files in ``folder``."""
    return tuple(_stamp(folder / name) for name in FILES)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:  # treated as missing; load() reports the reason
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


async def follow(
    folder: Path,
    changed: Callable[[Settings], object],
    refused: Callable[[ConfigError], object],
    *,
    load: Callable[[Path], Settings] = config.load,
    poll_seconds: float = POLL_SECONDS,
) -> None:
    """Call ``changed`` with the new settings each time the files change; never returns.

    Args:
        folder: holds the files.
        changed: applies the settings, which may differ in any way or not at all.

            Raises:
                ConfigError: they cannot be applied; the running configuration stays.
        refused: receives the reason if a change is refused.
        load: reads the settings.

            Raises:
                ConfigError: with every fault found.
        poll_seconds: interval between polls.
    """
    # Changes between the start of the process and now count.
    seen = loaded = stamp(folder)
    considered: Stamp | None = None
    with _hangup() as asked:
        while True:
            before, seen = seen, stamp(folder)
            if asked.is_set() or (seen == before and seen != considered):
                asked.clear()
                considered = seen
                gone = [
                    f"{folder / name}: the file is missing; to remove its settings, leave an empty file"
                    for name, was, now in zip(FILES, loaded, seen, strict=True)
                    if was is not None and now is None
                ]
                if gone:
                    refused(ConfigError(gone))
                else:
                    loaded = seen
                    _apply(folder, load, changed, refused)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(poll_seconds):
                    await asked.wait()


def _apply(
    folder: Path,
    load: Callable[[Path], Settings],
    changed: Callable[[Settings], object],
    refused: Callable[[ConfigError], object],
) -> None:
    try:
        changed(load(folder))
    except ConfigError as error:
        refused(error)


@contextlib.contextmanager
def _hangup() -> Iterator[asyncio.Event]:
    """Yield an event that is set by SIGHUP."""
    asked = asyncio.Event()
    if sys.stdin is not None and sys.stdin.isatty():
        yield asked
        return
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGHUP, asked.set)
    except (ValueError, RuntimeError) as error:  # not the main thread: polling still works
        logs.get("reload").debug("no SIGHUP", reason=str(error))
        yield asked
        return
    try:
        yield asked
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
