"""A venue's collector: its symbols on one or several connections, one publisher.

The protocols decide, the shards act (:mod:`producers.collector.shard`); here stands which shards there are, how one
takes over from another, and what a change of the configuration does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from alphapulse import logs
from alphapulse.config import FreshnessSettings, VenueSettings
from producers.collector import sharding
from producers.collector.dedupe import KnownTrades
from producers.collector.discovery import Instruments
from producers.collector.events import EventLog
from producers.collector.publisher import Publisher
from producers.collector.shard import Shard
from producers.collector.stats import CollectorStats
from producers.collector.succession import Succession
from producers.feed.venue import Venue
from producers.net.backoff import Backoff
from producers.net.connection import message_gate
from producers.net.rate_limit import RateLimiter
from producers.net.rest import RestClient
from schemas.records import Severity

_ELSEWHERE: Final = {"symbols", "enabled", "taker_fee_basis_points", "connections"}
"""Settings whose change leaves the connections that stand as they are."""
_CLOCK_STEP: Final = 1000  # ns


class Collector:
    """Collects one venue.

    Args:
        venue: what to collect.
        settings: its symbols and addresses.
        publisher: takes the records.
        service: name of the service, in events and dead letters.
        freshness: how books are confirmed, and how late frames may be read.
        clock: nanoseconds since the Unix epoch.
        backoff: makes what stands between a shard's connections.
        known: trades that are published already.

    Raises:
        ConfigError: the venue does not offer what the settings ask for.

    Attributes:
        connected: whether a connection to the venue stands.
    """

    def __init__(
        self,
        venue: Venue,
        settings: VenueSettings,
        publisher: Publisher,
        service: str,
        *,
        freshness: FreshnessSettings | None = None,
        clock: Callable[[], int] = time.time_ns,
        backoff: Callable[[], Backoff] = Backoff,
        known: KnownTrades | None = None,
    ) -> None:
        self.venue = venue
        self.publisher = publisher
        self.settings = settings
        self.freshness = freshness if freshness is not None else FreshnessSettings()
        self.log = logs.get(service, venue=venue.name)
        self.frames = 0
        self.bytes = 0
        self.told = 0
        self.connected = False
        self._clock = clock
        self._time = 0
        self._backoff = backoff
        self._known = known if known is not None else KnownTrades({})
        self._tell_connected: Callable[[bool], None] = _nobody
        self.running = False
        self.shards: list[Shard] = []
        self._succession = Succession(self)
        self._fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stats = CollectorStats(venue.name)
        self.connects = RateLimiter(venue.connects)
        self.messages = message_gate(venue) if venue.messages_by_address else None
        address = (settings.websocket_url or venue.websocket_url).partition("?")[0].rstrip("/")
        self.event_log = EventLog(publisher, service, venue.name, address, self.now)
        self.rest = RestClient(venue, settings.rest_url or venue.rest_url or "", self.spawn)
        self._instruments = Instruments(venue, self.rest, self._listed, self.event)
        self._check(settings, self._instruments.resolve(settings.symbols))

    async def run(self, stopping: asyncio.Event, connected: Callable[[bool], None]) -> None:
        """Collect until ``stopping``; then end all epochs. ``connected`` is told when that changes.

        Raises:
            BrokerError: records cannot be published any more.
        """
        self._tell_connected = connected
        wanted = self._instruments.resolve(self.settings.symbols)
        self.event("started", "INFO", f"collecting {', '.join(wanted) or 'nothing yet'}")
        self.running = True
        self._share_out(wanted)
        stop = asyncio.create_task(stopping.wait())
        broken = asyncio.create_task(self.publisher.failed.wait())
        counting = asyncio.create_task(self._keep_counting())
        listing = asyncio.create_task(self._instruments.keep(lambda: self.settings.symbols))
        tasks: list[asyncio.Future[Any]] = [stop, broken, counting, listing, self._fault]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.running = False
            shards: list[asyncio.Future[Any]] = [shard.task for shard in self.shards if shard.task is not None]
            for task in (*tasks, *shards):
                task.cancel()
            await asyncio.gather(*tasks, *shards, return_exceptions=True)
            await self.rest.close()
            self._count()
        for ended in (self._fault, counting, listing, *shards):
            if ended.done() and not ended.cancelled():
                ended.result()
        if self.publisher.failed.is_set():
            await self.publisher.room()  # raises what it failed of
        self.event("stopped", "INFO", "collector stopped")

    def reconfigure(self, settings: VenueSettings) -> None:
        """Go over to ``settings`` without disturbing what they leave as it is.

        Raises:
            ConfigError: the venue does not offer what they ask for; nothing was changed.
        """
        wanted = self._instruments.resolve(settings.symbols) if settings.enabled else ()
        self._check(settings, wanted)
        self.settings = settings
        self.rest.base = (settings.rest_url or self.venue.rest_url or "").rstrip("/")
        if not self.running:
            return
        self._share_out(wanted)
        for shard in [shard for shard in self.shards if shard.successor is None]:
            if changed := self.outdated(shard):
                self.replace(shard, f"configuration changed: {changed}")
        self._instruments.wake()

    def outdated(self, shard: Shard) -> str:
        """Return which settings have changed since ``shard`` was made that only a new connection brings into effect."""
        keys = [key for key in type(self.settings).model_fields if key not in _ELSEWHERE]
        return ", ".join(key for key in keys if getattr(self.settings, key) != getattr(shard.settings, key))

    # --- which shards there are ---

    def _check(self, settings: VenueSettings, symbols: Sequence[str]) -> None:
        self.venue.protocol(settings.model_copy(update={"symbols": tuple(symbols)}))
        sharding.check(self.venue.name, symbols, self._capacity(settings), self.venue.connections_limit)

    def _capacity(self, settings: VenueSettings) -> int:
        most = self.venue.symbols_per_connection
        return min(settings.symbols_per_connection or most, most)

    def _listed(self) -> None:
        """Take up what patterns match by now."""
        if self.settings.enabled:
            self._share_out(self._instruments.resolve(self.settings.symbols))

    def _share_out(self, wanted: Sequence[str]) -> None:
        """Bring the shards to ``wanted``; symbols that are collected stay where they are."""
        # A shard that is being replaced takes no more symbols; it must give up those not wanted, as must its successor.
        shards = [shard for shard in self.shards if not shard.retired]
        steady = [shard for shard in shards if shard.handover is None]
        for shard in shards:
            if shard.handover is not None:
                for symbol in [symbol for symbol in shard.protocol.instruments if symbol not in wanted]:
                    shard.remove(symbol)
        moving = {symbol for shard in shards if shard.handover is not None for symbol in shard.protocol.instruments}
        change = sharding.change(
            [shard.protocol.instruments for shard in steady],
            [symbol for symbol in wanted if symbol not in moving],
            self._capacity(self.settings),
            least=self.settings.connections if not moving else 1,
        )
        limit = self.venue.connections_limit
        if limit is not None and len(shards) - len(change.closed) + len(change.opened) > limit:
            for shard in shards:
                shard.retire("makes way for other symbols")
            change = sharding.Change(opened=sharding.split(wanted, self._capacity(self.settings)))
        for index, symbols in change.removed.items():
            for symbol in symbols:
                steady[index].remove(symbol)
        for index in change.closed:
            steady[index].retire("nothing is left to collect here")
        for index, symbols in change.added.items():
            steady[index].add(symbols)
            self._known.seed(steady[index].protocol.instruments)
        for symbols in change.opened:
            self.start(self.open(symbols))

    def open(self, symbols: Sequence[str]) -> Shard:
        settings, venue = self.settings, self.venue
        silence = settings.instrument_silence_seconds
        protocol = venue.protocol(settings.model_copy(update={"symbols": tuple(symbols)}))
        self._known.seed(protocol.instruments)
        shard = Shard(
            self,
            protocol,
            settings,
            (settings.websocket_url or venue.websocket_url).rstrip("/"),
            self._backoff(),
            silence_seconds=silence if silence is not None else venue.instrument_silence_seconds,
            reconnect_hours=settings.reconnect_hours or venue.reconnect_hours,
        )
        self.shards.append(shard)
        return shard

    def start(self, shard: Shard) -> None:
        shard.task = self.spawn(shard.run())
        shard.task.add_done_callback(lambda _: self.ended(shard))

    def ended(self, shard: Shard) -> None:
        """Let go of a shard that is over."""
        if self.running and shard.retired and shard in self.shards:
            self.shards.remove(shard)
            self._stats.keep(shard)

    # --- what the shards need ---

    def now(self) -> int:
        """Return the time, ns since the Unix epoch: later than the last time, whatever the machine's clock does.

        Epochs are named by it, and those of an instrument must rise on all its connections.
        """
        time = self._clock()
        if time < (least := self._time + _CLOCK_STEP):
            time = least
        self._time = time
        return time

    def replace(self, shard: Shard, reason: str, delay: float = 0.0) -> None:
        """Let a new shard take over from ``shard``, after ``delay`` seconds."""
        self._succession.replace(shard, reason, delay)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work``; an error in it ends the collector."""
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._spawned_ended)
        return task

    def _spawned_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self._fault.done():
            self._fault.set_exception(error)

    def shard_changed(self) -> None:
        """Tell whether a connection stands, if that has changed."""
        connected = any(shard.connected for shard in self.shards)
        if connected != self.connected:
            self.connected = connected
            self._tell_connected(connected)

    def event(self, kind: str, severity: Severity, message: str, details: dict[str, str] | None = None) -> None:
        """Write to ``ops.events``."""
        self.event_log.event(kind, severity, message, self._late_frame(), details=details)

    def _late_frame(self) -> int:
        return min((shard.late_frame() for shard in self.shards), default=self.frames + 1)

    # --- figures ---

    async def _keep_counting(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._count()

    def _count(self) -> None:
        self._stats.count(self.frames, self.shards)

    def _frames_done(self) -> int:
        done = self.publisher.done(self.frames)
        for shard in self.shards:
            done = shard.done(done)
        self.told = max(self.told, done)
        return self.told

    def status(self) -> dict[str, Any]:
        """Return the collector's figures, for ``/status``.

        ``frames_done`` rises to n when every record that frames 1 to n led to is acknowledged. Frames held back until a
        snapshot comes (``frames_waiting``) are not done before the venue refused it, or left it unanswered for 10 s.
        """
        return {
            "venue": self.venue.name,
            "connected": self.connected,
            "frames": self.frames,
            "bytes": self.bytes,
            "frames_done": self._frames_done(),
            **self._stats.report(self.shards),
            "left_out": list(self._instruments.left_out),
            "records": self.publisher.acknowledged,
            "published": dict(self.publisher.published),
            "in_flight": self.publisher.in_flight,
            "in_flight_bytes": self.publisher.in_flight_bytes,
        }


def _nobody(connected: bool) -> None:
    """Before anybody asks to be told."""
