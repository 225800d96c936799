"""``python -m producers.names VENUE``: symbols of names as a venue spells them, for programs that import no venue.

Reads a JSON list of names from standard input; prints a JSON object of name → ``{"symbol": …}`` or ``{"reason": …}``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from alphapulse import output
from alphapulse.errors import ValueRefused
from alphapulse.instruments import check_symbol
from producers import registry


def symbol_of(venue: str, name: str) -> str:
    """Return the symbol of a venue's name. A venue that we do not know separates base and quote by ``-``, ``/``, ``_``.

    Raises:
        ValueRefused: neither the venue's rules nor, without any, the name tells base and quote.
    """
    rules = _rules_of(venue)
    if rules is None:
        parts = name.upper().replace("/", "-").replace("_", "-").split("-")
        if len(parts) != 2:
            raise ValueRefused(f"{venue} has no rules here, and {name[:80]!r} does not show base and quote")
        return check_symbol("-".join(parts))
    first: ValueRefused | None = None
    # Vendors write names in another case than the venue.
    for spelled in dict.fromkeys((name, name.upper(), name.lower())):
        try:
            found: str = rules.canonical_symbol(spelled)
        except ValueRefused as error:
            first = first or error
        else:
            return found
    raise first if first is not None else ValueRefused(f"not a symbol: {name[:80]!r}")


def _rules_of(venue: str) -> Any:
    if (own := registry.part(venue, "symbols")) is not None:
        return own
    every = (registry.part(name, "symbols") for name in registry.names())
    return next((rules for rules in every if venue in getattr(rules, "MARKETS", ())), None)


def answers(venue: str, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return name → ``symbol``, or the ``reason`` why it has none."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        try:
            found[name] = {"symbol": symbol_of(venue, name)}
        except ValueRefused as error:
            found[name] = {"reason": str(error)}
    return found


def main() -> int:
    """Answer; return the exit code."""
    print(json.dumps(answers(sys.argv[1], json.load(sys.stdin))))  # noqa: T201
    return 0


if __name__ == "__main__":
    output.finish(main)
