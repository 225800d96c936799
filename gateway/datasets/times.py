"""Times in requests: microseconds since the Unix epoch, or RFC 3339. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from alphapulse.errors import RequestRefused

PATTERN: Final = r"^(\d{1,16}|\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2}))$"
"""Form of a time, for the OpenAPI document."""
_FORM: Final = re.compile(PATTERN, re.ASCII)
LAST: Final = 9_223_286_400_000_000_000
"""Largest time (ns): 2262-04-11, the last day of ClickHouse's ``DateTime64(9)``."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def nanoseconds(name: str, text: str) -> int:
    """Return the time in the query parameter ``name``, in nanoseconds since the Unix epoch.

    Raises:
        RequestRefused: ``bad_value``; it is neither of the two forms, has no offset, or lies outside of 1970 to 2262.
    """
    if _FORM.fullmatch(text) is None:
        hint = '; write "+" as %2B' if re.search(r"\d \d{2}:\d{2}$", text) else ""
        raise RequestRefused(
            "bad_value",
            f"query {name}: must be microseconds since 1970 or RFC 3339 with an offset, found {text[:60]!r}{hint}",
        )
    try:
        found = int(text) * 1000 if text.isdigit() else _of_calendar(text)
    except ValueError as error:
        raise RequestRefused("bad_value", f"query {name}: not a time: {error}, found {text[:60]!r}") from None
    if not 0 <= found <= LAST:
        raise RequestRefused("bad_value", f"query {name}: must lie between 1970 and 2262, found {text[:60]!r}")
    return found


def _of_calendar(text: str) -> int:
    passed = datetime.fromisoformat(text.upper()) - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 10**9 + passed.microseconds * 1000
