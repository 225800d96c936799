"""Strictly increasing clock for the receipt time of frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

STEP_NS: Final = 1000


class RisingClock:
    """Clock whose times always increase, even if the machine's clock steps back.

    Receipt times name epochs, which must increase per instrument over all its connections.

    Args:
        source: ns since the Unix epoch.
    """

    def __init__(self, source: Callable[[], int]) -> None:
        self.source = source
        self._last = 0

    def __call__(self) -> int:
        """Return the receipt time, ns since the Unix epoch."""
        time = self.source()
        if time < (least := self._last + STEP_NS):
            time = least
        self._last = time
        return time
