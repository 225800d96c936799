"""One line takes over from another: the new connection stands, and has its books, before the old one goes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from producers.collector.handover import Handover
from producers.collector.shard import Line

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
        host: the collector, whose lines they are.
    """

    def __init__(self, host: Collector) -> None:
        self._host = host

    def replace(self, line: Line, reason: str, delay: float = 0.0) -> None:
        """Open a new connection for the symbols of ``line`` beside it; it goes when the new one has its books."""
        host = self._host
        if line.handover is not None or line.retired or not host.running:
            return
        symbols = list(line.protocol.instruments)
        standing = sum(not line.retired for line in host.lines)
        if host.venue.connections_limit is not None and standing >= host.venue.connections_limit:
            # The venue would refuse the second one.
            line.drop(reason, delay)
            if reason.startswith("configuration"):
                line.retire(reason)
                host.start(host.open(symbols))
            return
        delay = max(delay, line.youth_delay())
        heir = host.open(symbols)
        heir.backoff = line.backoff
        line.handover = heir.handover = Handover(line.protocol, heir.protocol)
        line.heir = heir
        host.event("replacing", "INFO", f"a new connection takes over: {reason}")
        host.spawn(self._hand_over(line, heir, reason, delay))

    async def _hand_over(self, line: Line, heir: Line, reason: str, delay: float) -> None:
        host, handover = self._host, line.handover
        assert handover is not None  # noqa: S101 replace() made it
        await asyncio.sleep(delay)
        host.start(heir)
        deadline = asyncio.get_running_loop().time() + HANDOVER_SECONDS
        while asyncio.get_running_loop().time() < deadline and line.connected:
            if heir.settled and handover.complete:
                await asyncio.sleep(LINGER_SECONDS)
                break
            await asyncio.sleep(_POLL_SECONDS)
        if not host.running:
            return
        if line.connected and not heir.connected and not handover.taken:
            await self._give_up(line, heir, reason)
            return
        line.retire(reason)
        heir.handover = None
        heir.act(handover.finish())
        line.handover = None
        if line.task is not None and line.task.done():
            host.ended(line)
        host.event("replaced", "INFO", f"{len(handover.taken)} books taken over: {reason}")
        if changed := host.outdated(heir):  # in the meantime
            self.replace(heir, f"configuration changed: {changed}")

    async def _give_up(self, line: Line, heir: Line, reason: str) -> None:
        """Stay with a line that still stands when no other can be had; try again later."""
        host = self._host
        heir.retire("gave up connecting")
        line.handover = line.heir = None
        host.event("replace_failed", "WARNING", f"no new connection in {HANDOVER_SECONDS:g} s, the old one stays")
        await asyncio.sleep(HANDOVER_SECONDS)
        self.replace(line, reason)
