"""Identity of a client and what it may see. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a client is and what it may see.

    Args:
        name: shown in logs and to the client itself.
        scopes: ``stream:<channel>:<venue>``, each of the two ``*`` for any.
        expires: end of the access, ns since the Unix epoch; None: never.
    """

    name: str
    scopes: frozenset[str]
    expires: int | None = None

    def may_stream(self, channel: str, venue: str | None) -> bool:
        """Return whether a scope covers the channel for this venue (None: all venues at once)."""
        channels, venues = (channel, "*"), ("*",) if venue is None else (venue, "*")
        return any(f"stream:{one}:{other}" in self.scopes for one in channels for other in venues)


EVERYONE: Final = Identity("everyone", frozenset({"stream:*:*"}))
"""Clients without credentials where access is open."""
