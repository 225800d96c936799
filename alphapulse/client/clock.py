"""The gateway's clock, as far as the client can tell it: ages of books are by it. Pure."""

from __future__ import annotations

import math
from typing import Final

DRIFT: Final = 1e-3
"""How much an earlier measurement loses in precision per second: clocks drift, and are set."""


class GatewayClock:
    """Offset of the gateway's clock (µs since the epoch) to a local one (seconds, of any origin)."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._error = math.inf
        self._measured = 0.0

    def heard(self, time: int, sent: float, received: float) -> None:
        """The gateway read ``time`` (µs) on its clock between ``sent`` and ``received``."""
        error = max(0.0, received - sent) / 2
        # The shortest round trip tells best; an old one gives way in time.
        if error > self._error + max(0.0, received - self._measured) * DRIFT:
            return
        self._offset = time - (sent + received) / 2 * 1e6
        self._error = error
        self._measured = received

    def at(self, now: float) -> int | None:
        """Return the gateway's time (µs) at the local time ``now``; None until it has told its time."""
        return None if self._error == math.inf else round(now * 1e6 + self._offset)
