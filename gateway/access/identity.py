"""Identities and their scopes. Pure.

A scope is text: ``stream:<channel>:<venue>`` (each of the two ``*`` for any), ``rest:market``, ``rest:system``,
``rest:history``, ``rest:*`` or ``admin:symbols``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from alphapulse.errors import ValueRefused

ANY: Final = "*"
STREAM: Final = "stream"
REST_MARKET: Final = "rest:market"
REST_SYSTEM: Final = "rest:system"
REST_HISTORY: Final = "rest:history"
REST_ALL: Final = "rest:*"
ADMIN_SYMBOLS: Final = "admin:symbols"
STREAM_ALL: Final = "stream:*:*"

FIXED: Final = (REST_MARKET, REST_SYSTEM, REST_HISTORY, REST_ALL, ADMIN_SYMBOLS)
"""All scopes without variable parts."""
MAX_SCOPES: Final = 200
"""Maximum scopes of an identity."""

_STREAM_SCOPE: Final = re.compile(r"stream:(?:\*|[a-z][a-z0-9_]{0,31}):(?:\*|[a-z][a-z0-9_]{0,31})", re.ASCII)
_FORMS: Final = f"known: stream:<channel>:<venue> (a name or * each), {', '.join(FIXED)}"


class BadScope(ValueRefused):
    """A scope of unknown form; ``scope`` is its text."""

    def __init__(self, scope: str, reason: str) -> None:
        self.scope = scope
        super().__init__(reason)


def check_scope(scope: str) -> str:
    """Return ``scope`` if it has a known form.

    Raises:
        BadScope: it has not; the message names it and the known forms.
    """
    if scope in FIXED or _STREAM_SCOPE.fullmatch(scope):
        return scope
    raise BadScope(scope, f"scope {scope[:80]!r}: unknown; {_FORMS}")


def scopes_of(words: Iterable[str]) -> frozenset[str]:
    """Return the scopes in ``words``.

    Raises:
        BadScope: one has no known form, or there are more than :data:`MAX_SCOPES`.
    """
    found = frozenset(check_scope(word) for word in words)
    if len(found) > MAX_SCOPES:
        raise BadScope("", f"scopes: {len(found)} of them; at most {MAX_SCOPES}")
    return found


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a client is and what it may see.

    Args:
        name: the token's subject or the API key's name; shown in logs and to the client itself.
        scopes: valid scopes (:func:`scopes_of`).
        expires: end of the access, ns since the Unix epoch, leeway included; None: never.
        key: id of the API key; None: another kind of credentials. :meth:`gateway.access.gate.Gate.check` needs it to
            notice that the key was revoked.
    """

    name: str
    scopes: frozenset[str]
    expires: int | None = None
    key: str | None = None

    def may_stream(self, channel: str, venue: str | None) -> bool:
        """Return whether a scope covers the channel for this venue.

        Args:
            channel: name of the channel.
            venue: None: all venues at once, as in the channel ``arbitrage``. That needs a scope for any venue
                (``stream:arbitrage:*``): a client restricted to some venues must not see the prices of others there.
        """
        scopes = self.scopes
        return (
            f"stream:{channel}:*" in scopes
            or STREAM_ALL in scopes
            or (venue is not None and (f"stream:{channel}:{venue}" in scopes or f"stream:*:{venue}" in scopes))
        )

    def may_call(self, scope: str) -> bool:
        """Return whether ``scope`` (``rest:market``, ``admin:symbols``) is granted; ``rest:*`` covers all of REST."""
        return scope in self.scopes or (scope.startswith("rest:") and REST_ALL in self.scopes)

    def same_as(self, other: Identity) -> bool:
        """Return whether both are the same client, perhaps with another token: their limits are the same."""
        return (self.name, self.key) == (other.name, other.key)


EVERYONE: Final = Identity("everyone", frozenset({STREAM_ALL, REST_ALL}))
"""Clients without credentials where access is open: they read everything and change nothing."""
