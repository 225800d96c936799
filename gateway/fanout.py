"""Fan-out from records to clients: feeds by subscription, sessions, one write per client and loop tick."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, Protocol

from alphapulse import metrics
from alphapulse.clock import Clock
from gateway import close_codes, protocol
from gateway.access.visitor import Visitor
from gateway.channels import ARBITRAGE, BOOK, CHANNEL_OF, CHANNELS
from gateway.close_codes import RESTART, CloseCode
from gateway.delivery import STALL_SECONDS
from gateway.feeds import Feed
from gateway.protocol import Subscription
from gateway.session import Session
from gateway.state import MarketState, ShownInstrument
from gateway.wire import Wire, text_frame
from schemas.records import Depth, Record, Trade

HEARTBEAT_SECONDS: Final = 5.0
"""Maximum silence towards a client, seconds."""

RECONNECT_MS: Final = (5_000, 30_000)
"""Between these, in ms, clients reconnect after a shutdown, unless the configuration says otherwise."""

EXPIRY_SPACING: Final = 0.05
"""Minimum interval of the check for stale books, seconds; books that become stale in between are reported together."""

_STANDINGS: Final = ("good", "stale", "invalid")
"""Counts of :class:`gateway.state.VenueStanding` that the metrics tell."""


class Timer(Protocol):
    """A scheduled call."""

    def cancel(self) -> None:
        """Cancel the call."""
        ...


class Scheduler(Protocol):
    """Scheduler; times are monotonic seconds. :class:`LoopScheduler` outside of tests."""

    def now(self) -> float:
        """Return the time."""
        ...

    def soon(self, call: Callable[[], None]) -> None:
        """Run a function after the caller has finished."""
        ...

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Run a function after a delay."""
        ...


class LoopScheduler:
    """Scheduler on the running event loop."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def soon(self, call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(call)

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(seconds, call)


class HubSession(Protocol):
    """A client, as seen by the hub: one class per version of the protocol."""

    last_written: float

    @property
    def subscriptions(self) -> int:
        """Number of feeds."""
        ...

    @property
    def stuck(self) -> bool:
        """Whether messages are queued that the connection does not accept."""
        ...

    @property
    def conflated(self) -> bool:
        """Whether messages were dropped and their snapshots are not written yet."""
        ...

    def flush(self, now: float) -> tuple[int, int, int]:
        """Write what the connection accepts; return (messages, frames, bytes) written."""
        ...

    def heartbeat(self, time_ns: int) -> None:
        """Queue a heartbeat."""
        ...

    def announce_shutdown(self, reconnect_ms: tuple[int, int]) -> None:
        """Queue the announcement that the gateway stops; clients come back at a random time between these, in ms."""
        ...

    def check(self, now: float) -> None:
        """Enforce the session's limits; called about once a second."""
        ...

    def close(self, code: CloseCode) -> None:
        """Close the connection."""
        ...

    def end(self) -> None:
        """Leave all feeds: the connection is closed."""
        ...


class RecordListener(Protocol):
    """Takes the records of a hub: the feeds of another version of the protocol."""

    def taken(self, record: Record, value: bytes) -> None:
        """Publish a record that the state has just applied, and its bytes (empty: not known)."""
        ...

    def lost(self, topic: str) -> None:
        """Publish that records of ``topic`` are missing at this point: lost by the broker, or refused."""
        ...

    def judged(self, instrument: ShownInstrument) -> None:
        """Publish that a book became stale without a record."""
        ...

    def opportunities_changed(self, symbol: str) -> None:
        """Publish the open opportunities of a symbol: one of its books became valid or ceased to be."""
        ...

    def audience(self, record: Record) -> int:
        """Return how many subscriptions concern ``record``."""
        ...

    def check(self, now_ns: int) -> None:
        """Publish what depends on the time; called about once a second."""
        ...


