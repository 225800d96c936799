"""Collector of one venue: symbols sharded over connections, one publisher.

Protocols (:mod:`producers.feed`) parse and decide; shards (:mod:`producers.collector.shard`) do the I/O; the pool
(:mod:`producers.collector.pool`) owns the shards. This module has the collector's lifecycle and configuration reload.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from alphapulse import logs
from alphapulse.config import FreshnessSettings, VenueSettings
from producers.collector import sharding
from producers.collector.clock import RisingClock
from producers.collector.context import Context, FrameCounters
from producers.collector.dedupe import KnownTrades
from producers.collector.discovery import InstrumentDiscovery
from producers.collector.events import EventLog
from producers.collector.pool import Pool, capacity
from producers.collector.record_sink import RecordSink, Tap
from producers.collector.shard import Shard
from producers.collector.stats import CollectorStats
from producers.collector.tasks import BackgroundTasks
from producers.collector.watermark import FrameWatermark
from producers.feed.venue import Venue
from producers.net.backoff import Backoff
from producers.net.connection import message_gate
from producers.net.rate_limit import RateLimiter
from producers.net.rest import RestClient


class Collector:
    """Collector of one venue.

    Args:
        venue: the venue.
        settings: symbols and addresses.
        publisher: receives the records.
        service: service name, for events and dead letters.
        freshness: heartbeat interval and the limit for late frames.
        clock: nanoseconds since the Unix epoch.
        backoff: makes the reconnect backoff of a shard.
        known: trades that are already published.
        tap: receives every frame and REST answer before it is parsed. With a tap, connections never overlap.

    Raises:
        ConfigError: the venue does not support the settings.

    Attributes:
        connected: whether a connection to the venue is open.
        clock: receipt time.
        event_log: receives this collector's events.
    """

    def __init__(
        self,
        venue: Venue,
        settings: VenueSettings,
        publisher: RecordSink,
        service: str,
        *,
        freshness: FreshnessSettings | None = None,
        clock: Callable[[], int] = time.time_ns,
        backoff: Callable[[], Backoff] = Backoff,
        known: KnownTrades | None = None,
        tap: Tap | None = None,
    ) -> None:
        self.settings = settings
        self.connected = False
        self.clock = RisingClock(clock)
        self._venue = venue
        self._publisher = publisher
        self._tasks = BackgroundTasks()
        self._counters = FrameCounters()
        self._watermark = FrameWatermark()
        self._stats = CollectorStats(venue.name)
        self._tell_connected: Callable[[bool], None] = _nobody
        address = (settings.websocket_url or venue.websocket_url).partition("?")[0].rstrip("/")
        self.event_log = EventLog(publisher, service, venue.name, address, self.clock)
        self._rest = RestClient(venue, settings.rest_url or venue.rest_url or "", self.spawn)
        self._context = context = Context(
            venue=venue,
            freshness=freshness if freshness is not None else FreshnessSettings(),
            publisher=publisher,
            event_log=self.event_log,
            log=logs.get(service, venue=venue.name),
            rest=self._rest,
            connects=RateLimiter(venue.connects),
            messages=message_gate(venue) if venue.messages_by_address else None,
            counters=self._counters,
            now=self.clock,
            spawn=self.spawn,
            tap=tap,
        )
        trades = known if known is not None else KnownTrades({})
        self._pool = Pool(context, settings, self._stats, trades, backoff, self._shard_changed)
        self._instruments = InstrumentDiscovery(venue, self._rest, self._listed, self.event_log)
        self._check(settings, self._instruments.resolve(settings.symbols))

    @property
    def venue(self) -> str:
        """Name of the venue."""
        return self._venue.name

    @property
    def pool(self) -> Pool:
        """The shards' owner, which knows each instrument's state."""
        return self._pool

    @property
    def symbols(self) -> set[str]:
        """The symbols collected; none as long as patterns are not resolved."""
        return self._pool.symbols() if self._instruments.is_complete(self.settings.symbols) else set()

    @property
    def shards(self) -> Sequence[Shard]:
        """The shards, each with a part of the symbols and its own connection."""
        return self._pool.shards

    @property
    def frames(self) -> int:
        """Number of frames received."""
        return self._counters.frames

    async def run(self, stopping: asyncio.Event, connected: Callable[[bool], None]) -> None:
        """Run until ``stopping`` is set, then end all epochs. ``connected`` receives changes of the connection state.

        Raises:
            BrokerError: records can no longer be published.
        """
        self._tell_connected = connected
        wanted = self._instruments.resolve(self.settings.symbols)
        self.event_log.event("started", "INFO", f"collecting {', '.join(wanted) or 'nothing yet'}")
        pool, publisher = self._pool, self._publisher
        pool.running = True
        pool.share_out(wanted)
        stop = asyncio.create_task(stopping.wait())
        broken = asyncio.create_task(publisher.failed.wait())
        counting = asyncio.create_task(self._keep_counting())
        listing = asyncio.create_task(self._instruments.keep(lambda: self.settings.symbols))
        tasks: list[asyncio.Future[Any]] = [stop, broken, counting, listing, self._tasks.fault]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pool.running = False
            shards: list[asyncio.Future[Any]] = [shard.task for shard in pool.shards if shard.task is not None]
            for task in (*tasks, *shards):
                task.cancel()
            await asyncio.gather(*tasks, *shards, return_exceptions=True)
            await self._rest.close()
            self._count()
        for ended in (self._tasks.fault, counting, listing, *shards):
            if ended.done() and not ended.cancelled():
                ended.result()
        if publisher.failed.is_set():
            await publisher.room()  # raises the failure
        self.event_log.event("stopped", "INFO", "collector stopped")

    def tell_state(self) -> None:
        """Report the connection state again: what its receiver makes of it has changed."""
        self._tell_connected(self.connected)

    def reconfigure(self, settings: VenueSettings) -> None:
        """Apply ``settings``; connections that they do not concern stay open.

        Raises:
            ConfigError: the venue does not support the settings; nothing was changed.
        """
        wanted = self._instruments.resolve(settings.symbols) if settings.enabled else ()
        self._check(settings, wanted)
        self.settings = self._pool.settings = settings
        self._rest.base = (settings.rest_url or self._venue.rest_url or "").rstrip("/")
        if not self._pool.running:
            return
        self._pool.share_out(wanted)
        self._pool.reconfigure(settings)
        self._instruments.wake()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` as a task; an error in it stops the collector."""
        return self._tasks.spawn(work)

    def _check(self, settings: VenueSettings, symbols: Sequence[str]) -> None:
        venue = self._venue
        venue.protocol(settings.model_copy(update={"symbols": tuple(symbols)}))
        sharding.check(venue.name, symbols, capacity(venue, settings), venue.connections_limit)

    def _listed(self) -> None:
        """Add and remove symbols after the instrument list changed."""
        if self.settings.enabled:
            self._pool.share_out(self._instruments.resolve(self.settings.symbols))

    def _shard_changed(self) -> None:
        """Report a change of the connection state."""
        connected = self._pool.connected
        if connected != self.connected:
            self.connected = connected
            self._tell_connected(connected)

    # --- statistics ---

    async def _keep_counting(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._count()

    def _count(self) -> None:
        context = self._context
        self._stats.count(self._counters.frames, self._pool.shards)
        budgets = {"connects": context.connects.left, "rest": self._rest.budget_left}
        if context.messages is not None:
            budgets["messages"] = context.messages.left
        self._stats.count_budgets(budgets)

    def _frames_done(self) -> int:
        if not self._pool.holds_back(asyncio.get_running_loop().time()):
            self._watermark.mark(self._counters.frames, self._publisher.taken)
        return self._watermark.reach(self._publisher.confirmed())

    def status(self) -> dict[str, Any]:
        """Return the collector's statistics, for ``/status``.

        ``last_frame_time`` is in ns; 0: there was none.
        ``frames_done`` is n when every record derived from frames 1 to n is acknowledged. Frames held back until a
        snapshot (``frames_waiting``) are not done until the venue refused the snapshot or did not answer for 10 s.
        """
        publisher = self._publisher
        return {
            "venue": self._venue.name,
            "connected": self.connected,
            "frames": self._counters.frames,
            "bytes": self._counters.bytes,
            "last_frame_time": self._counters.last,
            "frames_done": self._frames_done(),
            **self._stats.report(self._pool.shards),
            "left_out": list(self._instruments.left_out),
            "records": publisher.acknowledged,
            "published": dict(publisher.published),
            "in_flight": publisher.in_flight,
            "in_flight_bytes": publisher.in_flight_bytes,
        }


def _nobody(connected: bool) -> None:
    """Placeholder until :meth:`Collector.run` sets the callback."""
