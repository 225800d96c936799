"""When to connect again, and when not to: close codes, HTTP statuses, growing pauses with jitter. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from alphapulse.client.errors import ConnectionRefused, CredentialsRefused

FIRST_CEILING: Final = 0.5
LAST_CEILING: Final = 15.0
FLOOR: Final = 0.1
"""Seconds. Full jitter may draw nearly 0; a refused connection must not become a busy loop."""
GOOD_AFTER: Final = 5.0
"""A connection that lived for these seconds was a good one: pauses begin with the shortest again."""

GOING_AWAY: Final = 1012
TOO_LARGE: Final = 1009
UNAUTHORIZED: Final = 3000
FORBIDDEN: Final = 3003
TERMINAL: Final = range(3500, 4900)
# The client's own codes.
CLOSED: Final = 1000
DEAD: Final = 4900
BROKEN: Final = 4902

_RESTART_SPREAD: Final = (5.0, 30.0)
_REFUSING_STATUSES: Final = frozenset({400, 401, 403, 404, 426})


@dataclass(frozen=True, slots=True)
class End:
    """How a connection ended, or an attempt to make one.

    Attributes:
        code: WebSocket close code; 1006 without a closing handshake or connection.
        status: HTTP status of a refused handshake.
        retry_after: seconds that a refused handshake asked for.
        lived: seconds from the gateway's hello to the end, 0 without one.
        spread: seconds that the gateway told with its shutdown: reconnect at a random time between them.
    """

    code: int = 1006
    reason: str = ""
    status: int | None = None
    retry_after: float = 0.0
    lived: float = 0.0
    spread: tuple[float, float] | None = None


class Reconnecting:
    """Pauses between connections: exponential with full jitter, beginning anew after a good connection.

    Args:
        local: the gateway runs on this machine, so that no herd of clients has to be spread over its restart.
        chance: source of randomness.
    """

    def __init__(self, *, local: bool = False, chance: random.Random | None = None) -> None:
        self._local = local
        self._chance = chance if chance is not None else random.Random()  # noqa: S311 not used as a secret
        self._failures = 0
        self._known = False

    def refusal(self, end: End) -> ConnectionRefused | None:
        """Return the error if the gateway said not to come back (with these credentials); else None."""
        if end.status is not None:
            # A path that has been served before is missing only while something is replaced.
            if end.status not in _REFUSING_STATUSES or (end.status == 404 and self._known):
                return None
            kind = CredentialsRefused if end.status in {401, 403} else ConnectionRefused
            return kind(end.status, end.reason)
        if end.code in {UNAUTHORIZED, FORBIDDEN}:
            return CredentialsRefused(end.code, end.reason)
        if end.code == TOO_LARGE or end.code in TERMINAL:
            return ConnectionRefused(end.code, end.reason)
        return None

    def pause(self, end: End) -> float:
        """Return the seconds until the next attempt."""
        if end.lived > 0:
            self._known = True
        if end.lived >= GOOD_AFTER or (end.code == GOING_AWAY and end.lived > 0):
            self._failures = 0
        first = self._failures == 0
        # 2**1000 overflows a float.
        ceiling = min(LAST_CEILING, FIRST_CEILING * 2 ** min(self._failures, 60))
        self._failures += 1
        if first and end.code == GOING_AWAY and not self._local:
            return self._chance.uniform(*(end.spread or _RESTART_SPREAD))
        return max(FLOOR, end.retry_after, self._chance.uniform(0, ceiling))
