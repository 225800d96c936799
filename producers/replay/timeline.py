"""The timeline: the recording's lines in their order, each at its time."""

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
"""How long the timeline waits at an answer that nobody asked for."""

_POLL_SECONDS = 0.1  # the gate's quiet time passes without an event
_BREATH = 32  # frames between two turns of the loop: replies and REST answers must not wait for a socket to fill


_KEYS_TOLD = 5  # subscriptions that a status names


class Audience(Protocol):
    """Who gets the frames."""

    @property
    def subscribed(self) -> Collection[Key]:
        """All subscriptions there are."""
        ...

    async def deliver(self, frame: bytes, keys: tuple[Key, ...]) -> bool:
        """Send ``frame`` to whom it concerns; return whether anybody got it."""
        ...

    def lost(self, frames: int) -> None:
        """Take note that the recorder lost ``frames`` before the next one."""
        ...

    async def changed(self, seconds: float) -> None:
        """Return when a client came, went or subscribed, at the latest after ``seconds``."""
        ...


class Timeline:
    """Sends a recording.

    Attributes:
        frames_sent: lines passed, REST answers included.
        bytes_sent: of their frames.
        finished: whether the last one is passed.
        waiting: what it stands still for; None: it moves.
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
        """Send all lines; what the survey told as a fault is sent like the rest.

        Raises:
            RecordingError: a fault that the survey did not see: the file changed since.
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
        except FrameRefused:  # told by the survey; nobody subscribes to it, and it goes out all the same
            shape = FrameClass()
        if not self._credit.left(self.bytes_sent):
            self.waiting = "credit"
            await self._credit.wait(self.bytes_sent)
        await self._wait_for_time(line)
        self.waiting = None
        # The clients come last: they may have gone while the frame waited for the rest.
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
