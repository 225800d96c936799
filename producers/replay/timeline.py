"""Timeline of the replay: the recording's lines in order, each at its time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from typing import Protocol

from alphapulse.errors import FrameRefused, RecordingError
from producers.replay.gate import Gate
from producers.replay.lines import Line, read
from producers.replay.pacing import Credit, Schedule
from producers.replay.recording import Recording
from producers.replay.rest import RestDesk
from producers.venue_server.dialects import dialect
from producers.venue_server.frames import FrameClass, RestKey
from producers.venue_server.session import Key, Recorded

REST_HOLD_SECONDS = 1.0
"""How long the timeline waits for a request for its next answer."""

_POLL_SECONDS = 0.1  # the gate's timeout elapses without an event
_BREATH = 32  # frames between two yields to the event loop: replies and REST answers must not wait for a full socket


_KEYS_TOLD = 5  # subscriptions named in a status


class Audience(Protocol):
    """Receivers of the frames."""

    @property
    def subscribed(self) -> Collection[Key]:
        """Subscriptions of all clients."""
        ...

    async def deliver(self, frame: bytes, keys: tuple[Key, ...]) -> bool:
        """Send ``frame`` to its subscribers; return whether anybody received it."""
        ...

    def lost(self, frames: int) -> None:
        """Handle that the recorder lost ``frames`` before the next one."""
        ...

    async def changed(self, seconds: float) -> None:
        """Wait until a client connects, disconnects or subscribes, at most ``seconds``."""
        ...


class Timeline:
    """Sends a recording's lines to an audience, paced and gated.

    Attributes:
        frames_sent: number of lines processed, REST answers included.
        bytes_sent: size of their frames.
        finished: whether the last line is processed.
        waiting: what it is waiting for; None: it is not waiting.
    """

    def __init__(
        self,
        recording: Recording,
        audience: Audience,
        gate: Gate,
        desk: RestDesk,
        schedule: Schedule,
        credit: Credit,
        recorded: Recorded,
    ) -> None:
        self._recording = recording
        self._classify = dialect(recording.venue).classify
        self._audience = audience
        self._gate = gate
        self._desk = desk
        self._schedule = schedule
        self._credit = credit
        self._recorded = recorded
        self.frames_sent = 0
        self.bytes_sent = 0
        self.finished = False
        self.waiting: str | None = "clients"

    async def run(self) -> None:
        """Send all lines, including those that the survey reported as faults.

        Raises:
            RecordingError: a fault that the survey did not find: the file has changed since.
        """
        try:
            for line in read(self._recording.path):
                await self._pass(line)
                self.frames_sent += 1
                self.bytes_sent += len(line.frame)
                if self.frames_sent % _BREATH == 0:
                    await asyncio.sleep(0)
        except RecordingError as error:
            if str(error) != self._recording.incomplete:
                raise
        self.waiting = None
        self.finished = True
        self._desk.end()

    async def _pass(self, line: Line) -> None:
        try:
            shape = self._classify(line.frame)
        except FrameRefused:  # reported by the survey; it has no subscribers but is sent all the same
            shape = FrameClass()
        if not self._credit.left(self.bytes_sent):
            self.waiting = "credit"
            await self._credit.wait(self.bytes_sent)
        await self._wait_for_time(line)
        self.waiting = None
        # Clients are checked last: they may have disconnected while the frame waited for the rest.
        if shape.rest is None:
            if not shape.conversation:
                await self._deliver(line.frame, self._recording.keys_of(shape))
            return
        if not self._desk.waits(shape.rest):
            await self._wait_for_clients(())
            await self._wait_for_request(shape.rest)
        self._desk.give(shape.rest, shape.body)

    async def _deliver(self, recorded: bytes, keys: tuple[Key, ...]) -> None:
        frame, lost = self._recorded.prepare(recorded)
        await self._wait_for_clients(keys)
        if lost:
            self._audience.lost(lost)
        while not await self._audience.deliver(frame, keys):
            await self._wait_for_clients(keys)

    async def _wait_for_clients(self, keys: tuple[Key, ...]) -> None:
        if self._gate.passes(keys, self._audience.subscribed, time.monotonic()):
            return
        began = time.monotonic()
        while not self._gate.passes(keys, self._audience.subscribed, time.monotonic()):
            self.waiting = f"subscriptions ({_listed(self._gate.awaited)})"
            await self._audience.changed(_POLL_SECONDS)
        self._schedule.held(time.monotonic() - began)
        self.waiting = None

    async def _wait_for_time(self, line: Line) -> None:
        now = time.monotonic()
        due = self._schedule.due(line.received_ns, now)
        if due > now:
            self.waiting = "time"
            await asyncio.sleep(due - now)

    async def _wait_for_request(self, key: RestKey) -> None:
        if self._desk.waits(key):
            return
        began = time.monotonic()
        self.waiting = f"request {' '.join(key)}"
        await self._desk.wait(key, REST_HOLD_SECONDS)
        self._schedule.held(time.monotonic() - began)
        self.waiting = None


def _listed(keys: Collection[Key]) -> str:
    names = [f"{feed} {symbol}" for feed, symbol in sorted(keys)]
    return ", ".join(names[:_KEYS_TOLD]) + (f" and {len(names) - _KEYS_TOLD} more" if len(names) > _KEYS_TOLD else "")
