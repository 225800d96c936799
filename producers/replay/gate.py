"""Gate in front of the timeline: frames wait until a client has subscribed to their feeds. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from producers.venue_server.session import INSTRUMENTS, Key

QUIET_SECONDS = 2.0
"""A client that has subscribed and then sent nothing for this long has all the subscriptions it wants."""


class Gate:
    """Subscriptions to wait for before frames may pass.

    Initially all of the recording's; after a lost connection, those it had. An unsubscribe by the client is no loss: it
    is about to resubscribe, or wants no more.

    Args:
        keys: the recording's books and trades.
        keys: the recording's books and trades.
    """

    def __init__(self, keys: Collection[Key]) -> None:
        self._keys = frozenset(keys)
        self.awaited: set[Key] = set(keys)
        self._changed = 0.0
        self._connections = 0

    def connected(self) -> None:
        """Record that a client connected."""
        self._connections += 1

    def subscribed(self, keys: Iterable[Key], now: float) -> None:
        """Record that a client subscribed to ``keys`` at ``now`` (monotonic seconds)."""
        self.awaited.difference_update(keys)
        self._changed = now

    def lost(self, keys: Iterable[Key]) -> None:
        """Record that a client with these ``keys`` disconnected; after the last one all keys are awaited again."""
        self._connections -= 1
        self.awaited |= self._keys if self._connections == 0 else self._keys.intersection(keys)

    def passes(self, frame: Collection[Key], subscribed: Collection[Key], now: float) -> bool:
        """Return whether a frame of ``frame``'s keys may pass, given the ``subscribed`` keys of all clients.

        Instrument descriptions always pass: clients read them before they subscribe to books.
        """
        if self._connections == 0:
            return False
        if not self.awaited:
            return True
        if subscribed and now - self._changed >= QUIET_SECONDS:
            self.awaited.clear()
            return True
        return any(key[0] == INSTRUMENTS and key in subscribed for key in frame)
