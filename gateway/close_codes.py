"""WebSocket close codes of the gateway.

RFC 6455 leaves 3000-4999 to applications. As in Centrifugo, 3000-3499 (and the standard codes) mean "reconnect with
random backoff", 3500 and above mean "do not reconnect without a change"; the reason says what is wrong. Clients close
with codes of their own, from 4900 on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class CloseCode:
    """A WebSocket close code and the reason sent with it (at most 123 bytes, RFC 6455 5.5)."""

    number: int
    reason: str


INTERNAL: Final = CloseCode(1011, "a fault of the gateway; it is in its log")
RESTART: Final = CloseCode(1012, "the gateway is restarting")
"""Announced in band by ``{"type":"shutdown"}``. Clients should reconnect after a random 5-30 s."""
UNAUTHORIZED: Final = CloseCode(3000, "credentials missing, wrong or expired")
"""Clients reconnect only with other credentials."""
FORBIDDEN: Final = CloseCode(3003, "access was withdrawn")
"""The API key was revoked or changed, or the identity has no scope for anything here."""
SLOW: Final = CloseCode(3008, "too slow: the client read nothing for too long and its queue is full")
"""The client was conflated first; it gets full snapshots after it reconnects."""
NO_PONG: Final = CloseCode(3012, "no pong: the connection is considered dead")
CONNECTION_LIMIT: Final = CloseCode(3013, "connection limit of the gateway reached")
"""``gateway.max_connections`` is reached."""
MISUSE: Final = CloseCode(3500, "too many refused messages in a row; see the preceding error messages")
"""A client repeats messages that were refused."""

ALL: Final = (INTERNAL, RESTART, UNAUTHORIZED, FORBIDDEN, SLOW, NO_PONG, CONNECTION_LIMIT, MISUSE)
