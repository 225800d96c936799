"""Freshness of a shard's books on ``md.l2``: heartbeats for unchanged books, withheld books when frames are late.

A heartbeat (HEARTBEAT) confirms a book as of the time at which the connection was last heard: by a frame or, without
one, by the answer to a ping. A ping proves only that the venue was alive when it was sent, so that time is used. While
the venue cannot be reached nothing is confirmed, and the books become stale (:mod:`alphapulse.freshness`). Lateness is
judged by :mod:`producers.collector.lateness`.

Frames that waited in the socket while the collector stood still prove nothing about the time since: the connection may
be half-open. Withheld books are published again only after a ping sent later is answered; that answer arrives after
everything the venue had sent before it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, Protocol

from producers.collector.context import Context
from producers.collector.lateness import Lateness
from producers.feed.actions import Note, Outputs
from producers.feed.protocol import VenueProtocol
from producers.net.connection import VenueConnection

LOOK_SECONDS: Final = 0.1
"""Check interval while frames are late."""
ANSWER_SECONDS: Final = 5.0
"""Timeout for the answer to a ping; then it is sent again."""
_NEVER: Final = 2**63
_MS: Final = 1_000_000
_SECOND: Final = 1_000_000_000


class Keeper(Protocol):
    """The part of a shard that its pulse uses."""

    protocol: VenueProtocol

    def act(self, outputs: Outputs) -> None:
        """Carry out outputs that no frame caused."""


class Pulse:
    """Freshness of one shard's books.

    Args:
        context: of the collector.
        keeper: the shard.

    Attributes:
        heard: when the connection was last heard, ns since the Unix epoch; the shard sets it with each frame.
        patience: nanoseconds of silence after which a frame may have waited in the socket: call :meth:`check`.
        asked: whether a ping that the venue answers with a frame is unanswered.
    """

    def __init__(self, context: Context, keeper: Keeper) -> None:
        freshness = context.freshness
        limit = freshness.max_feed_delay_ms * _MS
        self._context = context
        self._keeper = keeper
        self._interval = freshness.heartbeat_ms * _MS
        self._lateness = Lateness(limit)
        self._connection: VenueConnection | None = None
        self._asking: asyncio.Task[None] | None = None
        self._asked = 0
        self._catching_up: asyncio.Task[None] | None = None
        self._ticked = 0
        self._looked = 0
        self._due = 0
        self._pongs = 0
        self._ponged = asyncio.Event()  # the ping that withheld books wait for is answered
        self._ponged.set()
        self.patience = limit or _NEVER
        self.heard = 0
        self.asked = False
        self.seconds = min(self._interval, limit // 2 or _NEVER) / _SECOND
        """Maximum interval between calls of :meth:`tick`."""

    def begin(self, connection: VenueConnection, every: float) -> None:
        """Start on a new connection; :meth:`tick` will be called ``every`` seconds."""
        self._connection = connection
        self._lateness.begin()
        self.heard = self._ticked = self._looked = self._context.now()
        # A tick may come slightly early.
        self._due = self._interval - min(self._interval, round(every * _SECOND)) // 2
        self.asked = False

    def end(self) -> None:
        """Handle that the connection is lost and its books have ended."""
        self._connection = None
        for task in (self._asking, self._catching_up):
            if task is not None:
                task.cancel()
        self._asking = self._catching_up = None
        self._lateness.begin()
        for outputs in self._keeper.protocol.resume(self._context.now):
            self._keeper.act(outputs)

    @property
    def late(self) -> bool:
        """Whether books are withheld because frames are read too late."""
        return self._lateness.late or (self._catching_up is not None and not self._catching_up.done())

    def tick(self) -> None:
        """Send the heartbeats and pings that are due and check for lateness."""
        connection, now = self._connection, self._context.now()
        if connection is None:
            return
        if self._lateness.limit and not self._lateness.late:
            if now - max(self._ticked, self.heard) > self.patience and connection.waiting:
                self._stood_still(now - self._ticked)
            elif self._look(connection, now):
                self._begin_late("frames are read too late")
        self._ticked = now
        waits = self._asking is not None and not self._asking.done()
        ask = now - self.heard >= self._due and any(s.book.valid for s in self._keeper.protocol.instruments.values())
        # The answer will confirm the books as of now; confirming them as of ``heard`` as well would be redundant.
        if waits or not ask:
            self._confirm(now)
        if ask:
            self._ask(connection, now)

    def check(self, now: int) -> None:
        """Check a frame received at ``now`` after a long silence: either the venue was silent or nothing was read."""
        if now - self._ticked > self.patience and not self._lateness.late:
            self._stood_still(now - max(self._ticked, self.heard))

    def held_back(self, nanoseconds: int) -> None:
        """Handle that nothing was read for ``nanoseconds`` because the broker acknowledged nothing."""
        if nanoseconds > self.patience and not self._lateness.late:
            self._lateness.stood_still()
            self._begin_late(
                f"nothing was read for {nanoseconds / _SECOND:.1f} s while the broker acknowledged nothing"
            )

    def answered(self) -> None:
        """Handle a frame without market data, which may be the awaited answer to a ping."""
        if self._keeper.protocol.pongs != self._pongs:
            self._ponged.set()
        self.asked = not self._ponged.is_set()
        self._confirm(self.heard)

    # --- heartbeats ---

    def _confirm(self, now: int) -> None:
        # At the publisher's bound a heartbeat would be old when it arrives.
        if self._context.publisher.full:
            return
        outputs = self._keeper.protocol.heartbeats(self.heard, now - self._due)
        if outputs:
            self._keeper.act(outputs)

    def _ask(self, connection: VenueConnection, now: int) -> None:
        if self._asking is not None and not self._asking.done():
            if now - self._asked < ANSWER_SECONDS * _SECOND:
                return
            self._asking.cancel()
        self._asked = now
        self._asking = self._context.spawn(self._await_answer(connection, now))

    async def _await_answer(self, connection: VenueConnection, asked: int) -> None:
        self.asked = True
        if await connection.ask() and connection is self._connection:
            self.heard = max(self.heard, asked)
            self.answered()

    # --- lateness ---

    def _look(self, connection: VenueConnection, now: int) -> bool:
        newest = self._keeper.protocol.newest(self._looked)
        self._looked = now
        return self._lateness.look(newest, connection.waiting)

    async def _answers(self) -> bool:
        """Ping the venue; return whether it answered."""
        connection = self._connection
        if connection is None:
            return False
        self._pongs, self._ponged, self.asked = self._keeper.protocol.pongs, asyncio.Event(), True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                answered = await connection.ask()
                if answered is None:
                    await self._ponged.wait()
                self._ponged.set()
                return answered is not False
        return False

    def _stood_still(self, nanoseconds: int) -> None:
        self._lateness.stood_still()
        self._begin_late(f"the collector was not running for {nanoseconds / _SECOND:.1f} s")

    def _begin_late(self, reason: str) -> None:
        outputs = self._keeper.protocol.withhold(self._context.now())
        books = {"ended": str(len(outputs))}
        text = f"{reason}; books are withheld until the collector has caught up"
        self._keeper.act([*outputs, Note("late", "WARNING", text, loss="late", details=books)])
        if self._catching_up is not None:
            self._catching_up.cancel()  # it may still publish the books withheld earlier
        self._catching_up = self._context.spawn(self._catch_up())

    async def _catch_up(self) -> None:
        context, began = self._context, self._context.now()
        while self._lateness.late or not await self._answers():
            await asyncio.sleep(LOOK_SECONDS)
            if self._connection is not None:
                self._look(self._connection, context.now())
        for outputs in self._keeper.protocol.resume(context.now):
            self._keeper.act(outputs)
            # One at a time: publishing hundreds of books at once would make the collector late again.
            await context.publisher.room()
            await asyncio.sleep(0)
        seconds = (context.now() - began) / _SECOND
        self._keeper.act([Note("caught_up", "INFO", f"caught up after {seconds:.1f} s")])
