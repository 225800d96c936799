"""Shard: a part of a venue's symbols, with a protocol and one connection at a time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from enum import Enum
from typing import Any, Final, Protocol

from alphapulse import metrics
from alphapulse.config import VenueSettings
from producers.collector.context import Context
from producers.collector.handover import Handover
from producers.collector.pulse import Pulse
from producers.collector.resubscription import Resubscriptions
from producers.collector.watchdog import Watchdog
from producers.collector.watermark import SnapshotWait
from producers.feed.actions import FetchSnapshot, Halt, Note, Outputs, Reconnect, Refused, Resubscribe, Send
from producers.feed.protocol import VenueProtocol
from producers.net.backoff import Backoff
from producers.net.connection import Disconnected, VenueConnection
from schemas.records import Candle, L2Update, Quote, Severity, Trade

STABLE_SECONDS: Final = 30.0
"""A connection that lived this long was stable: the backoff is reset."""
DISOWN_SECONDS: Final = 1.0
"""Delay after which a book without an epoch is set invalid: a killed collector may have left it valid."""
CATCH_UP_SECONDS: Final = 1.0
"""How long :meth:`Shard.catch_up` waits for the venue's answer to a ping, by default."""
STOPPED: Final = "stopped"


class BrokerAway(Disconnected):
    """The connection was closed because the broker accepts no records; the venue is not at fault."""


class ShardState(Enum):
    """State of a shard.

    ``CONNECTING``: no connection; retries. ``CONNECTED``: the connection is open. ``HALTED``: not retried.
    ``RETIRED``: ended; late frames are ignored.
    """

    CONNECTING = "connecting"
    CONNECTED = "connected"
    HALTED = "halted"
    RETIRED = "retired"


class ShardOwner(Protocol):
    """Owner of shards."""

    def shard_changed(self) -> None:
        """Handle that a shard connected or lost its connection."""
        ...

    def replace(self, shard: Shard, reason: str, delay: float = 0.0) -> None:
        """Open a new connection for the shard's symbols after ``delay`` seconds, then close the old one."""
        ...


