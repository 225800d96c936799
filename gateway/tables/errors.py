"""Errors of the tables, as the REST interface answers them."""

from __future__ import annotations

from typing import Final

from alphapulse.errors import RequestRefused


class TablesUnavailable(RequestRefused):
    """ClickHouse cannot answer now; the message says why."""

    def __init__(self, reason: str) -> None:
        super().__init__("history_unavailable", f"the stored data cannot be read: {reason}")


class NotRepresentable(RequestRefused):
    """A stored number is outside of what the interface's exact decimals can hold."""

    def __init__(self, reason: str) -> None:
        super().__init__("not_representable", f"a number has more digits than a decimal of 38 digits: {reason}")


SINK_UNKNOWN: Final = "how far the ClickHouse sink has written is not known"

_OF_NUMBERS = ("DECIMAL_OVERFLOW", "exponent beyond", "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO")


def refusal(message: str) -> RequestRefused:
    """Return the error for a query that ClickHouse refused with ``message``."""
    if any(text in message for text in _OF_NUMBERS):
        return NotRepresentable(message[:300])
    return TablesUnavailable(f"ClickHouse refuses the query: {message[:500]}")
