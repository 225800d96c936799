"""The gate before the timeline: frames wait until somebody subscribed to what they belong to. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from producers.venue_server.session import INSTRUMENTS, Key

QUIET_SECONDS = 2.0
"""A client that subscribed to something and then said nothing for so long has subscribed to all it wants."""


class Gate:
    """Which subscriptions are still awaited before frames may go.

    At first all of the recording's; after a connection was lost, those that it had. A client's own unsubscribe is no
    loss: it is about to subscribe anew, or wants no more.

    Args:
        keys: the recording's books and trades.
    """

    def __init__(self, keys: Collection[Key]) -> None:
        self._keys = frozenset(keys)
        self.awaited: set[Key] = set(keys)
        self._changed = 0.0
        self._connections = 0

    def connected(self) -> None:
        """A client came."""
        self._connections += 1

    def subscribed(self, keys: Iterable[Key], now: float) -> None:
        """A client subscribed to ``keys`` at ``now`` (monotonic seconds)."""
        self.awaited.difference_update(keys)
        self._changed = now

    def lost(self, keys: Iterable[Key]) -> None:
        """A client that was subscribed to ``keys`` went away; with the last one everything is awaited again."""
        self._connections -= 1
        self.awaited |= self._keys if self._connections == 0 else self._keys.intersection(keys)

    def passes(self, frame: Collection[Key], subscribed: Collection[Key], now: float) -> bool:
        """Return whether a frame that belongs to ``frame`` may go, ``subscribed`` being all subscriptions there are.

        What describes the instruments goes ahead of the rest: clients read it before they subscribe to books.
        """
        if self._connections == 0:
            return False
        if not self.awaited:
            return True
        if subscribed and now - self._changed >= QUIET_SECONDS:
            self.awaited.clear()
            return True
        return any(key[0] == INSTRUMENTS and key in subscribed for key in frame)
