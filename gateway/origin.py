"""Origin check for the stream.

Browsers do not apply the same-origin rule to WebSockets: any page a user visits could read a gateway on the user's
network. They do send ``Origin``, so the server decides. Programs send none and are accepted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Final
from urllib.parse import urlsplit

from alphapulse import logs
from gateway.access.address import network_of
from gateway.access.limits import Buckets

MAX_SHOWN: Final = 200
"""Maximum characters of a header in a message."""
_DEFAULT_PORT = {"http": "80", "https": "443"}


class Origins:
    """Which pages may connect; tells in the log of those that may not.

    Args:
        allowed: further origins; ``*`` allows all.
        now: monotonic seconds.
    """

    def __init__(self, allowed: Collection[str], now: Callable[[], float] = time.monotonic) -> None:
        self._allowed = allowed
        self._now = now
        self._lines: Buckets[str] = Buckets(1.0, 1)
        self._log = logs.get("gateway.stream")

    def refusal(self, origin: str | None, host: str | None, address: str) -> str | None:
        """Return why a page from ``origin`` may not connect, None if it may.

        Refusals are logged, at most one a second for each address (IPv6: /64): nobody may fill the log.

        Args:
            origin: as for :func:`origin_allowed`.
            host: likewise.
            address: of the client.
        """
        if origin_allowed(origin, host, self._allowed):
            return None
        found, expected = (origin or "")[:MAX_SHOWN], (host or "")[:MAX_SHOWN]
        text = f"origin {found} is neither {expected} nor in gateway.allowed_origins"
        if self._lines.spend(network_of(address), self._now()).granted:
            self._log.warning("stream refused", reason=text, address=address)
        return text


def origin_allowed(origin: str | None, host: str | None, allowed: Collection[str]) -> bool:
    """Return whether a page from ``origin`` may connect.

    Args:
        origin: the ``Origin`` header (``https://desk.example:8000``), None without one.
        host: the ``Host`` header of the same request.
        allowed: further origins; ``*`` allows all.
    """
    if origin is None or "*" in allowed:
        return True
    if origin.lower() in {each.lower().rstrip("/") for each in allowed}:
        return True
    scheme, _, _ = origin.partition("://")
    default = _DEFAULT_PORT.get(scheme.lower())
    if host is None or default is None:
        return False
    try:
        netloc = urlsplit(origin).netloc
    except ValueError:  # a bracket that is not closed, and such
        return False
    return _with_port(netloc, default) == _with_port(host, default)


def _with_port(host: str, default: str) -> str:
    """``desk.example`` → ``desk.example:80``; an IPv6 address is in brackets."""
    host = host.lower()
    return host if host.rpartition("]")[2].rpartition(":")[1] else f"{host}:{default}"
