"""Receipt time of a collector's frames: the machine's clock, made strictly rising."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

STEP_NS: Final = 1000


class RisingClock:
    """Each time is later than the one before, whatever the machine's clock does.

    Epochs are named by it, and those of an instrument must rise on all of its connections.

    Args:
        source: ns since the Unix epoch.
    """

    def __init__(self, source: Callable[[], int]) -> None:
        self.source = source
        self._last = 0

    def __call__(self) -> int:
        """Return the time, ns since the Unix epoch."""
        time = self.source()
        if time < (least := self._last + STEP_NS):
            time = least
        self._last = time
        return time
