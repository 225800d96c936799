"""Address of a ClickHouse server, as clickhouse-connect reads it."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs, urlsplit

PORT: Final = 8123
TLS_PORT: Final = 8443

_TLS_PORTS: Final = (443, TLS_PORT)
_TRUE: Final = ("1", "true", "yes", "on")


def is_embedded(dsn: str) -> bool:
    """Return whether ``dsn`` is the engine in the process."""
    return not dsn or dsn.startswith("chdb:")


def uses_tls(dsn: str) -> bool:
    """Return whether the server at ``dsn`` is reached over TLS: ``https://``, ``?secure=true`` or the port of TLS.

    Raises:
        ValueError: not an address.
    """
    parts = urlsplit(dsn)
    asked = {key.lower(): values[0].lower() for key, values in parse_qs(parts.query).items()}
    if (interface := asked.get("interface", parts.scheme)) in ("https", "http"):
        return interface == "https"
    return asked.get("secure") in _TRUE or parts.port in _TLS_PORTS


def place(dsn: str) -> tuple[str, int]:
    """Return host and port of ``dsn``.

    Raises:
        ValueError: not an address.
    """
    parts = urlsplit(dsn)
    return parts.hostname or "localhost", parts.port or (TLS_PORT if uses_tls(dsn) else PORT)
