"""Pool of a collector's shards: distributes symbols over connections and replaces connections.

A shard is replaced without a gap: the new connection is open and has its books before the old one is closed
(:mod:`producers.collector.handover`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from alphapulse.config import VenueSettings
from producers.collector import sharding
from producers.collector.context import Context
from producers.collector.dedupe import KnownTrades
from producers.collector.handover import Handover
from producers.collector.shard import Shard
from producers.collector.stats import CollectorStats
from producers.feed.book import BookStream
from producers.feed.trades import TradeStream
from producers.feed.venue import Venue
from producers.net.backoff import Backoff

HANDOVER_SECONDS: Final = 120.0
"""Timeout for a new connection to obtain its books during a handover."""
LINGER_SECONDS: Final = 0.5
"""Both connections stay open this long after the handover: trades sent only to the old one may be in flight."""
_POLL_SECONDS: Final = 0.05

_ELSEWHERE: Final = {"symbols", "enabled", "taker_fee_basis_points", "connections"}
"""Settings whose change does not require a reconnect."""
CONFIGURATION: Final = "configuration changed"
"""Prefix of the reason of a replacement caused by new settings."""


def capacity(venue: Venue, settings: VenueSettings) -> int:
    """Return the maximum number of symbols per connection."""
    most = venue.symbols_per_connection
    return min(settings.symbols_per_connection or most, most)


class Pool:
    """Pool of shards.

    Args:
        context: of the collector.
        settings: of the venue.
        stats: keeps the counters of retired shards.
        known: trades that are already published.
        backoff: makes the reconnect backoff of a shard.
        changed: called when a connection opens or closes.

    Attributes:
        settings: for new shards.
        shards: all shards that are not retired.
        running: whether shards are started and replaced.
    """

    def __init__(
        self,
        context: Context,
        settings: VenueSettings,
        stats: CollectorStats,
        known: KnownTrades,
        backoff: Callable[[], Backoff],
        changed: Callable[[], None],
    ) -> None:
        self.settings = settings
        self.shards: list[Shard] = []
        self.running = False
        self._context = context
        self._stats = stats
        self._known = known
        self._backoff = backoff
        self._changed = changed

    @property
    def connected(self) -> bool:
        """Whether at least one connection is open."""
        return any(shard.connected for shard in self.shards)

    def share_out(self, wanted: Sequence[str]) -> None:
        """Change the shards so that ``wanted`` is collected; a symbol already collected does not move."""
        # A shard being replaced gets no new symbols; it and its successor must drop the unwanted ones.
        shards = [shard for shard in self.shards if not shard.retired]
        steady = [shard for shard in shards if shard.handover is None]
        for shard in shards:
            if shard.handover is not None:
                for symbol in [symbol for symbol in shard.protocol.instruments if symbol not in wanted]:
                    shard.remove(symbol)
        moving = {symbol for shard in shards if shard.handover is not None for symbol in shard.protocol.instruments}
        venue, most = self._context.venue, capacity(self._context.venue, self.settings)
        change = sharding.change(
            [shard.protocol.instruments for shard in steady],
            [symbol for symbol in wanted if symbol not in moving],
            most,
            least=self.settings.connections if not moving else 1,
        )
        limit = venue.connections_limit
        if limit is not None and len(shards) - len(change.closed) + len(change.opened) > limit:
            for shard in shards:
                shard.retire("closed: the venue's connection limit requires all symbols to be redistributed")
            change = sharding.Change(opened=sharding.split(wanted, most))
        for index, symbols in change.removed.items():
            for symbol in symbols:
                steady[index].remove(symbol)
        for index in change.closed:
            steady[index].retire("closed: no symbols left on this connection")
        for index, symbols in change.added.items():
            steady[index].add(symbols)
            self._known.seed(steady[index].protocol.instruments)
        for symbols in change.opened:
            self._start(self._open(symbols))

    def reconfigure(self, settings: VenueSettings) -> None:
        """Replace the shards affected by ``settings``."""
        self.settings = settings
        for shard in [shard for shard in self.shards if shard.successor is None]:
            if changed := self._outdated(shard):
                self.replace(shard, f"{CONFIGURATION}: {changed}")

    def symbols(self) -> set[str]:
        """Return the symbols that are collected."""
        return {symbol for shard in self.shards if not shard.retired for symbol in shard.protocol.instruments}

    def book_of(self, symbol: str) -> tuple[Shard, BookStream] | None:
        """Return the book of ``symbol`` that is published, and its shard; None if it is not collected."""
        for shard in self.shards:
            state = shard.protocol.instruments.get(symbol)
            if state is None or shard.retired:
                continue
            handover = shard.handover
            if handover is None or (shard.successor is not None) != (symbol in handover.taken):
                return shard, state.book
        return None

    def trades_of(self, symbol: str) -> tuple[Shard, TradeStream] | None:
        """Return the trades of ``symbol`` that are published, and their shard; None if it is not collected."""
        for shard in self.shards:  # while a connection is replaced, the old one's, which comes first
            state = shard.protocol.instruments.get(symbol)
            if state is not None and not shard.retired:
                return shard, state.trades
        return None

    def holds_back(self, now: float) -> bool:
        """Whether a connection holds back frames at ``now`` (seconds) until a snapshot arrives."""
        return any(shard.waits.holds(now) for shard in self.shards if not shard.retired)

    def _outdated(self, shard: Shard) -> str:
        """Return the settings changed since ``shard`` was made that require a new connection."""
        keys = [key for key in type(self.settings).model_fields if key not in _ELSEWHERE]
        return ", ".join(key for key in keys if getattr(self.settings, key) != getattr(shard.settings, key))

    def _open(self, symbols: Sequence[str]) -> Shard:
        settings, venue = self.settings, self._context.venue
        silence = settings.instrument_silence_seconds
        protocol = venue.protocol(settings.model_copy(update={"symbols": tuple(symbols)}))
        self._known.seed(protocol.instruments)
        shard = Shard(
            self._context,
            self,
            protocol,
            settings,
            (settings.websocket_url or venue.websocket_url).rstrip("/"),
            self._backoff(),
            silence_seconds=silence if silence is not None else venue.instrument_silence_seconds,
            reconnect_hours=settings.reconnect_hours or venue.reconnect_hours,
        )
        self.shards.append(shard)
        return shard

    def _start(self, shard: Shard) -> None:
        shard.task = self._context.spawn(shard.run())
        shard.task.add_done_callback(lambda _: self._ended(shard))

    def _ended(self, shard: Shard) -> None:
        """Remove a shard that has ended."""
        if self.running and shard.retired and shard in self.shards:
            self.shards.remove(shard)
            self._stats.keep(shard)

    # --- ShardOwner ---

    def shard_changed(self) -> None:
        """Handle that a shard connected or lost its connection."""
        self._changed()

    def replace(self, shard: Shard, reason: str, delay: float = 0.0) -> None:
        """Open a new connection for the symbols of ``shard``; the old one closes when the new one has its books."""
        context, venue = self._context, self._context.venue
        if shard.handover is not None or shard.retired or not self.running:
            return
        if context.tap is not None:  # a tap cannot tell apart the frames of two connections
            shard.drop(reason, delay)
            return
        symbols = list(shard.protocol.instruments)
        standing = sum(not shard.retired for shard in self.shards)
        if venue.connections_limit is not None and standing >= venue.connections_limit:
            # The venue would refuse a second connection.
            shard.drop(reason, delay)
            if reason.startswith(CONFIGURATION):
                shard.retire(reason)
                self._start(self._open(symbols))
            return
        delay = max(delay, shard.youth_delay())
        successor = self._open(symbols)
        successor.backoff = shard.backoff
        shard.handover = successor.handover = Handover(shard.protocol, successor.protocol)
        shard.successor = successor
        context.event_log.event("replacing", "INFO", f"opening a replacement connection: {reason}")
        context.spawn(self._hand_over(shard, successor, reason, delay))

    async def _hand_over(self, shard: Shard, successor: Shard, reason: str, delay: float) -> None:
        handover = shard.handover
        assert handover is not None  # noqa: S101 replace() made it
        await asyncio.sleep(delay)
        self._start(successor)
        deadline = asyncio.get_running_loop().time() + HANDOVER_SECONDS
        while asyncio.get_running_loop().time() < deadline and shard.connected:
            if successor.settled and handover.complete:
                await asyncio.sleep(LINGER_SECONDS)
                break
            await asyncio.sleep(_POLL_SECONDS)
        if not self.running:
            return
        if shard.connected and not successor.connected and not handover.taken:
            await self._give_up(shard, successor, reason)
            return
        shard.retire(reason)
        successor.handover = None
        successor.act(handover.finish())
        shard.handover = None
        if shard.task is not None and shard.task.done():
            self._ended(shard)
        told = f"{len(handover.taken)} books moved to the new connection: {reason}"
        self._context.event_log.event("replaced", "INFO", told)
        if changed := self._outdated(successor):  # settings changed during the handover
            self.replace(successor, f"{CONFIGURATION}: {changed}")

    async def _give_up(self, shard: Shard, successor: Shard, reason: str) -> None:
        """Keep a shard that is still connected when its replacement cannot connect; retry later."""
        successor.retire("gave up connecting")
        shard.handover = shard.successor = None
        told = f"replacement did not connect within {HANDOVER_SECONDS:g} s; keeping the old connection"
        self._context.event_log.event("replace_failed", "WARNING", told)
        await asyncio.sleep(HANDOVER_SECONDS)
        self.replace(shard, reason)