class Hub:
    """All feeds and all sessions.

    Feeds only queue; the queues are written out once per loop tick. So all messages that one batch of records causes
    for a client become one frame and one system call, and clients that wait for the same messages share its bytes.

    Args:
        clock: nanoseconds since the Unix epoch, for the ages of books.
        reconnect_ms: told to clients at the stop, see :data:`RECONNECT_MS`.
        schedule: by default the running loop.

    Attributes:
        live: whether the state is current. A gateway that has just started reads the topics' tails first; until then
            there are no clients and nothing is sent.
        live_since: since when (ns); None: it is not.
        stopping: whether clients are being disconnected.
        listeners: get every record that has an effect.
    """

    def __init__(
        self,
        state: MarketState,
        *,
        queue_bytes: int,
        clock: Callable[[], int] | None = None,
        stall_seconds: float = STALL_SECONDS,
        reconnect_ms: tuple[int, int] = RECONNECT_MS,
        schedule: Scheduler | None = None,
    ) -> None:
        self._state = state
        self.queue_bytes = queue_bytes
        self.stall_seconds = stall_seconds
        self._reconnect_ms = reconnect_ms
        self.schedule: Scheduler = schedule if schedule is not None else LoopScheduler()
        self._feeds: dict[Subscription, Feed[Any]] = {}
        self._waiting: dict[HubSession, None] = {}
        self._frames: dict[tuple[str, ...] | tuple[bytes, ...], bytes] = {}
        self._written: list[Callable[[], None]] = []
        self._emptied: asyncio.Event | None = None
        self._expiry: Timer | None = None
        self._expiry_due = 0
        self._oldest_told: int | None = None
        self._shown: set[str] = set()
        for code in close_codes.ALL:
            metrics.GATEWAY_DISCONNECTS.labels(code=str(code.number))
        self.clock: Callable[[], int] = clock if clock is not None else Clock()
        self.sessions: dict[HubSession, None] = {}
        self.listeners: list[RecordListener] = []
        self.live_since: int | None = None
        self.stopping = False

    @property
    def live(self) -> bool:
        return self.live_since is not None

    @live.setter
    def live(self, live: bool) -> None:
        if live != self.live:
            self.live_since = self.clock() if live else None

    # --- records in -------------------------------------------------------------------------------------------

    def apply(self, record: Record, now: int, value: bytes = b"") -> bool:
        """Apply a record read at ``now`` (ns) and notify its subscribers; False: it has no effect.

        Args:
            value: the record's bytes on its topic, for the history of its feed; empty: it is left out there.
        """
        if isinstance(record, Depth):
            return self._apply_depth(record, now, value)
        if not self._state.apply(record, now):
            return False
        self._publish(record, value)
        return True

    def lost(self, topic: str) -> None:
        """Tell the listeners that records of ``topic`` are missing between those applied and the next."""
        for listener in self.listeners:
            listener.lost(topic)

    def _apply_depth(self, record: Depth, now: int, value: bytes) -> bool:
        instrument = self._state.book_of(record)
        was_good = instrument.fault is None
        if not self._state.apply(record, now):
            return False
        self._publish(record, value)
        if was_good != (instrument.fault is None):
            self._tell_opportunities(instrument)
        due = self._state.next_expiry
        if due is not None and (self._expiry is None or due < self._expiry_due) and not self.stopping:
            self._await_expiry()
        return True

    # --- books that become stale ------------------------------------------------------------------------------

    def expire(self) -> None:
        """Publish the books that have become stale. Cheap when there are none: call it before an answer."""
        for instrument in self._state.expire(self.clock()):
            self._retell(BOOK.subscriptions(instrument.venue, instrument.symbol))
            for listener in self.listeners:
                listener.judged(instrument)
            self._tell_opportunities(instrument)

    def _await_expiry(self) -> None:
        """Set the timer for the first book that can become stale; none is needed without a valid book."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        due = self._state.next_expiry
        if due is not None:
            self._expiry_due = due
            self._expiry = self.schedule.later(max((due - self.clock()) / 1e9, EXPIRY_SPACING), self._expired)

    def _expired(self) -> None:
        self._expiry = None
        self.expire()
        self._await_expiry()

    def _tell_opportunities(self, instrument: ShownInstrument) -> None:
        """Show or hide the open opportunities of a book that became valid or ceased to be."""
        venue, symbol = instrument.venue, instrument.symbol
        if any(venue in (each.buy_venue, each.sell_venue) for each in self._state.opportunities.open(symbol)):
            self._retell(ARBITRAGE.subscriptions(symbol))
            for listener in self.listeners:
                listener.opportunities_changed(symbol)

    # --- feeds ------------------------------------------------------------------------------------------------

    def _publish(self, record: Record, value: bytes) -> None:
        for listener in self.listeners:
            listener.taken(record, value)
        channel = CHANNEL_OF.get(type(record))
        if channel is not None:
            for subscription in channel.concerned(record):
                feed = self._feeds.get(subscription)
                if feed is not None:
                    feed.publish(record)
            if self._waiting and isinstance(record, (Depth, Trade)):
                self._oldest_told = min(self._oldest_told or record.received_time, record.received_time)

    def _retell(self, subscriptions: Iterable[Subscription]) -> None:
        for subscription in subscriptions:
            feed = self._feeds.get(subscription)
            if feed is not None:
                feed.retell()

    def feed(self, subscription: Subscription) -> Feed[Any]:
        """Return the feed; it is created at its first subscription.

        Raises:
            UnknownInstrument: no such instrument.
        """
        self.expire()
        feed = self._feeds.get(subscription)
        if feed is None:
            feed = self._feeds[subscription] = CHANNELS[subscription.channel].feed(self._state, subscription)
        return feed

    # --- sessions ---------------------------------------------------------------------------------------------

    def open(self, wire: Wire, visitor: Visitor | None = None) -> Session:
        """Open a session and send hello to its client.

        Args:
            visitor: who the client is; None: anyone, who may see everything.
        """
        session = Session(
            self,
            wire,
            queue_bytes=self.queue_bytes,
            now=self.schedule.now(),
            stall_seconds=self.stall_seconds,
            visitor=visitor,
        )
        self.join(session)
        session.answer(
            protocol.hello(round(HEARTBEAT_SECONDS * 1000), self._state.max_book_age // 1_000_000, self.clock())
        )
        return session

    def join(self, session: HubSession) -> None:
        """Add a session made elsewhere."""
        self.sessions[session] = None
        metrics.GATEWAY_CONNECTIONS.inc()

    def closed(self, session: HubSession) -> None:
        """Remove a session whose connection is closed."""
        if session in self.sessions:
            del self.sessions[session]
            metrics.GATEWAY_CONNECTIONS.dec()
        self._waiting.pop(session, None)
        session.end()
        if self._emptied is not None and not self.sessions:
            self._emptied.set()

    def waiting(self, session: HubSession) -> None:
        """Write the session out at the end of this tick."""
        if not self._waiting:
            self.schedule.soon(self.flush)
        self._waiting[session] = None

    def flush(self) -> None:
        """Write out all sessions with queued messages."""
        waiting, self._waiting = self._waiting, {}
        now = self.schedule.now()
        messages = frames = size = 0
        for session in waiting:
            written = session.flush(now)
            messages += written[0]
            frames += written[1]
            size += written[2]
        self._frames.clear()
        if self._oldest_told is not None:
            metrics.DELIVERY_AGE.observe((self.clock() - self._oldest_told) / 1e9)
            self._oldest_told = None
        if self._written:
            calls, self._written = self._written, []
            for call in calls:
                call()
        metrics.GATEWAY_DELIVERIES.inc(messages)
        metrics.GATEWAY_WRITES.inc(frames)
        metrics.GATEWAY_BYTES.inc(size)

    def audience(self, record: Record) -> int:
        """Return how many subscriptions concern ``record``."""
        others = sum(listener.audience(record) for listener in self.listeners)
        channel = CHANNEL_OF.get(type(record))
        if channel is None:
            return others
        feeds = (self._feeds.get(subscription) for subscription in channel.concerned(record))
        return others + sum(len(feed.subscribers) for feed in feeds if feed is not None)

    def when_written(self, call: Callable[[], None]) -> None:
        """Call ``call`` when all queued messages have been written out; at once if there are none."""
        if self._waiting:
            self._written.append(call)
        else:
            call()

    def frame(self, texts: tuple[str, ...]) -> bytes:
        """Return the texts as one WebSocket frame, one per line; built once per tick and set of texts."""
        frame = self._frames.get(texts)
        if frame is None:
            frame = self._frames[texts] = text_frame("\n".join(texts))
        return frame

    def shared_frame(self, messages: tuple[str, ...] | tuple[bytes, ...], build: Callable[[], bytes]) -> bytes:
        """Return ``messages`` as one WebSocket frame, built once per tick and set of messages."""
        frame = self._frames.get(messages)
        if frame is None:
            frame = self._frames[messages] = build()
        return frame

    def check(self) -> None:
        """Close stalled clients and send a heartbeat to idle ones; call it about once a second."""
        self.expire()  # the wall clock may have been set; the timer uses the monotonic clock
        self._show_venues()
        now, time_ns = self.schedule.now(), self.clock()
        for listener in self.listeners:
            listener.check(time_ns)
        for session in list(self.sessions):
            session.check(now)
            if now - session.last_written >= HEARTBEAT_SECONDS - 1 and not session.stuck:
                session.heartbeat(time_ns)

    def _show_venues(self) -> None:
        """Let the metrics tell of venues that are new; their books are counted when the metrics are read."""
        for venue in self._state.venues.keys() - self._shown:
            self._shown.add(venue)
            for status in _STANDINGS:
                metrics.GATEWAY_BOOKS.labels(venue, status).set_function(partial(self._books, venue, status))

    def _books(self, venue: str, status: str) -> int:
        count: int = getattr(self._state.standing(venue, self.clock()), status)
        return count

    def shut_down(self) -> None:
        """Notify all clients in band of the stop, then close with 1012; later clients as well."""
        self.stopping = True
        if self._expiry is not None:
            self._expiry.cancel()
        for session in self.sessions:
            session.announce_shutdown(self._reconnect_ms)
        self.flush()
        for session in list(self.sessions):
            session.close(RESTART)

    async def emptied(self, seconds: float) -> None:
        """Wait until all clients have disconnected, at most ``seconds``."""
        self._emptied = asyncio.Event()
        if self.sessions:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), seconds)
