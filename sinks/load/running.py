"""The order of a load: survey of every file, then the records of one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphapulse.claim import InUse
from alphapulse.errors import ServiceError
from sinks.load.contract import Target, Written
from sinks.load.faults import Fault, Rejects
from sinks.load.progress import Shown
from sinks.load.recording import Choice, RecordedUnit, survey_recording
from sinks.load.source import BLOCK_BYTES, SourceFile
from sinks.load.symbols import Symbols
from sinks.load.unit import Counts, Survey, Unit


@dataclass(slots=True)
class Loaded:
    """What became of a file.

    Attributes:
        unit: the file, or a part of a recording.
        survey: what it holds.
        records: made of its rows; of a book several rows are one.
        written: what became of them.
        counts: rows of the file that made no record.
        rejects: file of the bad rows; None: there are none, or nothing was loaded.
    """

    unit: Unit | RecordedUnit
    survey: Survey
    records: int = 0
    written: Written = field(default_factory=Written)
    counts: Counts = field(default_factory=Counts)
    rejects: Path | None = None

    def fields(self) -> dict[str, Any]:
        """Return it as JSON-able fields."""
        survey, counts = self.survey, self.counts
        return {
            "file": str(self.unit.path),
            "format": survey.format.name,
            "topic": survey.format.topic,
            "id": survey.id,
            "instruments": [{"venue": one.venue, "symbol": one.symbol} for one in survey.named],
            "rows": survey.rows,
            "bad": survey.faults.total,
            "faults": [
                {"line": one.line, "column": one.column, "reason": one.reason, "row": one.text}
                for one in survey.faults.first
            ],
            "rejects": None if self.rejects is None else str(self.rejects),
            "first_time": str(survey.first_time),
            "last_time": str(survey.last_time),
            "records": self.records,
            "stored": self.written.stored,
            "present": self.written.present,
            "repeated": counts.repeated,
            "left_out": [
                {
                    "venue": one.instrument.venue,
                    "symbol": one.instrument.symbol,
                    "first_line": one.first,
                    "last_line": one.last,
                    "rows": one.rows,
                    "reason": one.reason,
                }
                for one in counts.homeless
            ],
        }


def surveys(paths: Sequence[Path], symbols: Symbols, shown: Shown, block_bytes: int = BLOCK_BYTES) -> list[Loaded]:
    """Read and check files (blocking, and it may take minutes).

    Raises:
        SourceRefused: one cannot be loaded.
        ServiceError: the venues' rules for symbols cannot be asked.
    """
    found = []
    for path in paths:
        unit = Unit(path, symbols, block_bytes)
        shown.begin("checking", path.name, unit.source.size)
        survey = unit.survey(shown.at)
        found.append(Loaded(unit, survey))
    return found


def recordings(paths: Sequence[Path], choice: Choice, shown: Shown) -> list[Loaded]:
    """Read and check recordings (blocking, and it may take minutes); each has trades, books or both.

    Raises:
        SourceRefused: one cannot be loaded.
        ServiceError: its records cannot be made.
    """
    found = []
    for path in paths:
        shown.begin("checking", path.name, SourceFile(path).size)
        found += [Loaded(unit, survey) for unit, survey in survey_recording(path, choice, shown.at)]
    return found


async def load(files: Sequence[Loaded], target: Target | None, shown: Shown, rejects: Path | None) -> None:
    """Write the records of files; what became of them is in ``files``.

    Args:
        files: surveyed.
        target: where to; None: nowhere, the records are only made.
        shown: progress.
        rejects: file of all bad rows; None: one for each file, beside it.

    Raises:
        AlphaPulseError: it cannot go on; what was written stays, and the load can be repeated.
    """
    async with AsyncExitStack() as stack:
        if target is not None:
            stack.push_async_callback(target.close)
            try:
                await target.open()
            except InUse as error:
                raise ServiceError(
                    f"{error}: a sink that runs. Load into topics (--to topics), which it stores, or stop it first"
                ) from error
        common = stack.enter_context(Rejects(rejects)) if rejects is not None and target is not None else None
        for one in files:
            await _load(one, target, shown, common)


async def _load(one: Loaded, target: Target | None, shown: Shown, common: Rejects | None) -> None:
    path = one.unit.path
    with ExitStack() as stack:
        refused = common
        if refused is None and target is not None and one.survey.faults.total:
            refused = stack.enter_context(Rejects(path.with_name(f"{path.name}.rejects.csv")))
        if target is not None and (done := await target.begin(path, one.survey)) is not None:
            one.written, one.records = done, done.present
            return

        def rejected(fault: Fault) -> None:
            if refused is not None:
                refused.add(path, fault)
                one.rejects = refused.path

        shown.begin("loading" if target is not None else "trying", path.name, one.unit.source.size)
        read = 0

        def at(position: int) -> None:
            nonlocal read
            read = position

        for rows in one.unit.batches(one.survey, one.counts, rejected, at):
            one.records += rows.num_rows
            if target is not None:
                one.written.add(await target.write(rows))
            shown.at(read, one.records)
        if target is not None:
            one.written.add(await target.end())
