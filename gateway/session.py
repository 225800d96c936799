"""Session of one client of protocol version 1: its messages and subscriptions. Times are monotonic seconds."""

from __future__ import annotations

from typing import Protocol

from alphapulse import metrics
from alphapulse.errors import RequestRefused
from gateway import protocol
from gateway.access.errors import AccessRefused
from gateway.access.visitor import Visitor
from gateway.delivery import MAX_SUBSCRIPTIONS, STALL_SECONDS, Delivery, Schedule
from gateway.feeds import Feed
from gateway.protocol import Subscription
from gateway.requests import ClientMessage, Ping, Subscribe, Unsubscribe, parse
from gateway.wire import Wire


class Switchboard(Schedule, Protocol):
    """Interface of :class:`gateway.fanout.Hub` to sessions."""

    def feed(self, subscription: Subscription) -> Feed[object]:
        """Return the feed.

        Raises:
            UnknownInstrument: no such instrument.
        """
        ...

    def frame(self, texts: tuple[str, ...]) -> bytes:
        """Return the texts as one frame, one per line."""
        ...


class Session(Delivery[str]):
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
        super().__init__(board, wire, queue_bytes=queue_bytes, now=now, stall_seconds=stall_seconds)
        self._board = board
        self._visitor = visitor
        self._feeds: dict[Subscription, Feed[object]] = {}

    @property
    def subscriptions(self) -> int:
        return len(self._feeds)

    # --- what the client says -----------------------------------------------------------------------------

    def receive(self, text: str | None) -> None:
        """Handle one message of the client (None: a binary one); every message is answered."""
        try:
            if self._visitor is not None:
                self._visitor.message()
            self._act(parse(text))
        except RequestRefused as refused:
            self.answer(protocol.error(refused))
            self._count_refused(refused.code)
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
        self._send(text)

    def _framed(self, messages: tuple[str, ...]) -> bytes:
        return self._board.frame(messages)

    def heartbeat(self, time_ns: int) -> None:
        """Queue a heartbeat: nothing else was written for a while."""
        self.answer(protocol.heartbeat(time_ns))

    def announce_shutdown(self, reconnect_ms: tuple[int, int]) -> None:
        """Queue the announcement that the gateway stops; this version does not say when to come back."""
        self.answer(protocol.shutdown())

    def check(self, now: float) -> None:
        """Disconnect a client that accepted nothing for too long or lost its access; call it about once a second."""
        if self._visitor is not None:
            try:
                self._visitor.check()
            except AccessRefused as refusal:
                self.close(refusal.close_code)
                return
        self._check_stalled(now)

    def end(self) -> None:
        """Leave all feeds: the connection is closed."""
        if self._visitor is not None:
            self._visitor.leave()
        super().end()

    def _leave_all(self) -> None:
        for subscription in list(self._feeds):
            self._leave(subscription)
