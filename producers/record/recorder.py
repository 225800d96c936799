"""Recorder of one venue: a collector with a tap, whose records are discarded."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from alphapulse import logs
from alphapulse.config import FreshnessSettings, VenueSettings
from producers.collector.collector import Collector
from producers.feed.venue import Venue
from producers.record.tape import Rotation, Tape, seal
from schemas.records import Record

_UNHURRIED: Final = FreshnessSettings(heartbeat_ms=60_000, max_book_age_ms=180_000, max_feed_delay_ms=0)
"""No heartbeats: these books have no readers, and the answers to pings would be in the recording."""
FLUSH_SECONDS: Final = 1.0
"""Flush interval: data younger than this may be lost when the recorder is killed."""


class Discarded:
    """Record sink of a recorder: discards records, and applies backpressure while the disk is behind.

    Args:
        tape: the recording being written.
    """

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self.failed = tape.failed
        self.patience = 3600.0
        self.taken = self.acknowledged = self.in_flight = self.in_flight_bytes = 0
        self.published: Counter[str] = Counter()

    def publish(self, record: Record) -> None:
        """Forget ``record``."""
        self.taken += 1
        self.acknowledged += 1

    async def room(self) -> None:
        """Wait while the disk is behind."""
        await self._tape.room()

    @property
    def full(self) -> bool:
        """Whether the disk is behind."""
        return self._tape.full

    def confirmed(self) -> int:
        """Return the number of records discarded."""
        return self.taken


class Recorder:
    """Recorder of one venue.

    Args:
        venue: the venue.
        settings: its symbols and addresses.
        folder: folder of the files.
        service: service name.
        rotation: when a new file begins.
        clock: ns since the Unix epoch.

    Raises:
        ConfigError: the venue does not support the settings.
        ServiceError: another process records the venue there, or its files cannot be finished.
    """

    def __init__(
        self,
        venue: Venue,
        settings: VenueSettings,
        folder: Path,
        service: str,
        *,
        rotation: Rotation | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        log = logs.get(service, venue=venue.name)
        for path, bytes_cut in seal(folder, venue.name):
            log.warning("finished an earlier recording", path=str(path), bytes_cut_off=bytes_cut)
        self.tape = Tape(folder, venue.name, rotation if rotation is not None else Rotation(), clock)
        self._collector = Collector(
            replace(venue, reconnect_hours=None),
            settings,
            Discarded(self.tape),
            service,
            freshness=_UNHURRIED,
            clock=clock,
            tap=self.tape,
        )

    async def run(self, stopping: asyncio.Event, connected: Callable[[bool], None]) -> None:
        """Record until ``stopping`` is set; then finish the file.

        Raises:
            ServiceError: a file cannot be written.
        """
        flushing = asyncio.create_task(self._keep_flushing())
        try:
            await self._collector.run(stopping, connected)
        finally:
            flushing.cancel()
            await self.tape.close()

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            self.tape.flush()

    def status(self) -> dict[str, Any]:
        """Return the recorder's statistics, for ``/status``."""
        told = self._collector.status()
        return {
            "connected": told["connected"],
            "frames": self.tape.frames,
            "files": [str(path) for path in self.tape.files],
            "instruments": told["instruments"],
        }
