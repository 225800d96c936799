"""Files of our own Parquet sink into ClickHouse tables, each row once.

A row keeps the place that it had on the broker's log (``_incarnation``, ``_partition``, ``_offset``), so it is the row
that the ClickHouse sink has stored or would have: what the table has already, because the sink or another load stored
it, is not inserted again (:meth:`sinks.clickhouse.writer.ClickHouseTarget.restore`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from alphapulse import topics
from alphapulse.config import Settings
from alphapulse.errors import ServiceError
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.retention import ttls
from sinks.clickhouse.tables import TABLE_OF
from sinks.clickhouse.writer import ClickHouseTarget
from sinks.columns import OFFSET
from sinks.contract import Span
from sinks.load.faults import SourceRefused
from sinks.load.progress import Shown
from sinks.parquet import catalogue
from sinks.parquet.names import Stored, hour_text
from sinks.parquet.store import Store

BATCH_ROWS: Final = 50_000
_HOUR_SECONDS: Final = 3_600


@dataclass(slots=True)
class Restored:
    """What became of the files of a topic."""

    topic: str
    files: int = 0
    rows: int = 0
    stored: int = 0
    present: int = 0


def wanted(store: Store, named: Sequence[str], first: int | None, last: int | None) -> list[Stored]:
    """Return the files to load, in the order of topic, hour and offsets.

    Args:
        store: of the files.
        named: topics; none: all but ``md.depth``, of which the table holds a sample only.
        first, last: hours since the Unix epoch, inclusive; None: all.

    Raises:
        ServiceError: there is none.
    """
    chosen = [topic for topic in catalogue.topics(store, named) if topic in TABLE_OF]
    if not named:
        chosen = [topic for topic in chosen if topic != topics.DEPTH]
    found = [
        file
        for topic in chosen
        for file in catalogue.current(store, topic)
        if (first is None or file.hour >= first) and (last is None or file.hour <= last)
    ]
    if not found:
        what = f" of {', '.join(named)}" if named else ""
        raise ServiceError(f"{store.place}: no files{what} of the Parquet sink there, or none of these hours")
    return sorted(found, key=lambda file: (file.partition.topic, file.hour, file.partition, file.first))


async def restore(
    store: Store, files: Sequence[Stored], settings: Settings, shown: Shown, *, dry_run: bool
) -> list[Restored]:
    """Load files; return what became of them, by topic.

    Raises:
        SourceRefused: a file cannot be read.
        ServiceError: ClickHouse cannot be used, or would remove the rows at once.
    """
    found: dict[str, Restored] = {}
    total = sum(file.size for file in files)
    done = rows = 0
    targets = _Targets(settings, shown.tell)
    try:
        if not dry_run:
            await targets.open()
            await _refuse_expired(targets.engine, settings, files)
        shown.begin("reading" if dry_run else "loading", store.place.rsplit("/", 1)[-1], total)
        for file in files:
            one = found.setdefault(file.partition.topic, Restored(file.partition.topic))
            one.files += 1
            for incarnation, batch in _batches(store, file):
                one.rows += batch.num_rows
                if not dry_run:
                    present = await targets.write(incarnation, file, batch)
                    one.present += present
                    one.stored += batch.num_rows - present
                rows += batch.num_rows
                shown.at(done, rows)
            done += file.size
            shown.at(done, rows)
    finally:
        await targets.close()
    return list(found.values())


class _Targets:
    """A target for each instance of the log whose rows are in the files, over one engine."""

    def __init__(self, settings: Settings, tell: Callable[[str], None]) -> None:
        self._settings = settings
        self._tell = tell
        self._never = asyncio.Event()
        self._of: dict[str, ClickHouseTarget] = {}
        self.engine = Engine(settings)

    async def open(self) -> None:
        """Connect and prepare the tables; a server that does not answer now is not waited for."""
        at_once, reasons = asyncio.Event(), []
        at_once.set()
        self.engine.waiting = lambda reason: reasons.append(reason) if reason else None
        first = ClickHouseTarget(self._settings.clickhouse, self.engine, "", at_once)
        await first.open()
        if reasons:
            raise ServiceError(reasons[-1])
        self.engine.waiting = lambda reason: self._tell(f"waiting: {reason}") if reason else None

    async def write(self, incarnation: str, file: Stored, rows: pa.RecordBatch) -> int:
        """Store what is missing; return how many rows are there."""
        target = self._of.get(incarnation)
        if target is None:
            target = ClickHouseTarget(self._settings.clickhouse, self.engine, incarnation, self._never)
            self._of[incarnation] = target
        offsets = rows.column(OFFSET).to_numpy()
        span = Span(file.partition, int(offsets.min()), int(offsets.max()))
        return await target.restore(span, rows, self._never)

    async def close(self) -> None:
        """Close the connection."""
        await self.engine.close()


def _batches(store: Store, file: Stored) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Return the rows of a file, and the instance of the log that they are of."""
    try:
        with store.source(file.path) as source:
            parquet = pq.ParquetFile(source)
            told = parquet.metadata.metadata or {}
            incarnation = told.get(b"alphapulse.incarnation")
            if incarnation is None:
                raise SourceRefused(Path(file.path), 0, "does not say of which broker's log it is")
            for batch in parquet.iter_batches(BATCH_ROWS):
                yield incarnation.decode(), batch
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise SourceRefused(Path(store.place) / file.path, 0, f"cannot be read: {reason}") from error


async def _refuse_expired(engine: Engine, settings: Settings, files: Sequence[Stored]) -> None:
    """Refuse files whose rows the retention of their table would remove.

    Raises:
        ServiceError: there is one.
    """
    limits = {each.topic: each for each in await ttls(engine, settings.clickhouse)}
    now = time.time()
    for file in files:
        limit = limits.get(file.partition.topic)
        if limit is None or not limit.seconds or (file.hour + 1) * _HOUR_SECONDS >= now - limit.seconds:
            continue
        since = datetime.fromtimestamp(now - limit.seconds, UTC)
        raise ServiceError(
            f"{file.path}: its rows are of {hour_text(file.hour)}, and table {limit.table.name} keeps rows for "
            f"{limit.days:g} days: ClickHouse would remove them. Load from --since {since:%Y-%m-%dT%H} on, or set "
            f'[clickhouse] ttl_days = {{ "{file.partition.topic}" = 0 }} (or more days), run `alphapulse clickhouse '
            "ttl`, and repeat the load"
        )
