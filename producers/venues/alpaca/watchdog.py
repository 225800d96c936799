"""Watchdog for missing data: distinguishes a silent connection from a closed market. Pure."""

from __future__ import annotations

from typing import Final

from producers.venues.alpaca.calendar import session_at

_SECOND: Final = 1_000_000_000
PATIENCE_SECONDS: Final = {"regular": 60, "extended": 1800}
"""A connection without data for this long, in such a session, is silent."""
_LONGEST_SECONDS: Final = 1800
"""Upper bound of the timeout, which doubles so that symbols that hardly trade do not cause a reconnect every minute."""


class StreamWatchdog:
    """Watches one connection at a time.

    Attributes:
        strikes: connections found silent in this session since the last data.
    """

    def __init__(self) -> None:
        self._heard: int | None = None
        self._session = 0
        self.strikes = 0

    def subscribed(self, now: int) -> None:
        """Expect data from ``now`` on (nanoseconds since the Unix epoch)."""
        self._heard = now

    def heard(self, now: int) -> None:
        """Data came."""
        self._heard = now
        self.strikes = 0

    def disconnected(self) -> None:
        """Expect no data until the next :meth:`subscribed`."""
        self._heard = None

    def mute(self, now: int) -> int | None:
        """Return the seconds of trading time without data if they exceed the timeout, which then doubles; else None."""
        session = session_at(now)
        if self._heard is None or session is None:
            return None
        if session.opened != self._session:  # a symbol quiet before hours may be active now
            self._session, self.strikes = session.opened, 0
        since = max(self._heard, session.opened)
        patience = PATIENCE_SECONDS[session.kind]
        if now - since < min(patience << self.strikes, max(patience, _LONGEST_SECONDS)) * _SECOND:
            return None
        self.strikes = min(self.strikes + 1, 8)
        self._heard = None
        return (now - since) // _SECOND
