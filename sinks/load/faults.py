"""What is wrong with rows of a source, where, and what becomes of them."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from alphapulse.errors import AlphaPulseError, ServiceError

SHOWN: Final = 80
"""Characters of a value shown in a reason."""
_HEAD: Final = ("file", "line", "column", "reason", "row")
KEPT: Final = 20
"""Faults kept with their text; further ones are counted, and written to the rejects."""


class SourceRefused(AlphaPulseError):
    """A source that cannot be loaded as a whole; ``path`` and ``line`` (0: all of it) give the place."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        self.path = path
        self.line = line
        super().__init__(f"{path}:{line}: {reason}" if line else f"{path}: {reason}")


class SurveyDiffers(Exception):
    """A row is not as it was in the survey."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A row that cannot be loaded.

    Attributes:
        line: 1-based.
        column: name of the column; empty: the whole line.
        reason: why, with the value.
        text: the line as it stands in the source.
    """

    line: int
    column: str
    reason: str
    text: str

    def told(self, path: Path) -> str:
        """Return it with its place: ``trades.csv.gz:17: price: not a decimal number: '1,5'``."""
        return f"{path}:{self.line}: {f'{self.column}: ' if self.column else ''}{self.reason}"


def shown(raw: bytes) -> str:
    """Return bytes of a source as text for a message."""
    text = raw[: 4 * SHOWN].decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}…")


@dataclass(slots=True)
class Faults:
    """Faults of a source: all are counted, the first are kept."""

    total: int = 0
    first: list[Fault] = field(default_factory=list)

    def add(self, fault: Fault) -> None:
        """Count a fault."""
        self.total += 1
        if len(self.first) < KEPT:
            self.first.append(fault)


class Rejects:
    """The file of rows that were not loaded: CSV with file, line, column, reason and the row itself.

    It is made with the first row; one of an earlier load is removed. A context manager.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        try:
            if self.path.is_file():
                with self.path.open(encoding="utf-8", errors="replace") as before:
                    ours = before.readline().strip() == ",".join(_HEAD)
                if not ours:
                    raise ServiceError(f"--rejects: {self.path} is there and is no file of rejects; name another one")
                self.path.unlink()
        except OSError as error:
            raise self._refused(error) from error
        return self

    def add(self, source: Path, fault: Fault) -> None:
        """Write a row.

        Raises:
            ServiceError: the file cannot be written.
        """
        try:
            if self._file is None:
                self._file = self.path.open("w", encoding="utf-8", newline="")
                csv.writer(self._file).writerow(_HEAD)
            csv.writer(self._file).writerow((source, fault.line, fault.column, fault.reason, fault.text))
        except OSError as error:
            raise self._refused(error) from error
        self.rows += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as reason:
                raise self._refused(reason) from error

    def _refused(self, error: OSError) -> ServiceError:
        return ServiceError(f"--rejects: cannot use {self.path}: {error.strerror or error}")
