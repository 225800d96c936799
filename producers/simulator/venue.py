"""One simulated venue: its clients, their subscriptions, and the faults on the way to them."""

from __future__ import annotations

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web
from msgspec.structs import replace

from alphapulse import metrics
from producers.simulator.events import BookChange, Event
from producers.simulator.faults import RestFault, Sent, VenueFaults
from producers.simulator.feed import SimulatedFeed, Topic
from producers.simulator.limits import Limiter, VenueLimits
from producers.simulator.outbox import BOUND_BYTES, ClientOutbox
from producers.venue_server.dialects import dialect
from producers.venue_server.listener import ClientConnection, Listener, json_response, not_found
from producers.venue_server.session import BOOK, SessionAnswer, VenueSession, VenueSubscription

LOOPBACK = "127.0.0.1"

Batch = dict[ClientConnection, list[bytes]]
"""Frames for each client; a defaultdict."""

_IDLE_SECONDS = 1.0
_ANY = ("0.0.0.0", "::", "")
NO_LIMITS: Final = VenueLimits()


class SimulatedVenue:
    """Simulated venue with its clients and their subscriptions.

    Args:
        name: the venue.
        feed: its encoder.
        faults: its fault injector.
        limits: enforces its client limits.
        bound: maximum bytes queued per client.
    """

    def __init__(
        self,
        name: str,
        feed: SimulatedFeed,
        *,
        faults: VenueFaults | None = None,
        limits: VenueLimits = NO_LIMITS,
        bound: int = BOUND_BYTES,
    ) -> None:
        self.name = name
        self.frames_sent = 0
        self.slow_clients = 0
        self._dialect = dialect(name)
        self._feed = feed
        self.faults = faults if faults is not None else VenueFaults(name)
        self._bound = bound
        self._numbers_frames = False
        self._outboxes: dict[ClientConnection, ClientOutbox] = {}
        self._listeners: dict[Topic, dict[ClientConnection, None]] = defaultdict(dict)
        self._closing: set[asyncio.Task[None]] = set()
        self.limiter = Limiter(limits, _monotonic)
        self._listener = Listener(self, guard=self.limiter, ping_seconds=self._dialect.ping_seconds, strict=True)

    async def open(self, host: str = LOOPBACK, port: int = 0) -> dict[str, Any]:
        """Listen; return the announcement.

        Args:
            host: address to listen on.
            port: 0: any free one.

        Raises:
            ServiceError: the port is in use.
        """
        taken = await self._listener.open(host, port)
        named = LOOPBACK if host in _ANY else host
        return {
            "websocket_url": f"ws://{named}:{taken}{self._dialect.path}",
            "rest_url": f"http://{named}:{taken}",
            "key": self._dialect.key,
            "secret": self._dialect.key,
            "symbols": [instrument.listing.symbol for instrument in self._feed.instruments.values()],
        }

    async def close(self) -> None:
        """Disconnect the clients and stop listening."""
        for outbox in self._outboxes.values():
            outbox.close()
        for closing in self._closing:
            closing.cancel()
        await self._listener.close()

    def happened(self, event: Event, batch: Batch) -> None:
        """Encode ``event`` for each client's batch; then add the change that a fault makes the book show."""
        self._tell(event, batch)
        if isinstance(event, BookChange):
            shown = self.faults.shown(event.listing.symbol, event.time_ns)
            instrument = self._feed.instruments[event.listing.venue_symbol]
            if (change := instrument.show(event.time_ns, shown)) is not None:
                self._tell(change, batch)

    def _tell(self, event: Event, batch: Batch) -> None:
        faults, symbol, now = self.faults, event.listing.symbol, event.time_ns
        if faults.skew_ns:
            event = replace(event, time_ns=now + faults.skew_ns)
        all_listeners = self._listeners
        for topic, frame in self._feed.frames(event, all_listeners):
            listeners = all_listeners.get(topic, {})
            numbered = frame
            if self._numbers_frames and len(listeners) == 1:
                numbered = next(iter(listeners)).session.outgoing(frame)
            if faults.passes(now):
                for connection in listeners:
                    batch[connection].append(numbered)
                continue
            for sent in faults.frame(topic, symbol, numbered, now):
                self._send(sent, batch)

    def release(self, now_ns: int, batch: Batch) -> None:
        """Add the frames held back by a stall, once it is over."""
        for sent in self.faults.due(now_ns):
            self._send(sent, batch)

    def _send(self, sent: Sent, batch: Batch) -> None:
        if isinstance(sent.topic, ClientConnection):
            batch[sent.topic].append(sent.frame)
            return
        for connection in list(self._listeners.get(sent.topic, ())):
            if sent.end:
                self.deliver(connection, batch.pop(connection, []))
                self._cut(connection, sent)
            else:
                batch[connection].append(sent.frame)

    def _cut(self, connection: ClientConnection, sent: Sent) -> None:
        """Send the queued frames, then close the connection."""
        outbox = self._outboxes.pop(connection, None)
        if outbox is not None:
            outbox.cut(sent.frame if sent.end == "cut" else b"")
        self.disconnected(connection)

    def deliver(self, connection: ClientConnection, frames: Sequence[bytes]) -> None:
        """Queue frames for a client; one that is too far behind is disconnected."""
        outbox = self._outboxes.get(connection)
        if outbox is None:
            return
        if outbox.put(frames):
            self.frames_sent += len(frames)
            self.limiter.told(connection)
            return
        self.slow_clients += 1
        metrics.SIMULATOR_SLOW_CLIENTS.labels(self.name).inc()
        self.disconnected(connection)
        connection.abort()

    def beat(self, time_ns: int) -> None:
        """Send the heartbeats of a full second, and close the connections that exceed the limits."""
        for connection in self.limiter.overdue():
            self.limiter.disconnected(connection)
            closing = asyncio.create_task(connection.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        if self.faults.silent(time_ns):
            return
        idle_since = time.monotonic() - _IDLE_SECONDS
        batch: Batch = defaultdict(list)
        for connection in self._outboxes:
            for beat in connection.session.heartbeat(time_ns, idle=connection.last_sent < idle_since):
                for sent in self.faults.life(connection, self._numbered(connection, beat), time_ns):
                    self._send(sent, batch)
        for topic, frame in self._feed.alive(time_ns, self._listeners):
            for sent in self.faults.life(topic, frame, time_ns):
                self._send(sent, batch)
        for connection, frames in batch.items():
            self.deliver(connection, frames)

    def status(self) -> dict[str, Any]:
        """Return the venue's statistics."""
        return {
            "connections": len(self._outboxes),
            "subscriptions": sum(map(len, self._listeners.values())),
            "frames_sent": self.frames_sent,
            "slow_clients": self.slow_clients,
            "refused": dict(self.limiter.refused),
            "faults": dict(self.faults.happened),
        }

    # --- Host: called by the listener ---

    def session(self) -> VenueSession:
        """Return a new client's session."""
        session = self._dialect.session(self._feed.instruments)
        session.last_trade = self._feed.last_trade
        self._numbers_frames = session.numbers_frames
        return session

    def connected(self, connection: ClientConnection) -> None:
        """Add a client."""
        self.faults.connected()
        self.limiter.connected(connection)
        session, faults = connection.session, self.faults
        session.refuses = lambda key: self.limiter.crowded_out(connection) or faults.refuses(time.time_ns(), key[0])
        session.misses = lambda name: faults.misses(self._symbol(name), time.time_ns())
        session.rations = lambda: faults.rations(time.time_ns())
        self._outboxes[connection] = ClientOutbox(connection, self._bound)
        if self._dialect.subscribe_seconds is not None:
            asyncio.get_running_loop().call_later(self._dialect.subscribe_seconds, self._send_away_idler, connection)

    def pongs(self) -> bool:
        """Whether pings are answered: not during a stall."""
        return not self.faults.stalls(time.time_ns())

    async def answered(self, connection: ClientConnection, answer: SessionAnswer) -> None:
        """Answer, then send each new subscription's first frames: no event comes between them and the first update."""
        now = time.time_ns()
        batch: Batch = defaultdict(list)
        for reply in answer.replies:
            for sent in self.faults.answer(connection, self._numbered(connection, reply), now):
                self._send(sent, batch)
        for gone in answer.removed:
            self._unlisten(self._feed.topic(gone), connection)
        for new in answer.added:
            self._open(new, connection, now, batch)
        for client, frames in batch.items():
            self.deliver(client, frames)

    def _open(self, new: VenueSubscription, connection: ClientConnection, now: int, batch: Batch) -> None:
        topic, symbol = self._feed.topic(new), self._symbol(new.symbol)
        for frame in self._feed.opening(new, now + self.faults.skew_ns):
            numbered = self._numbered(connection, frame)
            for sent in self.faults.frame(topic, symbol, numbered, now, snapshot=new.feed == BOOK):
                if sent.topic != topic:
                    self._send(sent, batch)
                elif not sent.end:  # the other subscribers have received theirs
                    batch[connection].append(sent.frame)
                else:
                    self.deliver(connection, batch.pop(connection, []))
                    self._cut(connection, sent)
        if connection in self._outboxes:
            self._listeners[topic][connection] = None

    def _symbol(self, name: str) -> str:
        """Return the canonical symbol of the venue's ``name``; empty if there is none."""
        instrument = self._feed.instruments.get(name)
        return instrument.listing.symbol if instrument is not None else ""

    def _numbered(self, connection: ClientConnection, frame: bytes) -> bytes:
        """Return ``frame`` with its number on the connection, where frames have one: in the order of queueing."""
        return connection.session.outgoing(frame) if self._numbers_frames else frame

    def disconnected(self, connection: ClientConnection) -> None:
        """Remove a client; no effect if it is removed already."""
        self.limiter.disconnected(connection, lost=connection.lost)
        outbox = self._outboxes.pop(connection, None)
        if outbox is not None:
            outbox.close()
        for topic in [topic for topic, listeners in self._listeners.items() if connection in listeners]:
            self._unlisten(topic, connection)
        if not self._outboxes:
            self.faults.disconnected()

    async def rest(self, path: str, query: Mapping[str, str]) -> web.Response:
        """Answer a REST request."""
        now = time.time_ns()
        reply = self._feed.rest(path, query, now + self.faults.skew_ns)
        if reply is None:
            return not_found()
        verdict = self.limiter.rest(path, query)
        if verdict.status != 200:
            headers = {**verdict.headers, "Retry-After": str(math.ceil(verdict.retry_after))}
            body = self.limiter.limits.rest_refusal(verdict.status)
            return json_response(body, status=verdict.status, headers=headers)
        if (fault := self.faults.rest(now)) is not None:
            await asyncio.sleep(fault.seconds)
            if fault.status != 200:
                return self._refusal(fault)
        return json_response(reply.body, status=reply.status, headers=verdict.headers)

    def _refusal(self, fault: RestFault) -> web.Response:
        body, headers = self._dialect.rest_refusal(fault.status), {"Retry-After": str(fault.retry_after)}
        return json_response(body, status=fault.status, headers=headers)

    def _send_away_idler(self, connection: ClientConnection) -> None:
        if connection in self._outboxes and not connection.session.subscriptions:
            connection.abort()

    def _unlisten(self, topic: Topic, connection: ClientConnection) -> None:
        self._listeners[topic].pop(connection, None)
        if not self._listeners[topic]:
            del self._listeners[topic]


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
