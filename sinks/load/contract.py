"""Where records of a load go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from sinks.load.unit import Survey


@dataclass(slots=True)
class Written:
    """What became of records: those written now, and those that were there already."""

    stored: int = 0
    present: int = 0

    def add(self, more: Written) -> None:
        """Count more."""
        self.stored += more.stored
        self.present += more.present


class Target(Protocol):
    """Keeps each record of a source once, however often it is written and wherever a writer was killed."""

    async def open(self) -> None:
        """Connect.

        Raises:
            AlphaPulseError: it cannot be used.
        """

    async def begin(self, path: Path, survey: Survey) -> Written | None:
        """Begin with a source; return what is there if nothing is left to do, else None.

        Raises:
            AlphaPulseError: it cannot be loaded there.
        """

    async def write(self, rows: pa.RecordBatch) -> Written:
        """Write records of the source, in its order.

        Raises:
            AlphaPulseError: they cannot be written; what was written stays, and the load can be repeated.
        """

    async def end(self) -> Written:
        """Wait until everything is durable; return what was not counted by :meth:`write`.

        Raises:
            AlphaPulseError: as :meth:`write`.
        """

    async def close(self) -> None:
        """Release all resources."""
