"""Network addresses: ``host:port``, several separated by commas."""

from __future__ import annotations

import re
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
