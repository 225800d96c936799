"""Following a configuration folder while a process runs: what changed is read whole, and applied or refused.

The files are looked at a few times a second; SIGHUP makes it happen at once (not on a terminal, which sends that
signal when it closes). A file that is being written is left alone until it has not changed between two looks.
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
"""What tells two contents of the files apart: time of change (ns), size and inode of each; None: not there."""


def stamp(folder: Path) -> Stamp:
    """Return the stamp of the configuration files in ``folder``."""
    return tuple(_stamp(folder / name) for name in FILES)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:  # a file that cannot be looked at is as good as gone; load() tells why
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
    """Call ``changed`` with the new settings each time the files change, for ever.

    Args:
        folder: holds the files.
        changed: applies the settings, which may differ in anything or nothing.

            Raises:
                ConfigError: they cannot be applied; the running configuration stays.
        refused: is told why a change is not applied.
        load: reads them.

            Raises:
                ConfigError: with every fault found.
        poll_seconds: between two looks.
    """
    # What was written between the start of the process and now is a change as well.
    seen = loaded = stamp(folder)
    considered: Stamp | None = None
    with _hangup() as asked:
        while True:
            before, seen = seen, stamp(folder)
            if asked.is_set() or (seen == before and seen != considered):
                asked.clear()
                considered = seen
                gone = [
                    f"{folder / name}: is gone; an empty file would switch off what stood in it"
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
    """Yield an event that SIGHUP sets."""
    asked = asyncio.Event()
    if sys.stdin is not None and sys.stdin.isatty():
        yield asked
        return
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGHUP, asked.set)
    except (ValueError, RuntimeError) as error:  # not the main thread: the files are looked at all the same
        logs.get("reload").debug("no SIGHUP", reason=str(error))
        yield asked
        return
    try:
        yield asked
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
