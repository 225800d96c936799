"""What sessions of both protocol versions have in common: queue, writes, conflation, limits and end of a connection.

Times are arguments (monotonic seconds).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final, Generic, Protocol

from alphapulse import metrics
from gateway.close_codes import MISUSE, SLOW, CloseCode
from gateway.outbox import Message, Outbox, Source
from gateway.wire import Wire

FRAME_SIZE: Final = 64 * 1024
"""Length joined into one WebSocket message; far below the default limit of client libraries (1 MiB)."""
MAX_SUBSCRIPTIONS: Final = 1000
MAX_REFUSED: Final = 100
"""This many refused messages in a row close the connection."""
STALL_SECONDS: Final = 10.0
"""A conflated client that could not be written to for this long is disconnected."""


class Schedule(Protocol):
    """Interface of :class:`gateway.fanout.Hub` to sessions of both versions."""

    @property
    def clock(self) -> Callable[[], int]:
        """Nanoseconds since the Unix epoch."""
        ...

    def waiting(self, session: Any) -> None:
        """Write the session out at the end of this tick."""
        ...


class Delivery(ABC, Generic[Message]):
    """Sending side of a session.

    Args:
        queue_bytes: maximum queue of the client before it is conflated.
        stall_seconds: how long a conflated client may accept nothing.

    Attributes:
        last_written: time of the last write (monotonic seconds).
    """

    def __init__(self, schedule: Schedule, wire: Wire, *, queue_bytes: int, now: float, stall_seconds: float) -> None:
        self._schedule = schedule
        self._wire = wire
        self._outbox: Outbox[Message] = Outbox(queue_bytes)
        self._stall_seconds = stall_seconds
        self._refused_in_row = 0
        self._blocked_since: float | None = None
        self._ended = False
        self._due = False  # it is written out at the end of this tick
        self.last_written = now

    @property
    def conflated(self) -> bool:
        """Whether messages were dropped and their snapshots are not written yet."""
        return self._outbox.conflated

    @property
    def stuck(self) -> bool:
        """Whether messages are queued that the connection does not accept."""
        return bool(self._outbox)

    @abstractmethod
    def _framed(self, messages: tuple[Message, ...]) -> bytes:
        """Return messages as one frame."""

    @abstractmethod
    def _leave_all(self) -> None:
        """End all subscriptions."""

    def deliver(self, source: Source[Message], message: Message) -> None:
        """Queue a message of a feed, conflating if necessary."""
        # Not by _queued(): one call less for each message and client.
        if conflated := self._outbox.put(source, message):
            metrics.GATEWAY_CONFLATIONS.inc(conflated)
        if not self._due:
            self._due = True
            self._schedule.waiting(self)

    def _send(self, message: Message) -> None:
        """Queue a message that belongs to no feed; a client with too many unread ones is disconnected."""
        self._queued(self._outbox.answer(message))
        if self._outbox.overflowing:
            self.close(SLOW)

    def _queued(self, conflated: int) -> None:
        if conflated:
            metrics.GATEWAY_CONFLATIONS.inc(conflated)
        self._schedule.waiting(self)

    def _count_refused(self, code: str) -> None:
        """Count a refused message; too many in a row close the connection."""
        metrics.GATEWAY_REFUSED.labels(code=code).inc()
        self._refused_in_row += 1
        if self._refused_in_row >= MAX_REFUSED:
            self.close(MISUSE)

    def flush(self, now: float) -> tuple[int, int, int]:
        """Write what the connection accepts; return (messages, frames, bytes) written."""
        self._due = False
        count = frames = size = 0
        wire, outbox = self._wire, self._outbox
        while outbox.waiting or outbox:
            taken = outbox.take(FRAME_SIZE) if wire.can_write else ()
            if not taken:  # it cannot be written to, or a feed has no messages yet
                if self._blocked_since is None or frames:
                    self._blocked_since = now
                break
            frame = self._framed(taken)
            wire.write(frame)
            count += len(taken)
            frames += 1
            size += len(frame)
        else:
            self._blocked_since = None
        if frames:
            self.last_written = now
        return count, frames, size

    def _check_stalled(self, now: float) -> None:
        """Disconnect a client that accepted nothing for too long."""
        blocked = self._blocked_since
        if blocked is not None and self._outbox.conflated and now - blocked >= self._stall_seconds:
            self.close(SLOW)

    def close(self, code: CloseCode) -> None:
        """Leave all feeds and close the connection, once; the queue is dropped."""
        if self._ended:
            return
        metrics.GATEWAY_DISCONNECTS.labels(code=str(code.number)).inc()
        self._wire.close(code)
        self.end()

    def end(self) -> None:
        """Leave all feeds: the connection is closed."""
        self._ended = True
        self._leave_all()
