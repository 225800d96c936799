"""Whether the venue should be saying something: "connected but mute" is told from "the market is closed". Pure."""

from __future__ import annotations

from typing import Final

from producers.venues.alpaca.calendar import session_at

_SECOND: Final = 1_000_000_000
PATIENCE_SECONDS: Final = {"regular": 60, "extended": 1800}
"""Without any data for so long, in such a session, a connection is mute."""
_LONGEST_SECONDS: Final = 1800
"""Symbols that hardly trade must not mean a new connection a minute: the patience doubles, up to this."""


class StreamWatchdog:
    """Watches one connection at a time.

    Attributes:
        strikes: connections found mute in this session since data last came.
    """

    def __init__(self) -> None:
        self._heard: int | None = None
        self._session = 0
        self.strikes = 0

    def subscribed(self, now: int) -> None:
        """From ``now`` (nanoseconds since the Unix epoch) data may be expected."""
        self._heard = now

    def heard(self, now: int) -> None:
        """Data came."""
        self._heard = now
        self.strikes = 0

    def disconnected(self) -> None:
        """Nothing is expected until the next :meth:`subscribed`."""
        self._heard = None

    def mute(self, now: int) -> int | None:
        """Return for how many seconds of trading nothing came, if that is too long; next time it has to be longer."""
        session = session_at(now)
        if self._heard is None or session is None:
            return None
        if session.opened != self._session:  # what was quiet before hours need not be quiet now
            self._session, self.strikes = session.opened, 0
        since = max(self._heard, session.opened)
        patience = PATIENCE_SECONDS[session.kind]
        if now - since < min(patience << self.strikes, max(patience, _LONGEST_SECONDS)) * _SECOND:
            return None
        self.strikes = min(self.strikes + 1, 8)
        self._heard = None
        return (now - since) // _SECOND
