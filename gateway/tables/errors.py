"""Errors of the tables, as the REST interface answers them."""

from __future__ import annotations

import re
from typing import Final

from alphapulse import logs
from alphapulse.errors import RequestRefused


class TablesUnavailable(RequestRefused):
    """ClickHouse cannot answer now; the message says why."""

    def __init__(self, reason: str) -> None:
        super().__init__("history_unavailable", f"the stored data cannot be read: {reason}")
        self.reason = reason


class NotRepresentable(RequestRefused):
    """A stored number is outside of what the interface's exact decimals can hold."""

    def __init__(self, reason: str) -> None:
        super().__init__("not_representable", f"a number has more digits than a decimal of 38 digits: {reason}")


SINK_UNKNOWN: Final = "how far the ClickHouse sink has written is not known"

_OF_NUMBERS = ("DECIMAL_OVERFLOW", "exponent beyond", "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO")


_KIND: Final = re.compile(r"\(([A-Z][A-Z0-9_]{3,})\)")


def refusal(message: str) -> RequestRefused:
    """Return the error for a query that ClickHouse refused with ``message``.

    Clients learn its kind (``UNKNOWN_TABLE``) only: the message has users, hosts and SQL.
    """
    kinds = _KIND.findall(message)
    if any(text in message for text in _OF_NUMBERS):
        return NotRepresentable(kinds[-1] if kinds else "overflow")
    return TablesUnavailable(f"ClickHouse refuses the query{f': {kinds[-1]}' if kinds else ''}")


class FailureLog:
    """Logs why queries fail; not again while the reason stays the same."""

    def __init__(self) -> None:
        self._last = ""
        self._log = logs.get("gateway.tables")

    def failed(self, where: str, reason: str) -> None:
        """Log ``reason``, which has no credentials."""
        if reason != self._last:
            self._log.warning("stored data cannot be read", where=where, reason=reason)
        self._last = reason

    def answered(self) -> None:
        """Note that a query was answered: the next failure is a new one."""
        self._last = ""
