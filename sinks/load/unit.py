"""A file to load: survey, identity, and its records block by block."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pyarrow as pa

from alphapulse.errors import ValueRefused
from alphapulse.instruments import Instrument
from sinks.load.books import BookBuilder, Homeless
from sinks.load.faults import Fault, Faults, SourceRefused, SurveyDiffers
from sinks.load.fields import Integers, split
from sinks.load.formats.contract import Found
from sinks.load.formats.detection import format_of
from sinks.load.rows import Break, LevelRows, TradeRows
from sinks.load.scales import Scales
from sinks.load.source import BLOCK_BYTES, Block, SourceFile
from sinks.load.symbols import Symbols
from sinks.load.trades import TradeBuilder

ID_CHARACTERS: Final = 24

Read = Callable[[int], None]
"""Told the bytes of the file read so far."""
Checked = Callable[[int, int], None]
"""Told the bytes of the file read so far, and the rows checked."""


class Kind(Protocol):
    """What a source holds, for people, and the topic of its records."""

    @property
    def name(self) -> str: ...
    @property
    def topic(self) -> str: ...


@dataclass(slots=True)
class Survey:
    """What a file holds.

    Attributes:
        format: its format, or which part of a recording.
        id: identity of content and options: the same rows have the same.
        rows: of the source that can be loaded.
        faults: of the others.
        named: its instruments.
        first_time, last_time: times of receipt, nanoseconds; 0: no rows.
        lines: of the file.
    """

    format: Kind
    id: str = ""
    rows: int = 0
    faults: Faults = field(default_factory=Faults)
    named: list[Instrument] = field(default_factory=list)
    first_time: int = 0
    last_time: int = 0
    lines: int = 0
    digest: str = ""
    price_scales: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    size_scales: Integers = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(slots=True)
class Counts:
    """What became of the rows of a file that were read: repetitions in the file itself, and levels without a book."""

    repeated: int = 0
    homeless: list[Homeless] = field(default_factory=list)


class Unit:
    """A file.

    Args:
        path: of it.
        symbols: finds its instruments.
        block_bytes: size of blocks.

    Raises:
        SourceRefused: it cannot be read, or has no known format.
    """

    def __init__(self, path: Path, symbols: Symbols, block_bytes: int = BLOCK_BYTES) -> None:
        self.path = path
        self.source = SourceFile(path, block_bytes)
        self.format = format_of(self.source)
        self._symbols = symbols

    def survey(self, read: Checked) -> Survey:
        """Read and check the whole file.

        Raises:
            SourceRefused: it cannot be loaded whatever becomes of bad rows.
            ServiceError: the venues' rules for symbols cannot be asked.
        """
        made, scales = Survey(self.format), Scales()
        found = Found(self._symbols)
        for block, rows, faults in self._parsed(found):
            for fault in faults:
                made.faults.add(fault)
            scales.add(rows.instruments, rows.prices, rows.sizes)
            made.rows += len(np.unique(rows.lines)) if isinstance(rows, LevelRows) else len(rows.lines)
            if len(rows.lines):
                first, last = int(rows.received_times.min()), int(rows.received_times.max())
                made.first_time = min(made.first_time or first, first)
                made.last_time = max(made.last_time, last)
            made.lines = block.line + block.data.count(b"\n") - 1
            read(block.read, made.rows)
        made.named = found.named
        made.digest = self.source.digest
        try:
            made.price_scales, made.size_scales = scales.chosen(found.named)
        except ValueRefused as error:
            raise SourceRefused(self.path, 0, str(error)) from error
        identity = "\n".join([made.digest, self.format.name, *(f"{one.venue_symbol}={one.key}" for one in made.named)])
        made.id = hashlib.sha256(identity.encode()).hexdigest()[:ID_CHARACTERS]
        return made

    def batches(
        self, survey: Survey, counts: Counts, rejected: Callable[[Fault], None], read: Read
    ) -> Iterator[pa.RecordBatch]:
        """Return the records of the file, in its order; every time the same batches.

        Args:
            survey: of the file.
            counts: filled.
            rejected: told each bad row.
            read: told the progress.

        Raises:
            SourceRefused: it cannot be read, or has changed since the survey.
        """
        found = Found(self._symbols)
        trades = TradeBuilder(survey.named, survey.price_scales, survey.size_scales)
        books = BookBuilder(survey.named, survey.price_scales, survey.size_scales)
        counts.homeless = books.homeless
        try:
            for block, rows, faults in self._parsed(found):
                if found.named != survey.named[: len(found.named)]:
                    raise self._changed()
                for fault in faults:
                    rejected(fault)
                if isinstance(rows, TradeRows):
                    yield trades.add(rows)
                    counts.repeated = trades.repeated
                else:
                    yield from books.add(rows)
                read(block.read)
        except SurveyDiffers as error:
            raise self._changed() from error
        yield from books.finish(survey.lines + 1)
        if self.source.digest != survey.digest:
            raise self._changed()

    def _changed(self) -> SourceRefused:
        return SourceRefused(self.path, 0, "has changed while it was loaded; repeat the load with the file complete")

    def _parsed(self, found: Found) -> Iterator[tuple[Block, TradeRows | LevelRows, list[Fault]]]:
        header = self.format.header
        for block in self.source.blocks():
            if header:
                _, _, rest = block.data.partition(b"\n")
                block, header = Block(rest, block.line + 1, block.read), False
                if not rest:
                    continue
            fields, odd = split(block, self.format.columns)
            rows, faults = self.format.parse(fields, found)
            if isinstance(rows, LevelRows) and odd:
                # Of a line with other fields nothing is known, not even its instrument.
                more = [*rows.breaks, *(Break(fault.line, None, None) for fault in odd)]
                rows = replace(rows, breaks=sorted(more, key=lambda one: one.line))
            yield block, rows, sorted([*odd, *faults], key=lambda fault: fault.line)
