"""Session of one client: subscriptions, queue, timeouts. Times are arguments (monotonic seconds)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from alphapulse import metrics
from alphapulse.errors import RequestRefused
from gateway import protocol
from gateway.access.errors import AccessRefused
from gateway.access.visitor import Visitor
from gateway.close_codes import MISUSE, SLOW, CloseCode
from gateway.feeds import Feed
from gateway.outbox import Outbox, Source
from gateway.protocol import Subscription
from gateway.requests import ClientMessage, Ping, Subscribe, Unsubscribe, parse
from gateway.wire import Wire

FRAME_SIZE: Final = 64 * 1024
"""Characters joined into one WebSocket message; far below the default limit of client libraries (1 MiB)."""
MAX_SUBSCRIPTIONS: Final = 1000
MAX_REFUSED: Final = 100
"""This many refused messages in a row close the connection."""
STALL_SECONDS: Final = 10.0
"""A conflated client that could not be written to for this long is disconnected."""


class Switchboard(Protocol):
    """Interface of :class:`gateway.fanout.Hub` to sessions."""

    def feed(self, subscription: Subscription) -> Feed[object]:
        """Return the feed.

        Raises:
            UnknownInstrument: no such instrument.
        """
        ...

    @property
    def clock(self) -> Callable[[], int]:
        """Nanoseconds since the Unix epoch."""
        ...

    def waiting(self, session: Session) -> None:
        """Write the session out at the end of this tick."""
        ...

    def frame(self, texts: tuple[str, ...]) -> bytes:
        """Return the texts as one frame, one per line."""
        ...


class Session:
    """Server side of one client.

    Args:
        queue_bytes: maximum queue of the client before it is conflated.
        stall_seconds: how long a conflated client may accept nothing.
        visitor: who the client is; None: anyone, who may see everything.

    Attributes:
        last_written: time of the last write (monotonic seconds).
    """

    def __init__(
        self,
        board: Switchboard,
        wire: Wire,
        *,
        queue_bytes: int,
        now: float,
        stall_seconds: float = STALL_SECONDS,
        visitor: Visitor | None = None,
    ) -> None:
        self._board = board
        self._wire = wire
        self._visitor = visitor
        self._outbox = Outbox[str](queue_bytes)
        self._feeds: dict[Subscription, Feed[object]] = {}
        self._stall_seconds = stall_seconds
        self._refused_in_row = 0
        self._blocked_since: float | None = None
        self._ended = False
        self.last_written = now

    @property
    def subscriptions(self) -> int:
        return len(self._feeds)

    @property
    def conflated(self) -> bool:
        """Whether messages were dropped and their snapshots are not written yet."""
        return self._outbox.conflated

    @property
    def stuck(self) -> bool:
        """Whether messages are queued that the connection does not accept."""
        return bool(self._outbox)

    # --- what the client says -----------------------------------------------------------------------------

    def receive(self, text: str | None) -> None:
        """Handle one message of the client (None: a binary one); every message is answered."""
        try:
            if self._visitor is not None:
                self._visitor.message()
            self._act(parse(text))
        except RequestRefused as refused:
            metrics.GATEWAY_REFUSED.labels(code=refused.code).inc()
            self.answer(protocol.error(refused))
            self._refused_in_row += 1
            if self._refused_in_row >= MAX_REFUSED:
                self.close(MISUSE)
        else:
            self._refused_in_row = 0

    def _act(self, message: ClientMessage) -> None:
        match message:
            case Ping():
                self.answer(protocol.pong(message.id, self._board.clock()))
            case Subscribe():
                self._subscribe(message)
            case Unsubscribe():
                self._leave(message.subscription)
                self.answer(protocol.unsubscribed(message.id, message.subscription))

    def _subscribe(self, message: Subscribe) -> None:
        subscription = message.subscription
        feed = self._feeds.get(subscription)
        if feed is None:
            if len(self._feeds) >= MAX_SUBSCRIPTIONS:
                raise RequestRefused(
                    "too_many_subscriptions",
                    f"at most {MAX_SUBSCRIPTIONS} subscriptions per connection",
                    request_id=message.id,
                )
            try:
                if self._visitor is not None:
                    self._visitor.stream(subscription.channel, subscription.venue)
                feed = self._board.feed(subscription)
            except RequestRefused as refused:
                refused.request_id = message.id
                raise
        self.answer(protocol.subscribed(message.id, subscription))
        self._outbox.restart(feed)
        if subscription not in self._feeds:
            self._feeds[subscription] = feed
            feed.subscribers[self] = None
            metrics.GATEWAY_SUBSCRIPTIONS.labels(channel=subscription.channel).inc()

    def _leave(self, subscription: Subscription) -> None:
        feed = self._feeds.pop(subscription, None)
        if feed is not None:
            feed.subscribers.pop(self, None)
            self._outbox.forget(feed)
            metrics.GATEWAY_SUBSCRIPTIONS.labels(channel=subscription.channel).dec()

    # --- what the client gets -----------------------------------------------------------------------------

    def answer(self, text: str) -> None:
        """Queue a message that belongs to no feed; a client with too many unread ones is disconnected."""
        self._queued(self._outbox.answer(text))
        if self._outbox.overflowing:
            self.close(SLOW)

    def deliver(self, source: Source[str], text: str) -> None:
        """Queue a message of a feed, conflating if necessary."""
        # Not by _queued(): one call less for each message and client.
        if conflated := self._outbox.put(source, text):
            metrics.GATEWAY_CONFLATIONS.inc(conflated)
        self._board.waiting(self)

    def _queued(self, conflated: int) -> None:
        if conflated:
            metrics.GATEWAY_CONFLATIONS.inc(conflated)
        self._board.waiting(self)

    def flush(self, now: float) -> tuple[int, int, int]:
        """Write what the connection accepts; return (messages, frames, bytes) written."""
        messages = frames = size = 0
        wire, outbox = self._wire, self._outbox
        while outbox and wire.can_write:
            texts = outbox.take(FRAME_SIZE)
            if not texts:  # a feed without messages yet
                break
            frame = self._board.frame(texts)
            wire.write(frame)
            messages += len(texts)
            frames += 1
            size += len(frame)
        if frames:
            self.last_written = now
            self._blocked_since = None
        if outbox and self._blocked_since is None:
            self._blocked_since = now
        return messages, frames, size

    def heartbeat(self, time_ns: int) -> None:
        """Queue a heartbeat: nothing else was written for a while."""
        self.answer(protocol.heartbeat(time_ns))

    def announce_shutdown(self) -> None:
        """Queue the announcement that the gateway stops."""
        self.answer(protocol.shutdown())

    def check(self, now: float) -> None:
        """Disconnect a client that accepted nothing for too long or lost its access; call it about once a second."""
        if self._visitor is not None:
            try:
                self._visitor.check()
            except AccessRefused as refusal:
                self.close(refusal.close_code)
                return
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
        if self._visitor is not None:
            self._visitor.leave()
        for subscription in list(self._feeds):
            self._leave(subscription)
