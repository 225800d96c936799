"""Before a handover: has this process read all that its venue had sent when the successor was prepared?

The successor's trades begin with its own connection. What an owner that reads late (overload, a slow line) has not read
by then would be published by nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

TRY_SECONDS: Final = 5.0
"""How long the venue's answers are waited for. Then it is asked again."""
PATIENCE_SECONDS: Final = 60.0
"""How long it is tried in all. Who cannot read as fast as the venue sends is not the better owner, even if a successor
then begins after a gap in the trades, which it tells."""


class Reader(Protocol):
    """A connection's reader; see :class:`producers.collector.shard.Shard`."""

    async def catch_up(self, seconds: float) -> bool:
        """Wait until what the venue had sent before this call is read, ``seconds`` at most; return whether it is."""


class CatchUp:
    """The owner's effort to catch up for a successor.

    Args:
        readers: returns those of all connections.
        now: monotonic clock, in seconds.
    """

    def __init__(self, readers: Callable[[], Sequence[Reader]], now: Callable[[], float]) -> None:
        self._readers = readers
        self._now = now
        self._successor = ""
        self._until = 0.0
        self._trying: asyncio.Task[bool] | None = None

    @property
    def under_way(self) -> asyncio.Task[bool] | None:
        """A try that has not ended, if there is one."""
        return self._trying if self._trying is not None and not self._trying.done() else None

    def has_succeeded(self, successor: str) -> bool:
        """Whether there is nothing left to wait for; if not, it is worked on from now on.

        ``successor``: the process, which is prepared. With another one everything begins again.
        """
        if successor != self._successor:
            self.stop()
            self._successor, self._until = successor, self._now() + PATIENCE_SECONDS
        if self.under_way is None:
            if self._trying is not None and self._trying.result():
                return True
            self._trying = asyncio.create_task(self._try())
        return self._now() > self._until

    def stop(self) -> None:
        """Forget the successor."""
        if self._trying is not None:
            self._trying.cancel()
        self._trying, self._successor = None, ""

    async def _try(self) -> bool:
        return all(await asyncio.gather(*(reader.catch_up(TRY_SECONDS) for reader in self._readers())))