class Shard:
    """A part of the venue's symbols on one connection.

    Args:
        context: of the collector.
        owner: notified of state changes; replaces the shard.
        protocol: protocol for these symbols.
        settings: the settings the protocol was made from.
        url: the venue's address, without the protocol's path.
        backoff: between connections; shared with the shard's successors.
        silence_seconds: see :attr:`Venue.instrument_silence_seconds`.
        reconnect_hours: see :attr:`Venue.reconnect_hours`.

    Attributes:
        state: see :class:`ShardState`.
        halted: the reason why the shard is not retried; else empty.
        handover: the handover in progress, if any; ``successor`` is the shard that replaces this one.
        waits: whether frames are held back until a snapshot arrives.
    """

    def __init__(
        self,
        context: Context,
        owner: ShardOwner,
        protocol: VenueProtocol,
        settings: VenueSettings,
        url: str,
        backoff: Backoff,
        *,
        silence_seconds: float | None,
        reconnect_hours: float | None,
    ) -> None:
        self.protocol = protocol
        self.settings = settings
        self.url = url
        self.state = ShardState.CONNECTING
        self.halted = ""
        self.handover: Handover | None = None
        self.successor: Shard | None = None
        self.waits = SnapshotWait()
        self.task: asyncio.Task[None] | None = None
        self._context = context
        self._owner = owner
        self._publisher = context.publisher
        self.backoff = backoff
        self._silence_seconds = silence_seconds
        self._reconnect_hours = reconnect_hours
        self._connection: VenueConnection | None = None
        self._dropped: set[str] = set()
        self._resyncs = Resubscriptions(context.spawn, self._resubscribe, self._repair_turn)
        self._pulse = Pulse(context, self)
        self._pause = 0.0
        self._opened = -math.inf

    def youth_delay(self) -> float:
        """Return the delay in seconds before the shard is replaced: 0, or the backoff if its connection is new."""
        lived = asyncio.get_running_loop().time() - self._opened
        return self.backoff.next() if lived < STABLE_SECONDS else 0.0

    @property
    def connected(self) -> bool:
        """Whether the connection is open."""
        return self.state is ShardState.CONNECTED

    @property
    def retired(self) -> bool:
        """Whether the shard has ended."""
        return self.state is ShardState.RETIRED

    @property
    def settled(self) -> bool:
        """Whether it is connected and has sent all its requests."""
        return self.connected and self._connection is not None and self._connection.told

    def add(self, symbols: Sequence[str]) -> None:
        """Subscribe to symbols on this shard."""
        self._dropped.difference_update(symbols)
        requests = self.protocol.add(symbols)
        if self._connection is not None:
            for request in requests:
                self._connection.send(request.text)

    def remove(self, symbol: str) -> None:
        """Unsubscribe a symbol."""
        self._resyncs.cancel(symbol)
        self._context.rest.cancel(self, symbol)
        self.act(self.protocol.remove(symbol, self._context.now()))
        self._dropped.add(symbol)

    async def catch_up(self, seconds: float = CATCH_UP_SECONDS) -> bool:
        """Wait until what the venue had sent before this call is read, for ``seconds`` at most; return whether it is.

        It is not while books are withheld because frames are read too late.
        """
        connection, pongs = self._connection, self.protocol.pongs
        if connection is None:
            return True
        answered: bool | None = None
        try:
            async with asyncio.timeout(seconds):
                answered = await connection.ask()
                # False: the venue's limits leave no room for a ping. So much later what was under way has come.
                while not answered and self.protocol.pongs == pongs:  # noqa: ASYNC110 a frame sets no event
                    await asyncio.sleep(CATCH_UP_SECONDS / 100)
        except TimeoutError:
            if answered is None or connection.waiting:
                return False
        return not self._pulse.late

    def retire(self, reason: str) -> None:
        """End this shard permanently."""
        if self.retired:
            return
        self._end_books()
        self.state = ShardState.RETIRED
        if self._connection is not None:
            self._connection.drop(reason)
        elif self.task is not None:
            self.task.cancel()

    async def run(self) -> None:
        """Connect and reconnect until the shard is retired or halted."""
        context = self._context
        disowning = context.spawn(self._disown())
        try:
            while not self.retired and not self.halted:
                # Connecting is useless while the broker accepts nothing.
                await self._publisher.room()
                await context.connects.enter()
                await self._live()
                if self.successor is not None or self.retired or self.halted:
                    return  # its successor retires it
                delay = max(self._pause, self.backoff.next())
                self._pause = 0.0
                context.log.info("reconnecting", seconds=round(delay, 3))
                await asyncio.sleep(delay)
        finally:
            disowning.cancel()
            self._end_books()
            context.rest.forget(self)

    async def _disown(self) -> None:
        await asyncio.sleep(DISOWN_SECONDS)
        if self.handover is None:  # else the previous shard owns the books
            self.act(self.protocol.invalidate_unopened(self._context.now()))

    async def _live(self) -> None:
        """Run one connection from handshake to close."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        url = self.url + self.protocol.path()
        connection = VenueConnection(
            self._context.venue, url, self._receive, self._room, self._context.messages, self._exhausted
        )
        keepers: list[asyncio.Task[None]] = []
        reason = STOPPED

        def opened() -> None:
            self.state = ShardState.CONNECTED
            self._opened = loop.time()
            self._connection = connection
            metrics.CONNECTIONS.labels(self._context.venue.name).inc()
            self._event("connected", "INFO", f"connected to {url.partition('?')[0]}")
            self._owner.shard_changed()
            requests = self.protocol.subscribe()
            for request in requests:
                connection.send(request.text)
            if not requests:
                self._event("subscribed", "INFO", "the URL contains all streams; no subscribe request is needed")
            watchdog = Watchdog(self._silence_seconds)
            every = min(watchdog.tick, self._pulse.seconds)
            self._pulse.begin(connection, every)
            keepers.append(self._context.spawn(self._keep_heard(connection, watchdog, every)))
            if self._reconnect_hours is not None:
                keepers.append(self._context.spawn(self._grow_old(self._reconnect_hours)))

        try:
            await connection.run(opened)
        except Disconnected as error:
            reason = str(error)
            if error.retry_after:
                self._context.connects.close(error.retry_after)
            if error.of_address:
                self.act(self.protocol.address_refused(reason))
            if isinstance(error, BrokerAway):
                self.backoff.reset()  # an outage of the broker must not delay the reconnect
        finally:
            for task in keepers:
                task.cancel()
            was_connected, self._connection = self._connection is not None, None
            if self.connected:
                self.state = ShardState.CONNECTING
            self._end_books()
            self._pulse.end()
            self._tell_end(reason, was_connected=was_connected)
            self._owner.shard_changed()
            if loop.time() - began >= STABLE_SECONDS:
                self.backoff.reset()

    def _tell_end(self, reason: str, *, was_connected: bool) -> None:
        if not was_connected:
            self._context.log.warning("cannot connect", reason=reason)
        elif self.retired:
            # Replaced by another connection, or no longer wanted.
            self._event("connection_ended", "INFO", reason)
        else:
            if reason != STOPPED:
                metrics.GAPS.labels(self._context.venue.name, "connection").inc()
            self._event("disconnected", "INFO" if reason == STOPPED else "WARNING", reason)

    def _end_books(self) -> None:
        if self.retired:
            return
        self._context.rest.cancel(self)
        self._resyncs.cancel()
        self.act(self.protocol.disconnected(self._context.now()))

    async def _grow_old(self, hours: float) -> None:
        while True:
            await asyncio.sleep(hours * 3600)
            self._owner.replace(self, f"scheduled reconnect after {hours:g} hours", 0.0)

    async def _keep_heard(self, connection: VenueConnection, watchdog: Watchdog, every: float) -> None:
        """Send heartbeats and detect instruments that the venue no longer updates.

        Silence of the whole connection is detected by the connection.
        """
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(every)
            self._pulse.tick()
            self.act(self.protocol.overdue(self._context.now()))
            if connection.may_retry:
                self.act(self.protocol.retry(clock()))
            unwatched = self.protocol.unwatched()
            instruments = {s: state for s, state in self.protocol.instruments.items() if s not in unwatched}
            asked = {s for s in instruments if s in self._resyncs or self._context.rest.asking(self, s)}
            # A request that is not sent yet cannot be answered.
            listening = connection.told and not connection.held_back
            verdict = watchdog.look(instruments, asked, clock(), listening=listening)
            if verdict.drop:
                connection.drop(verdict.drop)
                return
            for symbol in verdict.good:
                instruments[symbol].book.crossing.good()
            for symbol, seconds in verdict.verify.items():
                self.act(self.protocol.verify(symbol, seconds))
            for symbol in verdict.recheck:
                self.act(self.protocol.recheck(symbol))
            for symbol, seconds in verdict.revive.items():
                self.act(self.protocol.revive(symbol, self._context.now(), seconds))

    # --- callbacks of the connection ---

    def _receive(self, frame: bytes) -> bool:
        """Process a frame; return whether the next one may be read."""
        if self.state is ShardState.RETIRED:
            return True
        context, pulse = self._context, self._pulse
        counters, now = context.counters, context.now()
        counters.frames += 1
        counters.last = now
        counters.bytes += len(frame)
        if context.tap is not None:
            context.tap.frame(now, frame)
        if now - pulse.heard > pulse.patience:
            pulse.check(now)
        pulse.heard = now
        outputs = self.protocol.receive(frame, now)
        if outputs:
            self.act(outputs)
        else:
            self._track()
            if pulse.asked:
                pulse.answered()
        return not self._publisher.full

    async def _room(self) -> None:
        began = self._context.now()
        try:
            async with asyncio.timeout(self._publisher.patience):
                await self._publisher.room()
        except TimeoutError as error:
            raise BrokerAway(f"the broker acknowledged nothing for {self._publisher.patience:g} s") from error
        self._pulse.held_back(self._context.now() - began)

    # --- outputs ---

    def act(self, outputs: Outputs) -> None:
        """Carry out the protocol's outputs."""
        if self.state is ShardState.RETIRED:
            return
        if self.handover is not None:
            outputs = self.handover.of_old(outputs) if self.successor is not None else self.handover.of_new(outputs)
        if self._dropped:
            outputs = [output for output in outputs if getattr(output, "symbol", None) not in self._dropped]
        publish = self._publisher.publish
        for output in outputs:
            kind = type(output)
            if kind is L2Update or kind is Trade:
                publish(output)  # type: ignore[arg-type]
            else:
                self._do(output)
        self._track()

    def _track(self) -> None:
        waiting = self.protocol.waiting
        if waiting or self.waits.since is not None:
            self.waits.track(waiting, asyncio.get_running_loop().time())

    def _do(self, output: Any) -> None:
        match output:
            case Quote() | Candle():
                self._publisher.publish(output)
            case Note():
                self._context.event_log.note(output)
            case Refused():
                self._context.event_log.dead_letter(output)
            case FetchSnapshot():
                self._fetch(output)
            case Resubscribe():
                self._resyncs.request(output.symbol)
            case Send():
                if self._connection is not None:
                    self._connection.send(output.text)
            case Reconnect():
                if self.handover is not None and self.successor is None:
                    self.drop(output.reason, output.delay)  # the old connection is still open: this one may restart
                else:
                    self._owner.replace(self, output.reason, output.delay)
            case Halt():
                self._halt(output.reason)

    def drop(self, reason: str, pause: float = 0.0) -> None:
        """Close the connection; reconnect after ``pause`` seconds at the earliest."""
        self._pause = max(self._pause, pause)
        if self._connection is not None:
            self._connection.drop(reason)

    def _halt(self, reason: str) -> None:
        self.halted, self.state = reason, ShardState.HALTED
        self._event("halted", "ERROR", reason)
        self.drop(reason)

    def _fetch(self, request: FetchSnapshot) -> None:
        def answered(body: bytes) -> None:
            now = self._context.now()
            if self._context.tap is not None:
                self._context.tap.rest(now, request.path, body)
            self.act(self.protocol.snapshot(request, body, now))

        def failed(reason: str) -> None:
            self.waits.refused()
            self._event("snapshot_failed", "WARNING", reason, symbol=request.symbol)

        self._context.rest.fetch(self, request, answered, failed)

    def _resubscribe(self, symbol: str) -> None:
        self.act(list(self.protocol.resubscribe(symbol)))

    async def _repair_turn(self, symbol: str) -> None:
        def waits(seconds: float) -> None:
            reason = (
                f"resubscribe in {seconds:.0f} s: this connection's remaining requests are reserved for other books"
            )
            self._event("resync_waits", "WARNING", reason, symbol=symbol)

        if self._connection is not None:
            await self._connection.repair_turn(symbol, waits)

    def _exhausted(self) -> None:
        self._do(Reconnect("the venue's request limit for this connection is exhausted"))

    def _event(self, kind: str, severity: Severity, message: str, *, symbol: str | None = None) -> None:
        self._context.event_log.event(kind, severity, message, symbol=symbol)
