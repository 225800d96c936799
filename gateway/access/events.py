"""Audit events on ``ops.events``: queued without waiting, sent by a task."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from alphapulse import logs, metrics
from alphapulse.errors import BrokerError
from gateway.access.limits import Buckets
from gateway.event_sender import EventSender
from schemas.records import Event

MAX_QUEUED: Final = 1_000
EVENTS_PER_SECOND: Final = 20.0
EVENTS_BURST: Final = 500
"""Whoever sends wrong credentials from many addresses must not fill the topic; the log has the rest."""


class EventPublisher:
    """Sends events; drops and counts those beyond its bounds, and those the broker does not take.

    The log has all of them: these records are a copy, and clients do not wait for it.

    Args:
        sender: waits for the broker.
        now: monotonic seconds.
    """

    def __init__(self, sender: EventSender, now: Callable[[], float] = time.monotonic) -> None:
        self._sender = sender
        self._now = now
        self._queue: asyncio.Queue[Event] = asyncio.Queue(MAX_QUEUED)
        self._pace: Buckets[str] = Buckets(EVENTS_PER_SECOND, EVENTS_BURST)
        self._log = logs.get("gateway.access")

    def publish(self, event: Event) -> None:
        """Queue an event."""
        if self._queue.full() or not self._pace.spend("events", self._now()).granted:
            metrics.GATEWAY_AUDIT_DROPPED.inc()
            return
        self._queue.put_nowait(event)

    async def send(self) -> None:
        """Send what is queued, for ever."""
        while True:
            await self._send(await self._queue.get())

    async def drain(self) -> None:
        """Send what is queued now."""
        while not self._queue.empty():
            await self._send(self._queue.get_nowait())

    async def _send(self, event: Event) -> None:
        try:
            await self._sender.publish(event)
        except Exception as error:  # noqa: BLE001 nobody waits for the task: it would end unseen, and with it all events
            metrics.GATEWAY_AUDIT_DROPPED.inc()
            unexpected = not isinstance(error, BrokerError)
            reason = f"{type(error).__name__}: {error}" if unexpected else str(error)
            self._log.warning("audit event not published", kind=event.kind, reason=reason, exc_info=unexpected)


DRAIN_SECONDS: Final = 1.0


@asynccontextmanager
async def publishing(sender: EventSender) -> AsyncIterator[EventPublisher]:
    """Send events until the end of the block; the last ones get :data:`DRAIN_SECONDS`."""
    publisher = EventPublisher(sender)
    sending = asyncio.create_task(publisher.send())
    try:
        yield publisher
    finally:
        sending.cancel()
        try:
            await asyncio.wait_for(publisher.drain(), DRAIN_SECONDS)
        except TimeoutError:
            logs.get("gateway.access").warning("audit events not published", reason="the broker does not answer")
