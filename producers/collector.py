"""A venue's collector: connection after connection, one protocol, one publisher.

The protocol decides, the collector acts: it publishes records, sends, fetches, reconnects, counts, and writes what an
operator wants to know to ``ops.events``.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from alphapulse import logs, metrics
from alphapulse.config import VenueSettings
from producers.backoff import Backoff, Pace
from producers.connection import Connection, Disconnected
from producers.journal import Journal
from producers.outputs import FetchSnapshot, Note, Outputs, Reconnect, Refused, Resubscribe, Send
from producers.publisher import Publisher
from producers.rest import SnapshotFetcher
from producers.venue import Venue
from schemas.records import L2Update, Severity, Trade

STABLE_SECONDS: Final = 30.0
"""A connection that lived so long was a good one: the next is tried at once."""
BROKER_SECONDS: Final = 10.0
"""When the broker takes nothing for so long, the venue's connection is closed until it does."""
HOLD_SECONDS: Final = 10.0
"""Frames that wait for a snapshot are not done; but whoever paces the venue by them must not wait for ever."""


class Collector:
    """Collects one venue.

    Args:
        venue: what to collect.
        settings: its symbols and addresses.
        publisher: takes the records.
        service: name of the service, in events and dead letters.
        clock: nanoseconds since the Unix epoch.
        backoff: between connections.

    Attributes:
        connected: whether the venue's connection stands.
    """

    def __init__(
        self,
        venue: Venue,
        settings: VenueSettings,
        publisher: Publisher,
        service: str,
        *,
        clock: Callable[[], int] = time.time_ns,
        backoff: Backoff | None = None,
    ) -> None:
        self._venue = venue
        self._protocol = venue.protocol(settings)
        self._publisher = publisher
        self._clock = clock
        self._backoff = backoff if backoff is not None else Backoff()
        self._log = logs.get(service, venue=venue.name)
        self._url = (settings.websocket_url or venue.websocket_url).rstrip("/") + self._protocol.path()
        self._journal = Journal(publisher, service, venue.name, self._url.partition("?")[0], clock)
        self._rest = SnapshotFetcher(
            settings.rest_url or venue.rest_url or "", self._answered, self._snapshot_failed, self._spawn
        )
        self._fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connection: Connection | None = None
        self._resyncs: dict[str, asyncio.Task[None]] = {}
        self._paces: dict[str, Pace] = {}
        self._frames = 0
        self._bytes = 0
        self._waiting_since: int | None = None
        self._waiting_began = 0.0
        self._told = 0
        self._counted = (0, 0)
        self.connected = False

    async def run(self, stopping: asyncio.Event, connected: Callable[[bool], None]) -> None:
        """Collect until ``stopping``; then end all epochs. ``connected`` is told when that changes.

        Raises:
            BrokerError: records cannot be published any more.
        """
        self._event("started", "INFO", f"collecting {', '.join(self._protocol.instruments) or 'nothing'}")
        stop = asyncio.create_task(stopping.wait())
        work = asyncio.create_task(self._keep_connected(connected))
        broken = asyncio.create_task(self._publisher.failed.wait())
        counting = asyncio.create_task(self._keep_counting())
        tasks = (stop, work, broken, counting, self._fault)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._rest.close()
            self._count()
        for task in (self._fault, work, counting):
            if not task.cancelled():
                task.result()
        if self._publisher.failed.is_set():
            await self._publisher.room()  # raises what it failed of
        self._event("stopped", "INFO", "collector stopped")

    async def _keep_connected(self, connected: Callable[[bool], None]) -> None:
        while True:
            await self._live(connected)
            # While the broker takes nothing there is no use in reading from the venue.
            await self._publisher.room()
            delay = self._backoff.next()
            self._log.info("reconnecting", seconds=round(delay, 3))
            await asyncio.sleep(delay)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` beside the connection; an error in it ends the collector."""
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self._fault.done():
            self._fault.set_exception(error)

    async def _live(self, connected: Callable[[bool], None]) -> None:
        """Live through one connection."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        connection = Connection(self._venue, self._url, self._receive, self._room)
        reason = "stopped"

        def opened() -> None:
            self.connected = True
            self._connection = connection
            connected(True)
            metrics.CONNECTIONS.labels(self._venue.name).inc()
            self._event("connected", "INFO", f"connected to {self._url.partition('?')[0]}")
            requests = self._protocol.subscribe()
            for request in requests:
                connection.send(request.text)
            if not requests:
                self._event("subscribed", "INFO", "the address names all streams")

        try:
            await connection.run(opened)
        except Disconnected as error:
            reason = str(error)
        finally:
            was_connected, self.connected, self._connection = self.connected, False, None
            connected(False)
            self._rest.cancel()
            for task in self._resyncs.values():
                task.cancel()
            self._resyncs.clear()
            self._act(self._protocol.disconnected(self._clock()), self._late_frame())
            if was_connected:
                stopped = reason == "stopped"
                if not stopped:
                    metrics.GAPS.labels(self._venue.name, "connection").inc()
                self._event("disconnected", "INFO" if stopped else "WARNING", reason)
            else:
                self._log.warning("cannot connect", reason=reason)
            if loop.time() - began >= STABLE_SECONDS:
                self._backoff.reset()

    # --- what the connection calls ---

    def _receive(self, frame: bytes) -> bool:
        """Take a frame; return whether the next one may come."""
        self._frames += 1
        self._bytes += len(frame)
        outputs = self._protocol.receive(frame, self._clock())
        if outputs:
            self._act(outputs, self._frames)
        if self._protocol.waiting or self._waiting_since is not None:
            self._track_waiting()
        return not self._publisher.full

    async def _room(self) -> None:
        try:
            async with asyncio.timeout(BROKER_SECONDS):
                await self._publisher.room()
        except TimeoutError as error:
            raise Disconnected(f"the broker took nothing for {BROKER_SECONDS:g} s") from error

    # --- outputs ---

    def _act(self, outputs: Outputs, frame: int) -> None:
        """Do what the protocol says; ``frame`` is the number of the frame it says it for."""
        publish = self._publisher.publish
        for output in outputs:
            kind = type(output)
            if kind is L2Update or kind is Trade:
                publish(output, frame)  # type: ignore[arg-type]
            else:
                self._do(output, frame)
        self._track_waiting()

    def _do(self, output: Any, frame: int) -> None:
        match output:
            case Note():
                self._journal.note(output, frame)
            case Refused():
                self._journal.dead_letter(output, frame)
            case FetchSnapshot():
                self._rest.fetch(output)
            case Resubscribe():
                self._resubscribe(output.symbol)
            case Send():
                if self._connection is not None:
                    self._connection.send(output.text)
            case Reconnect():
                if self._connection is not None:
                    self._connection.drop(output.reason)

    def _resubscribe(self, symbol: str) -> None:
        if symbol not in self._resyncs:
            self._resyncs[symbol] = self._spawn(self._send_resubscribe(symbol))

    async def _send_resubscribe(self, symbol: str) -> None:
        pace = self._paces.setdefault(symbol, Pace())
        await asyncio.sleep(pace.delay(asyncio.get_running_loop().time()))
        del self._resyncs[symbol]
        self._act(list(self._protocol.resubscribe(symbol)), self._late_frame())

    def _answered(self, request: FetchSnapshot, body: bytes) -> None:
        self._act(self._protocol.snapshot(request, body, self._clock()), self._late_frame())

    def _snapshot_failed(self, request: FetchSnapshot, reason: str) -> None:
        self._waiting_began = -math.inf
        self._event("snapshot_failed", "WARNING", reason, symbol=request.symbol)

    def _event(self, kind: str, severity: Severity, message: str, *, symbol: str | None = None) -> None:
        self._journal.event(kind, severity, message, self._late_frame(), symbol=symbol)

    def _track_waiting(self) -> None:
        if not self._protocol.waiting:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = self._frames
            self._waiting_began = asyncio.get_running_loop().time()

    def _late_frame(self) -> int:
        """Return the frame number of what comes of frames held back, or of none."""
        return max(self._waiting_since, self._told + 1) if self._waiting_since is not None else self._frames + 1

    def _frames_done(self) -> int:
        done = self._publisher.done(self._frames)
        if self._waiting_since is not None:
            waited = asyncio.get_running_loop().time() - self._waiting_began
            if waited < HOLD_SECONDS:
                done = min(done, self._waiting_since - 1)
        self._told = max(self._told, done)
        return self._told

    # --- figures ---

    async def _keep_counting(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._count()

    def _count(self) -> None:
        """Bring the metrics of frames up to date; once a second, for a frame costs less than its metric."""
        frames, ignored = self._frames, self._protocol.ignored.total()
        metrics.FRAMES.labels(self._venue.name).inc(frames - self._counted[0])
        metrics.FRAMES_IGNORED.labels(self._venue.name).inc(ignored - self._counted[1])
        self._counted = (frames, ignored)

    def status(self) -> dict[str, Any]:
        """Return the collector's figures, for ``/status``.

        ``frames_done`` rises to n when every record that frames 1 to n led to is acknowledged. Frames held back until a
        snapshot comes (``frames_waiting``) are not done before the venue refused it, or left it unanswered for 10 s.
        """
        protocol, publisher = self._protocol, self._publisher
        return {
            "venue": self._venue.name,
            "connected": self.connected,
            "frames": self._frames,
            "bytes": self._bytes,
            "frames_done": self._frames_done(),
            "frames_waiting": protocol.waiting,
            "frames_ignored": protocol.ignored.total(),
            "ignored": dict(protocol.ignored),
            "dead_letters": protocol.refused,
            "records": publisher.acknowledged,
            "in_flight": publisher.in_flight,
            "instruments": {symbol: state.report() for symbol, state in protocol.instruments.items()},
        }
