"""From records to clients: feeds by subscription, sessions, and one write per client and tick of the loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from alphapulse import metrics
from gateway import protocol
from gateway.close_codes import RESTART
from gateway.feeds import ArbitrageFeed, BookFeed, CandlesFeed, Feed, StatsFeed, TradesFeed
from gateway.protocol import EVERY_SYMBOL, Subscription
from gateway.session import STALL_SECONDS, Session
from gateway.state import MarketState
from gateway.wire import Wire, text_frame
from schemas.records import ArbitrageOpportunity, Candle, DeltaStatistics, Depth, Record, Trade

HEARTBEAT_SECONDS: Final = 5.0
"""A client hears something at least this often."""

Schedule = Callable[[Callable[[], None]], object]


class Hub:
    """All feeds and all sessions.

    Feeds only queue; the queues are written out once, when the loop is done with what it is doing. So all
    messages that one batch of records caused for a client become one frame and one system call, and clients that
    wait for the same messages share its bytes.

    Args:
        schedule: runs a function once the caller is done; by default the running loop's ``call_soon``.
        clock: seconds, monotonic; by default the running loop's.
    """

    def __init__(
        self,
        state: MarketState,
        *,
        queue_bytes: int,
        stall_seconds: float = STALL_SECONDS,
        schedule: Schedule | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._state = state
        self._queue_bytes = queue_bytes
        self._stall_seconds = stall_seconds
        self._schedule = schedule
        self._clock = clock
        self._feeds: dict[Subscription, Feed[Any]] = {}
        self._waiting: dict[Session, None] = {}
        self._frames: dict[tuple[str, ...], bytes] = {}
        self._emptied: asyncio.Event | None = None
        self.sessions: dict[Session, None] = {}
        self.stopping = False

    def now(self) -> float:
        return self._clock() if self._clock is not None else asyncio.get_running_loop().time()

    # --- records in -------------------------------------------------------------------------------------------

    def apply(self, record: Record, time: int) -> bool:
        """Take a record that the broker got at ``time`` (ns) and tell its subscribers; False: of no (more) use."""
        if not self._state.apply(record, time):
            return False
        match record:
            case Depth():
                self._publish(Subscription("book", record.venue, record.symbol), record)
            case Trade():
                self._publish(Subscription("trades", record.venue, record.symbol), record)
            case DeltaStatistics():
                self._publish(Subscription("stats", record.venue, record.symbol), record)
            case Candle():
                self._publish(Subscription("candles", record.venue, record.symbol), record)
            case ArbitrageOpportunity():
                self._publish(Subscription("arbitrage", None, record.symbol), record)
                self._publish(Subscription("arbitrage", None, EVERY_SYMBOL), record)
            case _:
                pass
        return True

    def _publish(self, subscription: Subscription, record: Record) -> None:
        feed = self._feeds.get(subscription)
        if feed is not None:
            feed.publish(record)

    def feed(self, subscription: Subscription) -> Feed[Any]:
        """Return the feed, made at its first subscription.

        Raises:
            UnknownInstrument: there is no such instrument.
        """
        feed = self._feeds.get(subscription)
        if feed is None:
            feed = self._feeds[subscription] = self._make_feed(subscription)
        return feed

    def _make_feed(self, subscription: Subscription) -> Feed[Any]:
        symbol = subscription.symbol
        if subscription.venue is None:
            if symbol != EVERY_SYMBOL:
                self._state.check_symbol(symbol)
            return ArbitrageFeed(self._state.opportunities, symbol)
        instrument = self._state.instrument(subscription.venue, symbol)
        match subscription.channel:
            case "book":
                return BookFeed(instrument)
            case "trades":
                return TradesFeed(instrument)
            case "stats":
                return StatsFeed(instrument)
            case _:
                return CandlesFeed(instrument)

    # --- sessions ---------------------------------------------------------------------------------------------

    def open(self, wire: Wire) -> Session:
        """Begin a session and greet its client."""
        session = Session(self, wire, queue_bytes=self._queue_bytes, now=self.now(), stall_seconds=self._stall_seconds)
        self.sessions[session] = None
        metrics.GATEWAY_CONNECTIONS.inc()
        session.answer(protocol.hello(round(HEARTBEAT_SECONDS * 1000)))
        return session

    def closed(self, session: Session) -> None:
        """Forget a session whose connection is gone."""
        if session in self.sessions:
            del self.sessions[session]
            metrics.GATEWAY_CONNECTIONS.dec()
        self._waiting.pop(session, None)
        session.end()
        if self._emptied is not None and not self.sessions:
            self._emptied.set()

    def waiting(self, session: Session) -> None:
        """Write the session out at the end of this tick."""
        if not self._waiting:
            if self._schedule is not None:
                self._schedule(self.flush)
            else:
                asyncio.get_running_loop().call_soon(self.flush)
        self._waiting[session] = None

    def flush(self) -> None:
        """Write out all sessions that have something waiting."""
        waiting, self._waiting = self._waiting, {}
        now = self.now()
        messages = frames = size = 0
        for session in waiting:
            written = session.flush(now)
            messages += written[0]
            frames += written[1]
            size += written[2]
        self._frames.clear()
        metrics.GATEWAY_DELIVERIES.inc(messages)
        metrics.GATEWAY_WRITES.inc(frames)
        metrics.GATEWAY_BYTES.inc(size)

    def frame(self, texts: tuple[str, ...]) -> bytes:
        """Return the texts as one WebSocket frame, one a line; made once per tick for all who get the same."""
        frame = self._frames.get(texts)
        if frame is None:
            frame = self._frames[texts] = text_frame("\n".join(texts))
        return frame

    def check(self, time_ns: int) -> None:
        """Give up stalled clients and send a heartbeat to idle ones; to be called about every second."""
        now = self.now()
        heartbeat = protocol.heartbeat(time_ns)
        for session in list(self.sessions):
            session.check(now)
            if now - session.last_written >= HEARTBEAT_SECONDS - 1 and not session.stuck:
                session.answer(heartbeat)

    def shut_down(self) -> None:
        """Tell all clients in band that the gateway stops, then close with 1012; those still to come as well."""
        self.stopping = True
        for session in self.sessions:
            session.answer(protocol.shutdown())
        self.flush()
        for session in list(self.sessions):
            session.close(RESTART)

    async def emptied(self, seconds: float) -> None:
        """Wait until all clients have gone, ``seconds`` at most."""
        self._emptied = asyncio.Event()
        if self.sessions:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), seconds)
