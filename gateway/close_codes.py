"""Every code with which the gateway closes a WebSocket, in one list.

RFC 6455 leaves 3000-4999 to applications. As in Centrifugo, 3000-3499 (and the standard codes) mean "connect again,
after a growing random pause" and 3500 and above mean "do not come back as you are": the reason says what is wrong.
Clients close with codes of their own, from 4900 on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class CloseCode:
    """A WebSocket close code and the reason sent with it (at most 123 bytes, RFC 6455 5.5)."""

    number: int
    reason: str


RESTART: Final = CloseCode(1012, "the gateway is restarting")
"""Announced in band by ``{"type":"shutdown"}``. Come back after a random 5-30 s, not all at once."""
SLOW: Final = CloseCode(3008, "too slow: nothing was read for too long and the queue is full")
"""The client was conflated first; it gets whole snapshots when it comes back."""
NO_PONG: Final = CloseCode(3012, "no pong: the connection seems dead")
CONNECTION_LIMIT: Final = CloseCode(3013, "all connections of the gateway are in use")
"""``gateway.max_connections`` is reached."""
MISUSE: Final = CloseCode(3500, "too many refused messages in a row; see the error messages before")
"""A client that goes on sending what it was told is wrong."""

ALL: Final = (RESTART, SLOW, NO_PONG, CONNECTION_LIMIT, MISUSE)
