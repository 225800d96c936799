"""A folder of this machine as a store.

Drafts and what a compaction prepares are in ``.work`` under the root: on the same file system, so that a rename puts
them in place, and hidden from readers of Parquet folders, which skip names that begin with a dot.

Publishing, removing and replacing need turns, or a file published while its hour is replaced would be lost: whoever
publishes or removes holds ``.work/swap.lock`` shared, who exchanges a folder holds it alone, for some milliseconds.
Compactions exclude each other by ``.work/compact.lock``. The kernel releases both when their holder ends.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import pyarrow as pa

from alphapulse.claim import InUse
from sinks.parquet.files import WRITER, open_draft, remove_dead_drafts
from sinks.parquet.names import Stored, parsed
from sinks.parquet.store import LISTING_SECONDS, StoreError

WORK: Final = ".work"
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_ATTEMPTS: Final = 5


def sync_folder(folder: Path) -> None:
    """Make renames and removals in ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make ``folder`` and its parents, each durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def _unless_removed(error: OSError) -> None:
    """Raise what is wrong with a folder; one that was removed while its parent was listed has nothing."""
    if not isinstance(error, FileNotFoundError):
        raise error


def exchange(one: Path, other: Path) -> None:
    """Exchange two names at one instant.

    Raises:
        StoreError: this system or file system cannot.
        OSError: it failed.
    """
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is not None:
        if call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
            return
        number = ctypes.get_errno()
        if number not in {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:
            raise OSError(number, os.strerror(number), str(other))
    raise StoreError(
        f"{other}: this file system cannot exchange two folders at one instant (renameat2), so compaction could show "
        "rows twice or not at all; nothing was changed"
    )


class LocalStore:
    """A folder as a :class:`sinks.parquet.store.Store`.

    Args:
        root: folder of all topics.
    """

    exchanges = True

    def __init__(self, root: Path) -> None:
        self._root = root
        self._work = root / WORK
        self._numbers = iter(range(1 << 62))
        self._retired: list[Path] = []

    @property
    def place(self) -> str:
        return str(self._root)

    @property
    def drafts(self) -> Path:
        return self._work

    def open(self) -> None:
        make_folder(self._root)
        for folder in (self._root, self._work):
            if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        make_folder(self._work)
        self.sweep()

    def sweep(self) -> None:
        if not self._work.is_dir():
            return
        remove_dead_drafts(self._work)
        with suppress(InUse), self._alone("compact.lock"):
            self._remove_swapped(sorted(self._work.glob("swap-*")), LISTING_SECONDS)

    def topics(self) -> list[str]:
        try:
            places = list(self._root.iterdir())
        except FileNotFoundError:
            return []
        return sorted(place.name for place in places if place.is_dir() and place.name[0] not in "._")

    def files(self, topic: str) -> list[Stored]:
        found: list[Stored] = []
        for folder, _, names in os.walk(self._root / topic, onerror=_unless_removed, followlinks=True):
            below = Path(folder).relative_to(self._root).as_posix()
            for name in names:
                file = parsed(f"{below}/{name}")
                if file is not None:
                    with suppress(FileNotFoundError):  # replaced or removed meanwhile
                        found.append(replace(file, size=(self._root / file.path).stat().st_size))
        return sorted(found, key=lambda file: (file.hour, file.path))

    def publish(self, drafts: Sequence[tuple[Path, str]]) -> None:
        touched: set[Path] = set()
        with self._lock("swap.lock", fcntl.LOCK_SH):
            for draft, path in drafts:
                place = self._root / path
                touched.add(place.parent)
                if draft.exists() or not place.exists():
                    make_folder(place.parent)
                    draft.rename(place)
            for folder in touched:
                sync_folder(folder)

    def remove(self, paths: Collection[str]) -> None:
        with self._lock("swap.lock", fcntl.LOCK_SH):
            places = [self._root / path for path in paths]
            for place in places:
                place.unlink(missing_ok=True)
            for folder in {place.parent for place in places if place.parent.is_dir()}:
                sync_folder(folder)

    def source(self, path: str) -> pa.NativeFile:
        return pa.OSFile(str(self._root / path), "rb")

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        make_folder(self._work)
        with ExitStack() as held:
            for attempt in range(_ATTEMPTS):
                try:
                    held.enter_context(self._alone("compact.lock"))
                    break
                except InUse:
                    # A sink that starts has it for a moment, to see whether a compaction was killed.
                    if attempt + 1 == _ATTEMPTS:
                        raise
                    time.sleep(0.05)
            yield

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        try:
            with self._lock(name, fcntl.LOCK_EX | fcntl.LOCK_NB):
                yield
        except BlockingIOError as error:
            raise InUse(
                f"{self._root}: another compaction, retention or replay is at work in this folder", 0
            ) from error

    @contextmanager
    def _lock(self, name: str, how: int) -> Iterator[None]:
        with (self._work / name).open("ab") as file:
            fcntl.flock(file, how)
            yield

    def replace(self, folder: str, drafts: Sequence[tuple[Path, str]], replaced: Collection[str]) -> None:
        place = self._root / folder
        swapped = self._work / f"swap-{WRITER}-{next(self._numbers)}"
        gone = {Path(path).name for path in replaced}
        with self._lock("swap.lock", fcntl.LOCK_EX):
            present = {entry.name: entry for entry in os.scandir(place)}
            if missing := sorted(gone - present.keys()):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(place / missing[0]))
            swapped.mkdir()
            try:
                shutil.copystat(place, swapped)
                for name, entry in present.items():
                    if name not in gone:
                        os.link(entry.path, swapped / name, follow_symlinks=False)
                for draft, path in drafts:
                    os.link(draft, swapped / Path(path).name)
                sync_folder(swapped)
                exchange(swapped, place)
            except BaseException:
                shutil.rmtree(swapped, ignore_errors=True)
                raise
            sync_folder(place.parent)
            sync_folder(self._work)
        self._retired.append(swapped)
        for draft, _ in drafts:
            draft.unlink(missing_ok=True)

    def retire(self, folder: str, files: Collection[str]) -> None:
        place = self._root / folder
        swapped = self._work / f"swap-{WRITER}-{next(self._numbers)}"
        with self._lock("swap.lock", fcntl.LOCK_EX):
            if {path.name for path in place.glob("*.parquet")} != {Path(path).name for path in files}:
                raise FileExistsError(errno.EEXIST, "its files changed meanwhile; the next retention takes it", folder)
            place.rename(swapped)
            sync_folder(place.parent)
            with suppress(OSError):  # other folders of the day
                for above in place.parents[: len(Path(folder).parts) - 2]:
                    above.rmdir()
        self._retired.append(swapped)

    def settle(self, grace_seconds: float) -> None:
        retired, self._retired = self._retired, []
        self._remove_swapped(retired, max(grace_seconds, LISTING_SECONDS))

    def _remove_swapped(self, folders: Sequence[Path], seconds: float) -> None:
        for folder in folders:
            # The exchange changes a folder's ctime: an older one is listed by nobody any more.
            age = time.time() - folder.stat().st_ctime
            time.sleep(min(max(seconds - age, 0.0), seconds))
            shutil.rmtree(folder)

    def read(self, path: str) -> bytes | None:
        try:
            return (self._root / path).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, path: str, content: bytes) -> None:
        place = self._root / path
        make_folder(self._work)
        draft = self._work / f".{WRITER}-note-{next(self._numbers)}.tmp"
        with open_draft(draft) as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                draft.rename(place)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
        sync_folder(place.parent)
