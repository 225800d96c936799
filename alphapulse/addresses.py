"""Network addresses: ``host:port``, several separated by commas."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

from alphapulse.errors import ValueRefused

_ADDRESS: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:/\[\]@,]+)):(?P<port>[0-9]{1,5})")


def addresses(text: str) -> list[tuple[str, int]]:
    """Parse the addresses in ``text``; return host and port of each. IPv6 addresses are in brackets.

    Raises:
        ValueRefused: ``text`` is not a list of addresses.
    """
    found: list[tuple[str, int]] = []
    for part in text.split(","):
        match = _ADDRESS.fullmatch(part.strip())
        port = int(match["port"]) if match is not None else 0
        if match is None or not 0 < port < 65536:
            raise ValueRefused("expected host:port, several separated by commas")
        found.append((match["v6"] or match["host"], port))
    return found


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches ``host``: ``localhost`` or a loopback address; no name is looked up."""
    try:
        found = ip_address(host.strip("[]"))
    except ValueError:
        return host.lower() == "localhost"
    mapped = getattr(found, "ipv4_mapped", None)
    return found.is_loopback or (mapped is not None and mapped.is_loopback)
