"""Where files are kept: the contract of a store.

One writer, compaction and catalogue work on any store: a folder of this machine (:mod:`sinks.parquet.local`), or a
bucket of S3, Google Cloud Storage and what else pyarrow's filesystems reach (:mod:`sinks.parquet.objects`); which one,
:mod:`sinks.parquet.places` knows. Paths are
relative to the store's root. Methods block, and raise OSError.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol

import pyarrow as pa

from alphapulse.errors import ServiceError
from sinks.parquet.names import Stored

LISTING_SECONDS: Final = 5.0
"""How long a replaced folder is kept for a reader that has opened it and not listed it to the end."""


class StoreError(ServiceError):
    """A store cannot be used, for a reason that needs a person: rights, a bucket that does not exist."""


class Store(Protocol):
    """A place of files by topic and hour."""

    @property
    def place(self) -> str:
        """The root, for messages and as the beginning of full paths."""

    @property
    def drafts(self) -> Path:
        """Local folder for drafts."""

    @property
    def exchanges(self) -> bool:
        """Whether an hour's files are replaced at one instant for every reader; else see :meth:`replace`."""

    def open(self) -> None:
        """Make the root and the folder for drafts, check that they can be written, and remove what dead writers left.

        Raises:
            StoreError: it cannot be used, for a reason that needs a person.
        """

    def sweep(self) -> None:
        """Remove what dead writers and compactions left: drafts, folders that were replaced."""

    def topics(self) -> list[str]:
        """Return the topics that have files, sorted."""

    def files(self, topic: str) -> list[Stored]:
        """Return the finished files of a topic, with their sizes, sorted by hour and path; foreign files are left out.

        During a compaction some may be replaced by others: see :func:`sinks.parquet.names.visible`.
        """

    def publish(self, drafts: Sequence[tuple[Path, str]]) -> None:
        """Put finished drafts in their places, each atomically, all durably. Safe to repeat after an error."""

    def remove(self, paths: Collection[str]) -> None:
        """Remove files durably; those that do not exist are ignored."""

    def source(self, path: str) -> pa.NativeFile:
        """Open a file for random access."""

    def exclusively(self) -> AbstractContextManager[None]:
        """Keep other compactions and retentions out, as long as the context lasts.

        Raises:
            InUse: another one is at work.
        """

    def replace(self, folder: str, drafts: Sequence[tuple[Path, str]], replaced: Collection[str]) -> None:
        """Replace files of an hour's folder by others with the same rows.

        Where the store :attr:`exchanges`, at one instant. Elsewhere the new files appear first and :meth:`settle`
        removes the others: in between :func:`sinks.parquet.names.visible` tells which count.

        Raises:
            FileNotFoundError: a file of ``replaced`` no longer exists; nothing was changed.
        """

    def retire(self, folder: str, files: Collection[str]) -> None:
        """Remove an hour's folder with its ``files``.

        Raises:
            FileExistsError: it has others as well; nothing was removed.
        """

    def settle(self, grace_seconds: float) -> None:
        """Wait until readers have done with what was replaced or retired, then remove it."""

    def read(self, path: str) -> bytes | None:
        """Return a small file's content; None if it does not exist."""

    def write(self, path: str, content: bytes) -> None:
        """Write a small file atomically and durably."""
