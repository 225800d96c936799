"""One client's side of the stream without sockets: WebSocket messages in, events and WebSocket messages out.

The layer that does the I/O reports what happened (:meth:`Session.opened`, :meth:`~Session.receive`,
:meth:`~Session.closed`, :meth:`~Session.tick`), handles the events that these return, and sends what
:meth:`~Session.data_to_send` returns. Nothing here does I/O; the clock is given. A session lives through all
reconnections of its client.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from alphapulse.client.book import Book
from alphapulse.client.clock import GatewayClock
from alphapulse.client.errors import Disconnected, OperationRefused, ProtocolError, SubscriptionOverlap
from alphapulse.client.events import (
    Answered,
    Authenticated,
    Confirmed,
    Delivered,
    Event,
    Failed,
    HangUp,
    Ready,
    Refused,
    TokenNeeded,
)
from alphapulse.client.messages import (
    BOOK_CHANNELS,
    AlertsSnapshot,
    BookDelta,
    BookSnapshot,
    FeedMessage,
    Gap,
    TradesSnapshot,
    feed_of,
    read,
)
from alphapulse.client.reconnecting import BROKEN, DEAD, UNAUTHORIZED, End
from alphapulse.client.subscriptions import Feed, Request, Subscription
from alphapulse.client.wire import Encoding, decode, encode
from alphapulse.shown import shown

VERSION: Final = 2
DEFAULT_HEARTBEAT: Final = 5.0
"""Seconds, until hello tells."""
DEAD_HEARTBEATS: Final = 3
"""Without any message for this many heartbeats the connection is dead."""
AGAIN_AFTER: Final = 2.0
"""A feed whose book was found wrong is subscribed again no more often than this (s)."""
REFUSED_RETRY: Final = 5.0
"""An accepted subscription that the gateway refuses after a reconnection is tried again after this (s)."""


class Session:
    """Protocol state of a client.

    Args:
        encoding: of all WebSocket messages, both ways.
        clock: seconds, monotonic.

    Attributes:
        counters: ``messages``, ``gaps``, ``unreadable`` so far.
        max_book_age: µs, of the latest hello; None before it.
    """

    def __init__(self, *, encoding: Encoding = "json", clock: Callable[[], float] = time.monotonic) -> None:
        self.encoding: Encoding = encoding
        self.counters: Counter[str] = Counter()
        self.max_book_age: int | None = None
        self._clock = clock
        self._gateway_clock = GatewayClock()
        self._subscriptions: dict[int, Subscription] = {}
        self._routes: dict[tuple[str, str | None, str | None], Subscription | None] = {}
        self._outbox: list[dict[str, Any]] = []
        self._next_id = 1
        self._asked: dict[int, tuple[Subscription, Feed | None]] = {}
        self._snapshots: dict[int, tuple[dict[str, Any], list[FeedMessage]]] = {}
        self._established = False
        self._connected = False
        self._heartbeat = DEFAULT_HEARTBEAT
        self._started = self._hello_at = self._last_received = self._pinged = 0.0
        self._ping_id: int | None = None
        self._auth_id: int | None = None
        self._spread: tuple[float, float] | None = None

    # --- for the user --------------------------------------------------------------------------------------

    def gateway_time(self) -> int | None:
        """Return the gateway's clock now (µs since the epoch); None before its first hello."""
        return self._gateway_clock.at(self._clock())

    def subscribe(self, request: Request) -> int:
        """Add a subscription, to be kept over all reconnections; return its key.

        Raises:
            SubscriptionOverlap: another subscription could have one of its feeds.
        """
        for other in self._subscriptions.values():
            if request.overlaps(other.request):
                raise SubscriptionOverlap(f"{request}: overlaps the subscription to {other.request}")
        subscription = Subscription(self._new_id(), request)
        self._subscriptions[subscription.key] = subscription
        self._routes.clear()
        if self._established:
            self._ask(subscription)
        return subscription.key

    def unsubscribe(self, key: int) -> None:
        """End a subscription; nothing of it is delivered any more. An unknown key is ignored."""
        subscription = self._subscriptions.pop(key, None)
        if subscription is None:
            return
        self._routes.clear()
        self._asked = {request: asked for request, asked in self._asked.items() if asked[0] is not subscription}
        if self._established:
            self._send(subscription.request.operation("unsubscribe"))

    def book(self, channel: str, venue: str, symbol: str) -> Book | None:
        """Return the kept book of a subscribed feed; None if no subscription covers it."""
        if channel not in BOOK_CHANNELS or (subscription := self._route(channel, venue, symbol)) is None:
            return None
        return self._feed(subscription, venue, symbol).book

    def request_snapshot(self, request: Request) -> int:
        """Ask for the present state of feeds, subscribed or not; :class:`Answered` or :class:`Failed` has the id."""
        request_id = self._new_id()
        operation = request.operation("snapshot", id=request_id) | request.options
        self._snapshots[request_id] = (operation, [])
        if self._established:
            self._outbox.append(operation)
        return request_id

    def authenticate(self, token: str) -> None:
        """Answer :class:`TokenNeeded`. A token of an earlier connection is not sent on a new one."""
        if self._connected:
            self._auth_id = self._send({"op": "auth", "token": token})

    # --- for the I/O ---------------------------------------------------------------------------------------

    def opened(self, started: float) -> None:
        """The connection is up; it was begun at ``started`` (the session's clock)."""
        self._connected = True
        self._started = started
        self._last_received = self._pinged = self._clock()
        self._hello_at = 0.0
        self._spread = None

    def receive(self, data: str | bytes) -> list[Event]:
        """Take one WebSocket message."""
        self._last_received = self._clock()
        events: list[Event] = []
        try:
            messages = decode(data, self.encoding)
        except ProtocolError as error:
            # Which feed it was of is not to be told: all continue from where they are on a new connection.
            self.counters["unreadable"] += 1
            return [HangUp(BROKEN, str(error))]
        for fields in messages:
            self.counters["messages"] += 1
            try:
                self._take(fields, events)
            except ProtocolError as error:
                self.counters["unreadable"] += 1
                subscription = self._route(*error.feed) if error.feed is not None else None
                if error.feed is None or subscription is None:
                    events.append(HangUp(BROKEN, str(error)))
                    break
                self._found_wrong(subscription, self._feed(subscription, *error.feed[1:]), "unreadable", events)
        return events

    def tick(self, *, reading: bool = True) -> list[Event]:
        """Let time pass: pings, repeated requests, the watch on a silent connection. Call it some times a second.

        Args:
            reading: messages are read; False while the user is slower than the gateway, when silence tells nothing.
        """
        now = self._clock()
        if not self._connected:
            return []
        if not reading:
            self._last_received = now
        if now - self._last_received > DEAD_HEARTBEATS * self._heartbeat:
            return [HangUp(DEAD, f"no message for {now - self._last_received:.1f} s")]
        if not self._established:
            return []
        if now - self._pinged >= self._heartbeat:
            self._pinged = now
            self._ping_id = self._send({"op": "ping"})
        for subscription in self._subscriptions.values():
            if subscription.state == "refused" and now >= subscription.retry_at:
                self._ask(subscription)
            elif subscription.state == "confirmed":
                for feed in subscription.feeds.values():
                    if feed.due and now - feed.asked >= AGAIN_AFTER:
                        self._ask_again(subscription, feed)
        return []

    def closed(self, code: int = 1006, reason: str = "") -> tuple[End, list[Event]]:
        """The connection has ended: return how, for :class:`~alphapulse.client.reconnecting.Reconnecting`."""
        lived = self._clock() - self._hello_at if self._hello_at else 0.0
        self._connected = self._established = False
        self._ping_id = None
        self._outbox.clear()
        self._asked.clear()
        events: list[Event] = [
            Failed(asked, Disconnected("the connection was lost before the answer")) for asked in self._snapshots
        ]
        self._snapshots.clear()
        for subscription in self._subscriptions.values():
            subscription.state = "waiting"
            for feed in subscription.feeds.values():
                feed.interrupted = True
                feed.due = False
                if feed.book is not None:
                    feed.book.disconnected()
        return End(code, reason, lived=lived, spread=self._spread), events

    def data_to_send(self) -> list[str | bytes]:
        """Return the WebSocket messages to send now, in order."""
        messages, self._outbox = self._outbox, []
        return [encode(message, self.encoding) for message in messages]

    # --- messages of the gateway ---------------------------------------------------------------------------

    def _take(self, fields: dict[str, Any], events: list[Event]) -> None:
        kind = fields["type"]
        if "channel" in fields and kind not in {"subscribed", "unsubscribed", "error"}:
            self._take_feed(fields, events)
            return
        try:
            match kind:
                case "hello":
                    self._take_hello(fields, events)
                case "subscribed":
                    self._take_subscribed(fields, events)
                case "error":
                    self._take_error(fields, events)
                case "pong":
                    self._take_pong(fields)
                case "done":
                    if (asked := self._snapshots.pop(fields["id"], None)) is not None:
                        events.append(Answered(fields["id"], tuple(asked[1])))
                case "unsubscribed" if fields["id"] is None:
                    self._take_withdrawn(fields, events)
                case _:
                    self._take_notice(kind, fields, events)
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f"{kind}: {error!r} in {shown(fields, 200)}") from error

    def _take_notice(self, kind: str, fields: dict[str, Any], events: list[Event]) -> None:
        match kind:
            case "authenticated":
                events.append(Authenticated(fields["identity"], tuple(fields["scopes"]), fields["expires"]))
                self._establish()
            case "token_expiring":
                events.append(TokenNeeded(fields["expires"]))
            case "shutdown":
                self._take_shutdown(fields)
            case _:
                # heartbeat, unsubscribed, and what later versions add.
                pass

    def _take_hello(self, fields: dict[str, Any], events: list[Event]) -> None:
        if fields["version"] != VERSION:
            raise ProtocolError(f"hello: version {fields['version']}; this client speaks version {VERSION}")
        now = self._clock()
        self._hello_at = now
        self._heartbeat = max(0.25, fields["heartbeat_ms"] / 1000)
        self.max_book_age = fields["max_book_age_ms"] * 1000
        self._gateway_clock.heard(fields["time"], self._started, now)
        events.append(Ready(fields["gateway"]))
        if fields["access"] == "required":
            events.append(TokenNeeded(None))
        else:
            self._establish()

    def _take_pong(self, fields: dict[str, Any]) -> None:
        if fields["id"] == self._ping_id:
            self._ping_id = None
            self._gateway_clock.heard(fields["time"], self._pinged, self._clock())

    def _take_shutdown(self, fields: dict[str, Any]) -> None:
        if (spread := fields.get("reconnect_after_ms")) is not None:
            least, most = spread
            self._spread = (least / 1000, most / 1000)

    def _take_subscribed(self, fields: dict[str, Any], events: list[Event]) -> None:
        asked = self._asked.get(fields["id"])
        if asked is None:
            return
        subscription = asked[0]
        subscription.state = "confirmed"
        subscription.ever_confirmed = True
        for named in fields["feeds"]:
            feed = self._feed(subscription, named.get("venue"), named.get("symbol"))
            feed.asked = self._clock()
            if not feed.interrupted:
                continue
            feed.interrupted = False
            if named.get("recovered") is True:
                if feed.book is not None:
                    feed.book.continued()
                continue
            self._begin_anew(subscription, feed, "not_recovered", events)
        events.append(Confirmed(subscription.key))

    def _take_withdrawn(self, fields: dict[str, Any], events: list[Event]) -> None:
        """Feeds that the latest credentials do not cover: nothing of them follows."""
        for named in fields["feeds"]:
            subscription = self._route(fields["channel"], named.get("venue"), named.get("symbol"))
            if subscription is not None:
                feed = self._feed(subscription, named.get("venue"), named.get("symbol"))
                self._begin_anew(subscription, feed, "forbidden", events)

    def _take_error(self, fields: dict[str, Any], events: list[Event]) -> None:
        error = OperationRefused(fields["code"], fields["message"])
        request_id = fields["id"]
        if self._snapshots.pop(request_id, None) is not None:
            events.append(Failed(request_id, error))
            return
        if request_id is not None and request_id == self._auth_id:
            # It would be closed with this code anyway, when the time for credentials is over.
            events.append(HangUp(UNAUTHORIZED, str(error)))
            return
        asked = self._asked.pop(request_id, None)
        if asked is None:
            return
        subscription, feed = asked
        wait = REFUSED_RETRY if (after := fields.get("retry_after_ms")) is None else after / 1000
        if feed is not None:
            feed.asked, feed.due = self._clock() + wait - AGAIN_AFTER, True
        elif error.code == "rate_limited" or (subscription.ever_confirmed and error.code == "unknown_instrument"):
            # After its restart a gateway may not know yet what was there before.
            subscription.state, subscription.retry_at = "refused", self._clock() + wait
        else:
            self.unsubscribe(subscription.key)
            events.append(Refused(subscription.key, error))

    def _take_feed(self, fields: dict[str, Any], events: list[Event]) -> None:
        if fields.get("id") is not None:
            # A snapshot on demand, which changes no state.
            asked = self._snapshots.get(fields["id"])
            if asked is not None and (answer := read(fields)) is not None:
                asked[1].append(answer)
            return
        channel, venue, symbol = feed_of(fields)
        subscription = self._route(channel, venue, symbol)
        if subscription is None:
            # In flight while the user unsubscribed.
            return
        message = read(fields)
        if message is None:
            return
        feed = self._feed(subscription, venue, symbol)
        if isinstance(message, (BookSnapshot, BookDelta)) and feed.book is not None:
            outcome = feed.book.apply(message)
            if outcome == "ignored":
                return
            if outcome != "applied":
                self._found_wrong(subscription, feed, outcome, events)
                return
            if isinstance(message, BookSnapshot):
                feed.due = False
        elif isinstance(message, (TradesSnapshot, AlertsSnapshot)) and message.gap:
            self._gap(subscription, feed, "dropped", events)
        feed.passed(message)
        events.append(Delivered(subscription.key, message))

    # --- feeds ---------------------------------------------------------------------------------------------

    def _found_wrong(self, subscription: Subscription, feed: Feed, reason: str, events: list[Event]) -> None:
        self._begin_anew(subscription, feed, reason, events)
        if self._clock() - feed.asked >= AGAIN_AFTER:
            self._ask_again(subscription, feed)
        else:
            feed.due = True

    def _begin_anew(self, subscription: Subscription, feed: Feed, reason: str, events: list[Event]) -> None:
        feed.lost()
        if feed.book is not None:
            feed.book.doubt(reason)
        self._gap(subscription, feed, reason, events)

    def _gap(self, subscription: Subscription, feed: Feed, reason: str, events: list[Event]) -> None:
        self.counters["gaps"] += 1
        gap = Gap(channel=feed.channel, venue=feed.venue, symbol=feed.symbol, reason=reason)
        events.append(Delivered(subscription.key, gap))

    def _route(self, channel: str, venue: str | None, symbol: str | None) -> Subscription | None:
        name = (channel, venue, symbol)
        if name not in self._routes:
            self._routes[name] = next(
                (
                    each
                    for each in self._subscriptions.values()
                    if each.request.channel == channel and each.request.covers(venue, symbol)
                ),
                None,
            )
        return self._routes[name]

    def _feed(self, subscription: Subscription, venue: str | None, symbol: str | None) -> Feed:
        feed = subscription.feeds.get((venue, symbol))
        if feed is None:
            book = None
            if subscription.has_books and venue is not None and symbol is not None:
                book = Book(venue, symbol, self.gateway_time, lambda: self.max_book_age)
            feed = Feed(subscription.request.channel, venue, symbol, book, self._clock())
            subscription.feeds[venue, symbol] = feed
        return feed

    # --- operations ----------------------------------------------------------------------------------------

    def _establish(self) -> None:
        if self._established:
            return
        self._established = True
        for subscription in self._subscriptions.values():
            self._ask(subscription)
        self._outbox += [operation for operation, _ in self._snapshots.values()]

    def _ask(self, subscription: Subscription) -> None:
        subscription.state = "asked"
        for operation in subscription.operations():
            self._asked[self._send(operation)] = (subscription, None)

    def _ask_again(self, subscription: Subscription, feed: Feed) -> None:
        feed.asked = self._clock()
        feed.due = False
        self._asked[self._send(subscription.again(feed))] = (subscription, feed)

    def _send(self, operation: dict[str, Any]) -> int:
        request_id = self._new_id()
        self._outbox.append(operation | {"id": request_id})
        return request_id

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1
