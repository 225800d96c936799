"""Origin check for the stream. Pure.

Browsers do not apply the same-origin rule to WebSockets: any page a user visits could read a gateway on the user's
network. They do send ``Origin``, so the server decides. Programs send none and are accepted.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

_DEFAULT_PORT = {"http": "80", "https": "443"}


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
    return _with_port(urlsplit(origin).netloc, default) == _with_port(host, default)


def _with_port(host: str, default: str) -> str:
    """``desk.example`` → ``desk.example:80``; an IPv6 address is in brackets."""
    host = host.lower()
    return host if host.rpartition("]")[2].rpartition(":")[1] else f"{host}:{default}"
