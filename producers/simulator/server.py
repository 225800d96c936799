"""The simulation's server: one port per venue, one market behind them all."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from alphapulse import metrics
from alphapulse.errors import ValueRefused
from alphapulse.service import Service
from producers.endpoint.dialects import dialect
from producers.endpoint.listener import Connection, Listener, json_response, not_found
from producers.endpoint.session import Answer, Session
from producers.simulator.binance import BinanceFeed
from producers.simulator.coinbase import CoinbaseFeed
from producers.simulator.events import Event
from producers.simulator.feed import Feed, Topic
from producers.simulator.instrument import SimulatedInstrument
from producers.simulator.kraken import KrakenFeed
from producers.simulator.listings import Listing
from producers.simulator.market import Market
from producers.simulator.outbox import BOUND_BYTES, Outbox
from producers.venues import part

LOOPBACK = "127.0.0.1"

MakeFeed = Callable[[Sequence[SimulatedInstrument]], Feed]

FEEDS: dict[str, MakeFeed] = {
    "kraken": KrakenFeed,
    "coinbase": CoinbaseFeed,
    "binance": BinanceFeed,
    "binance_us": BinanceFeed,
}

Faults = Callable[[str, str, bytes], Sequence[bytes]]
"""Stands between encoder and socket: gets (venue, venue's symbol, frame), returns what is sent in its place."""


def feed_of(venue: str) -> MakeFeed:
    """Return what makes the feed of ``venue``: from the table above, or ``FEED`` of the ``simulator.py`` in its folder.

    Raises:
        ValueRefused: the venue cannot be simulated.
    """
    known = FEEDS.get(venue)
    if known is not None:
        return known
    module = part(venue, "simulator")
    if module is None:
        raise ValueRefused(f"no simulation of venue {venue[:80]!r}")
    found: MakeFeed = module.FEED
    return found


_TICK_SECONDS = 0.005
_SLICE_NS = 20_000_000  # of market time between two turns of the loop
_SECOND_NS = 1_000_000_000
_IDLE_SECONDS = 1.0
_MOST_BEHIND_NS = _SECOND_NS


def no_faults(venue: str, symbol: str, frame: bytes) -> Sequence[bytes]:
    """Send every frame as it is."""
    return (frame,)


class SimulatedVenue:
    """One venue: its clients and what they subscribed to.

    Args:
        name: the venue.
        instruments: its part of the market.
        faults: what befalls its frames.
        bound: bytes that may wait for one client.
    """

    def __init__(
        self,
        name: str,
        instruments: Sequence[SimulatedInstrument],
        *,
        faults: Faults = no_faults,
        bound: int = BOUND_BYTES,
    ) -> None:
        self.name = name
        self.frames_sent = 0
        self.slow_clients = 0
        self._dialect = dialect(name)
        self._feed = feed_of(name)(instruments)
        self._faults = faults
        self._bound = bound
        self._outboxes: dict[Connection, Outbox] = {}
        self._listeners: dict[Topic, dict[Connection, None]] = defaultdict(dict)
        self._listener = Listener(self, ping_seconds=self._dialect.ping_seconds, strict=True)

    async def open(self, port: int = 0) -> dict[str, Any]:
        """Listen; return the announcement.

        Raises:
            ServiceError: the port is taken.
        """
        taken = await self._listener.open(LOOPBACK, port)
        return {
            "websocket_url": f"ws://{LOOPBACK}:{taken}{self._dialect.path}",
            "rest_url": f"http://{LOOPBACK}:{taken}",
            "symbols": [instrument.listing.symbol for instrument in self._feed.instruments.values()],
        }

    async def close(self) -> None:
        """Send the clients away and stop listening."""
        for outbox in self._outboxes.values():
            outbox.close()
        await self._listener.close()

    def happened(self, event: Event, batch: dict[Connection, list[bytes]]) -> None:
        """Encode ``event`` and add its frames to what each client gets."""
        for topic, frame in self._feed.frames(event, self._listeners.keys()):
            sent = self._faults(self.name, topic[1], frame)
            for connection in self._listeners[topic]:
                batch[connection].extend(sent)

    def deliver(self, connection: Connection, frames: Sequence[bytes]) -> None:
        """Hand frames to a client; one that has let too many wait is cut off."""
        outbox = self._outboxes.get(connection)
        if outbox is None:
            return
        if outbox.put(frames):
            self.frames_sent += len(frames)
            return
        self.slow_clients += 1
        metrics.SIMULATOR_SLOW_CLIENTS.labels(self.name).inc()
        self.disconnected(connection)
        connection.abort()

    def beat(self, time_ns: int) -> None:
        """Send the heartbeats of a full second."""
        idle_since = time.monotonic() - _IDLE_SECONDS
        for connection in list(self._outboxes):
            beats = connection.session.heartbeat(time_ns, idle=connection.last_sent < idle_since)
            if beats:
                self.deliver(connection, beats)

    def status(self) -> dict[str, Any]:
        """Return the venue's figures."""
        return {
            "connections": len(self._outboxes),
            "subscriptions": sum(map(len, self._listeners.values())),
            "frames_sent": self.frames_sent,
            "slow_clients": self.slow_clients,
        }

    # --- what the listener asks (Host) ---

    def session(self) -> Session:
        """Return a new client's session."""
        return self._dialect.session(self._feed.instruments)

    def connected(self, connection: Connection) -> None:
        """Take a client in."""
        self._outboxes[connection] = Outbox(connection, self._bound)
        if self._dialect.subscribe_seconds is not None:
            asyncio.get_running_loop().call_later(self._dialect.subscribe_seconds, self._send_away_idler, connection)

    async def answered(self, connection: Connection, answer: Answer) -> None:
        """Answer, then send what each new subscription starts with: no event comes between it and the first update."""
        frames = list(answer.replies)
        for gone in answer.removed:
            self._unlisten(self._feed.topic(gone), connection)
        for new in answer.added:
            frames += self._feed.opening(new, time.time_ns())
            self._listeners[self._feed.topic(new)][connection] = None
        if frames:
            self.deliver(connection, frames)

    def disconnected(self, connection: Connection) -> None:
        """Forget a client; harmless if it is forgotten."""
        outbox = self._outboxes.pop(connection, None)
        if outbox is not None:
            outbox.close()
        for topic in [topic for topic, listeners in self._listeners.items() if connection in listeners]:
            self._unlisten(topic, connection)

    async def rest(self, path: str, query: Mapping[str, str]) -> web.Response:
        """Answer a REST request."""
        reply = self._feed.rest(path, query, time.time_ns())
        if reply is None:
            return not_found()
        return json_response(reply.body, status=reply.status, headers=reply.headers)

    def _send_away_idler(self, connection: Connection) -> None:
        if connection in self._outboxes and not connection.session.subscriptions:
            connection.abort()

    def _unlisten(self, topic: Topic, connection: Connection) -> None:
        self._listeners[topic].pop(connection, None)
        if not self._listeners[topic]:
            del self._listeners[topic]


class Simulation:
    """The market and its venues, in real time.

    Args:
        listings: what is traded where.
        seed: chooses the course of things.
        rate: events a second and instrument.
        faults: what befalls the frames.
        clock: ns since the epoch.
    """

    def __init__(
        self,
        listings: Sequence[Listing],
        *,
        seed: int,
        rate: float,
        faults: Faults = no_faults,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._seed, self._rate = seed, rate
        self._clock = clock
        self._start_ns = clock()
        self.market = Market(listings, seed=seed, rate=rate, start_ns=self._start_ns)
        names = dict.fromkeys(listing.venue for listing in listings)
        self.venues = {
            name: SimulatedVenue(
                name, [part for (venue, _), part in self.market.instruments.items() if venue == name], faults=faults
            )
            for name in names
        }
        self.events = 0
        self.skipped_seconds = 0.0

    async def serve(self, service: Service) -> None:
        """Serve until ``service`` is asked to stop.

        Raises:
            ServiceError: no port to be had.
        """
        service.report(self.status)
        announced = {name: await venue.open() for name, venue in self.venues.items()}
        service.announce(venues=announced, seed=self._seed, rate=self._rate)
        running = asyncio.create_task(self._run())
        stopping = asyncio.create_task(service.stopping.wait())
        service.ready = True
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            running.cancel()
            stopping.cancel()
            await asyncio.gather(running, stopping, return_exceptions=True)
            await asyncio.gather(*(venue.close() for venue in self.venues.values()))

    def status(self) -> dict[str, Any]:
        """Return the figures, for ``/status``."""
        return {
            "seed": self._seed,
            "rate": self._rate,
            "events": self.events,
            "skipped_seconds": round(self.skipped_seconds, 3),
            "venues": {name: venue.status() for name, venue in self.venues.items()},
        }

    async def _run(self) -> None:
        """Let the market go on in small steps of real time."""
        done = self._start_ns
        next_beat = done + _SECOND_NS
        while True:
            now = self._clock()
            # The machine slept, its clock was set, or the rate is too much for it.
            if abs(now - done) > _MOST_BEHIND_NS:
                self.skipped_seconds += (now - done) / 1e9
                self.market.pause(now - done)
                done = now
            while done < now:
                done = min(done + _SLICE_NS, now)
                self.step(done)
                await asyncio.sleep(0)
            if now >= next_beat:
                next_beat = now + _SECOND_NS
                for venue in self.venues.values():
                    venue.beat(now)
            await asyncio.sleep(_TICK_SECONDS)

    def step(self, until_ns: int) -> None:
        """Let everything happen that happens up to ``until_ns``."""
        batches: dict[str, dict[Connection, list[bytes]]] = {name: defaultdict(list) for name in self.venues}
        for event in self.market.advance(until_ns):
            self.events += 1
            name = event.listing.venue
            self.venues[name].happened(event, batches[name])
        for name, batch in batches.items():
            for connection, frames in batch.items():
                self.venues[name].deliver(connection, frames)
