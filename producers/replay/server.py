"""Replay server: clients, their subscriptions, and the supervisor's controls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from typing import Any

from aiohttp import web

from alphapulse.service import Service
from producers.replay.gate import Gate
from producers.replay.pacing import Credit, Schedule
from producers.replay.recording import Recording
from producers.replay.rest import RestDesk
from producers.replay.timeline import Timeline
from producers.venue_server.dialects import dialect
from producers.venue_server.listener import ClientConnection, ConnectionGone, Listener, json_response, not_found
from producers.venue_server.session import BOOK, Key, SessionAnswer, VenueSession

LOOPBACK = "127.0.0.1"

_RETRY_AFTER = {"Retry-After": "60"}
_HEARTBEAT_SECONDS = 1.0


class ReplayServer:
    """Serves a recording as its venue.

    A frame goes to every client subscribed to it. Frames without a subscriber (tickers, malformed lines) go to the
    oldest client: the recorder received them too.

    Args:
        recording: its survey.
        speed: multiple of the original; None: as fast as possible.
        paced: whether to wait for credit.
        paced: whether to wait for credit.
    """

    def __init__(self, recording: Recording, *, speed: float | None, paced: bool) -> None:
        self._recording = recording
        self._dialect = dialect(recording.venue)
        self._connections: list[ClientConnection] = []
        self._subscribed: dict[Key, list[ClientConnection]] = {}
        self._news = asyncio.Event()
        self._gate = Gate(recording.keys)
        self._desk = RestDesk()
        self.credit = Credit(limited=paced)
        self._timeline = Timeline(
            recording, self, self._gate, self._desk, Schedule(speed), self.credit, self._dialect.recorded()
        )
        self._listener = Listener(self, ping_seconds=self._dialect.ping_seconds)
        self._connected = 0
        self._deliveries = 0
        self._control_frames = 0

    async def serve(self, service: Service, port: int = 0) -> None:
        """Serve until ``service`` stops.

        Raises:
            ServiceError: the port is in use.
            RecordingError: the file changed while it was being served.
        """
        service.report(self.status)
        service.route("POST", "/credit", self._take_credit)
        taken = await self._listener.open(LOOPBACK, port)
        tasks = [asyncio.create_task(work) for work in (self._replay(service), self._keep_alive())]
        stopping = asyncio.create_task(service.stopping.wait())
        try:
            service.announce(**self._announcement(taken))
            service.ready = True
            while not stopping.done():
                done, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                tasks = [task for task in tasks if task not in done]
        finally:
            for task in (stopping, *tasks):
                task.cancel()
            await asyncio.gather(stopping, *tasks, return_exceptions=True)
            await self._listener.close()

    async def _replay(self, service: Service) -> None:
        await self._timeline.run()
        service.log.info("finished", frames=self._timeline.frames_sent, bytes=self._timeline.bytes_sent)

    def status(self) -> dict[str, Any]:
        """Return the progress of the replay, for ``/status``."""
        recording, timeline = self._recording, self._timeline
        return {
            "venue": recording.venue,
            "recording": str(recording.path),
            "frames_total": recording.frames,
            "frames_sent": timeline.frames_sent,
            "bytes_sent": timeline.bytes_sent,
            "websocket_frames_sent": self._deliveries,
            "control_frames_sent": self._control_frames,
            "rest_answers": self._desk.answered,
            "rest_latched": self._desk.latched,
            "connections": len(self._connections),
            "reconnects": max(self._connected - 1, 0),
            "finished": timeline.finished,
            "waiting": timeline.waiting,
            "incomplete": [recording.incomplete] if recording.incomplete is not None else [],
            "unnamed": [f"{recording.path}: {recording.name_them}"] if recording.unnamed else [],
            "faults": recording.faults,
            "faults_total": recording.faults_total,
        }

    def _announcement(self, port: int) -> dict[str, Any]:
        recording, dialect = self._recording, self._dialect
        path = dialect.recorded_path if dialect.recorded_path is not None else dialect.path
        return {
            "venue": recording.venue,
            "symbols": list(recording.symbols.values()),
            "books": [ours for spelled, ours in recording.symbols.items() if (BOOK, spelled) in recording.keys],
            "depth": recording.depth,
            "websocket_url": f"ws://{LOOPBACK}:{port}{path}",
            "rest_url": f"http://{LOOPBACK}:{port}",
            "key": dialect.key,
            "secret": dialect.key,
            "frames": recording.frames,
            "recording": str(recording.path),
            "first_time": recording.first_time,
            "last_time": recording.last_time,
        }

    async def _take_credit(self, request: web.Request) -> web.Response:
        try:
            total = (await request.json())["bytes"]
        except (ValueError, KeyError, TypeError):
            total = None
        if not isinstance(total, int) or total < 0:
            return web.json_response({"error": 'expected {"bytes": total allowed since the start, ≥ 0}'}, status=400)
        self.credit.grant(total)
        return web.json_response({"bytes_sent": self._timeline.bytes_sent, "finished": self._timeline.finished})

    # --- Audience: called by the timeline ---

    @property
    def subscribed(self) -> Collection[Key]:
        """Subscriptions of all clients."""
        return self._subscribed.keys()

    async def deliver(self, frame: bytes, keys: tuple[Key, ...]) -> bool:
        """Send ``frame`` to all clients subscribed to one of ``keys``, else to the oldest client."""
        targets = self._connections[:1]
        if len(self._connections) > 1:
            targets = list({id(c): c for key in keys for c in self._subscribed.get(key, [])}.values()) or targets
        got = 0
        for connection in targets:
            try:
                await connection.send(frame)
                got += 1
            except ConnectionGone:
                self._forget(connection)
        self._deliveries += got
        return got > 0

    def lost(self, frames: int) -> None:
        """Report lost frames to every client's session: it is unknown which of them the frames were for."""
        for connection in self._connections:
            connection.session.next_number += frames

    async def changed(self, seconds: float) -> None:
        """Wait until a client connects, disconnects or subscribes, at most ``seconds``."""
        self._news.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return

    # --- Host: called by the listener ---

    def session(self) -> VenueSession:
        """Return a new client's session."""
        return self._dialect.session(self._recording.symbols)

    def pongs(self) -> bool:
        """Whether pings are answered: always."""
        return True

    def connected(self, connection: ClientConnection) -> None:
        """Add a client."""
        self._connected += 1
        self._connections.append(connection)
        self._gate.connected()
        self._news.set()

    async def answered(self, connection: ClientConnection, answer: SessionAnswer) -> None:
        """Send the replies, then update the gate."""
        for reply in answer.replies:
            await connection.send(reply)
            self._control_frames += 1
        for gone in answer.removed:
            self._drop(gone.key, connection)
        for new in answer.added:
            self._subscribed.setdefault(new.key, []).append(connection)
        if answer.added:
            self._gate.subscribed([new.key for new in answer.added], time.monotonic())
            self._news.set()

    def disconnected(self, connection: ClientConnection) -> None:
        """Remove a client; no effect if it is removed already."""
        self._forget(connection)

    async def rest(self, path: str, query: Mapping[str, str]) -> web.Response:
        """Answer from the recording; 503 when it has no answer left."""
        symbol = query.get("symbol", "").upper()
        if (fault := self._dialect.rest_fault(path, query, self._recording.symbols)) is not None:
            return json_response(fault, status=400)
        books = self._dialect.snapshot_path
        if (books is None or not path.startswith(books)) and path not in self._recording.rest_paths:
            return not_found()
        body = await self._desk.ask((path, symbol))
        if body is None:
            return json_response(self._dialect.rest_refusal(503), status=503, headers=_RETRY_AFTER)
        return json_response(body)

    def _forget(self, connection: ClientConnection) -> None:
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        keys = [key for key, holders in self._subscribed.items() if connection in holders]
        for key in keys:
            self._drop(key, connection)
        self._gate.lost(key for key in keys if key not in self._subscribed)
        self._news.set()

    def _drop(self, key: Key, connection: ClientConnection) -> None:
        holders = self._subscribed.get(key, [])
        if connection in holders:
            holders.remove(connection)
        if not holders:
            self._subscribed.pop(key, None)

    async def _keep_alive(self) -> None:
        """Send the venue's heartbeats to idle clients, so that none takes a pause for a lost connection."""
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS / 2)
            now, time_ns = time.monotonic(), time.time_ns()
            for connection in self._connections.copy():
                if now - connection.last_sent < _HEARTBEAT_SECONDS:
                    continue
                for frame in connection.session.heartbeat(time_ns, idle=True):
                    try:
                        await connection.send(frame)
                    except ConnectionGone:
                        self._forget(connection)
                        break
                    self._control_frames += 1
