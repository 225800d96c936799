"""A bucket as a store: S3, Google Cloud Storage, Azure and every other filesystem of pyarrow or fsspec.

A file is a draft on the local disk until it is complete, then it is uploaded in one piece: an object appears whole or
not at all. What fails for a while (connection, 5xx) is an OSError, which the writer repeats; what needs a person
(rights, no such bucket) is a StoreError.

Objects cannot be exchanged at one instant. A compaction uploads the new file, waits, and removes those it replaces;
their names say which count (:func:`sinks.parquet.names.visible`), so who takes the list of files from the catalogue
sees each row once at every moment; who lists the bucket by a pattern may see both until the removal.

Credentials come from where pyarrow looks for them: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``~/.aws``, a
machine's role, ``GOOGLE_APPLICATION_CREDENTIALS``; never from the URL.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from sinks.parquet.files import remove_dead_drafts
from sinks.parquet.names import Stored, parsed
from sinks.parquet.store import StoreError

_FOR_A_PERSON: Final = (
    "ACCESS_DENIED",
    "INVALID_ACCESS_KEY_ID",
    "INVALID_CLIENT_TOKEN_ID",
    "SIGNATURE_DOES_NOT_MATCH",
    "NO_SUCH_BUCKET",
    "UNRECOGNIZED_CLIENT",
    "MISSING_AUTHENTICATION_TOKEN",
    "HTTP status 401",
    "HTTP status 403",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
)
"""What the messages of pyarrow's filesystems contain when repeating is in vain."""


class ObjectStore:
    """A bucket and prefix as a :class:`sinks.parquet.store.Store`.

    Args:
        url: for :meth:`pyarrow.fs.FileSystem.from_uri`: ``s3://bucket/prefix?region=…&endpoint_override=…``.
        drafts: local folder for drafts.

    Raises:
        StoreError: the URL cannot be used.
    """

    exchanges = False

    def __init__(self, url: str, drafts: Path) -> None:
        split = urlsplit(url)
        self._place = f"{split.scheme}://{split.netloc.rpartition('@')[2]}{split.path}".rstrip("/")
        self.drafts = drafts
        self._replaced: list[str] = []
        try:
            self._system, root = fs.FileSystem.from_uri(url)
        except (OSError, ValueError, NotImplementedError, ImportError) as error:
            raise StoreError(f"parquet.path: {self._place}: {error}") from error
        self._root: str = root.rstrip("/")

    @property
    def place(self) -> str:
        return self._place

    def open(self) -> None:
        self.drafts.mkdir(parents=True, exist_ok=True)
        if not os.access(self.drafts, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied", str(self.drafts))
        self.sweep()
        with self._naming(""):
            self._system.get_file_info(fs.FileSelector(self._root, allow_not_found=True))

    def sweep(self) -> None:
        remove_dead_drafts(self.drafts)

    @contextmanager
    def _naming(self, path: str) -> Iterator[None]:
        """Name the object in errors, and tell those that need a person from those that pass."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            text = " ".join(str(error).split())
            if any(word in text for word in _FOR_A_PERSON):
                raise StoreError(f"parquet.path: cannot use {self._full(path)}: {text}") from error
            raise OSError(error.errno or 5, text, self._full(path)) from error

    def _full(self, path: str) -> str:
        return f"{self._place}/{path}" if path else self._place

    def _key(self, path: str) -> str:
        return f"{self._root}/{path}"

    def topics(self) -> list[str]:
        with self._naming(""):
            found = self._system.get_file_info(fs.FileSelector(self._root, allow_not_found=True))
        return sorted(
            item.base_name for item in found if item.type == fs.FileType.Directory and item.base_name[0] not in "._"
        )

    def files(self, topic: str) -> list[Stored]:
        with self._naming(topic):
            found = self._system.get_file_info(fs.FileSelector(self._key(topic), allow_not_found=True, recursive=True))
        made = [
            parsed(item.path.removeprefix(f"{self._root}/"), item.size)
            for item in found
            if item.type == fs.FileType.File
        ]
        return sorted((file for file in made if file is not None), key=lambda file: (file.hour, file.path))

    def publish(self, drafts: Sequence[tuple[Path, str]]) -> None:
        for draft, path in drafts:
            with pa.memory_map(str(draft)) as content:
                self._upload(path, content.read_buffer())

    def _upload(self, path: str, content: Any) -> None:
        with self._naming(path):
            # One write: a stream that is closed early, by an error, would make an object of what it has.
            with self._system.open_output_stream(self._key(path), compression=None) as stream:
                stream.write(content)
            size = self._system.get_file_info(self._key(path)).size
        if size != len(content):
            raise OSError(5, f"{len(content):,} bytes were uploaded, {size or 0:,} are there", self._full(path))

    def remove(self, paths: Collection[str]) -> None:
        for path in paths:
            with self._naming(path):
                try:
                    self._system.delete_file(self._key(path))
                except FileNotFoundError:
                    continue

    def source(self, path: str) -> pa.NativeFile:
        with self._naming(path):
            return self._system.open_input_file(self._key(path))

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        # No lock: compactions that meet make the same files, or one whose range includes the other's.
        yield

    def replace(self, folder: str, drafts: Sequence[tuple[Path, str]], replaced: Collection[str]) -> None:
        present = {file.path for file in self.files(folder.partition("/")[0])}
        if missing := sorted(set(replaced) - present):
            raise FileNotFoundError(2, "No such file or directory", self._full(missing[0]))
        self.publish(drafts)
        for draft, _ in drafts:
            draft.unlink(missing_ok=True)
        self._replaced += replaced

    def retire(self, folder: str, files: Collection[str]) -> None:
        self.remove(files)

    def settle(self, grace_seconds: float) -> None:
        replaced, self._replaced = self._replaced, []
        if replaced:
            time.sleep(grace_seconds)
            self.remove(replaced)

    def read(self, path: str) -> bytes | None:
        with self._naming(path):
            try:
                with self._system.open_input_stream(self._key(path), compression=None) as stream:
                    content: bytes = stream.read()
                    return content
            except FileNotFoundError:
                return None

    def write(self, path: str, content: bytes) -> None:
        self._upload(path, pa.py_buffer(content))
