"""One shard takes over from another: the new connection stands, and has its books, before the old one goes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from producers.collector.handover import Handover
from producers.collector.shard import Shard

if TYPE_CHECKING:
    from producers.collector.collector import Collector

HANDOVER_SECONDS: Final = 120.0
"""What a new connection gets to bring up its books beside the old one."""
LINGER_SECONDS: Final = 0.5
"""Both are heard for so long after that: a trade that only the old one was told of is on its way."""
_POLL_SECONDS: Final = 0.05


class Succession:
    """The handovers of one collector.

    Args:
        context: the collector, whose shards they are.
    """

    def __init__(self, context: Collector) -> None:
        self._context = context

    def replace(self, shard: Shard, reason: str, delay: float = 0.0) -> None:
        """Open a new connection for the symbols of ``shard`` beside it; it goes when the new one has its books."""
        context = self._context
        if shard.handover is not None or shard.retired or not context.running:
            return
        symbols = list(shard.protocol.instruments)
        standing = sum(not shard.retired for shard in context.shards)
        if context.venue.connections_limit is not None and standing >= context.venue.connections_limit:
            # The venue would refuse the second one.
            shard.drop(reason, delay)
            if reason.startswith("configuration"):
                shard.retire(reason)
                context.start(context.open(symbols))
            return
        delay = max(delay, shard.youth_delay())
        successor = context.open(symbols)
        successor.backoff = shard.backoff
        shard.handover = successor.handover = Handover(shard.protocol, successor.protocol)
        shard.successor = successor
        context.event("replacing", "INFO", f"a new connection takes over: {reason}")
        context.spawn(self._hand_over(shard, successor, reason, delay))

    async def _hand_over(self, shard: Shard, successor: Shard, reason: str, delay: float) -> None:
        context, handover = self._context, shard.handover
        assert handover is not None  # noqa: S101 replace() made it
        await asyncio.sleep(delay)
        context.start(successor)
        deadline = asyncio.get_running_loop().time() + HANDOVER_SECONDS
        while asyncio.get_running_loop().time() < deadline and shard.connected:
            if successor.settled and handover.complete:
                await asyncio.sleep(LINGER_SECONDS)
                break
            await asyncio.sleep(_POLL_SECONDS)
        if not context.running:
            return
        if shard.connected and not successor.connected and not handover.taken:
            await self._give_up(shard, successor, reason)
            return
        shard.retire(reason)
        successor.handover = None
        successor.act(handover.finish())
        shard.handover = None
        if shard.task is not None and shard.task.done():
            context.ended(shard)
        context.event("replaced", "INFO", f"{len(handover.taken)} books taken over: {reason}")
        if changed := context.outdated(successor):  # in the meantime
            self.replace(successor, f"configuration changed: {changed}")

    async def _give_up(self, shard: Shard, successor: Shard, reason: str) -> None:
        """Stay with a shard that still stands when no other can be had; try again later."""
        context = self._context
        successor.retire("gave up connecting")
        shard.handover = shard.successor = None
        context.event("replace_failed", "WARNING", f"no new connection in {HANDOVER_SECONDS:g} s, the old one stays")
        await asyncio.sleep(HANDOVER_SECONDS)
        self.replace(shard, reason)
