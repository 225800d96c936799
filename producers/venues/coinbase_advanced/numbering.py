"""The numbers of Coinbase Advanced Trade's frames: one row of them per connection. Pure.

A recording holds the numbers of the recorder's connections, perhaps of several at a time, and whoever plays it numbers
each client's frames anew. What must not get lost thereby is that some were missing, came late or came twice.
https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-overview#sequence-numbers
"""

from __future__ import annotations

import re
from typing import Final

from producers.venue_server.session import Recorded

UNNUMBERED: Final = b'"sequence_num":-1'
"""In a frame that any client may get: each connection puts its own number there."""
_LATE: Final = b'"sequence_num":0'
"""Nobody waits for this number any more: subscriptions have been answered before."""
_FAR: Final = 1000
"""A number that far from every one expected is another connection's: the recording begins in its middle."""

_NUMBER = re.compile(rb'"sequence_num":\s*([0-9]{1,18})(?=\s*[,}])')


class RecordedNumbers(Recorded):
    """Takes the numbers out of recorded frames and tells how many of them are missing.

    Of each of the recorder's connections the number that comes next is known, but not which frame is whose. It need
    not be: a number that is expected is in order, whoever expects it, and one that is not shows a loss, or comes late.
    """

    def __init__(self) -> None:
        self._expected: list[int] = []

    def prepare(self, frame: bytes) -> tuple[bytes, int]:
        found = _NUMBER.search(frame)
        if found is None:  # cut off before it, or an error, which has none
            return frame, 0
        missing = self._missing(int(found[1]))
        number = _LATE if missing < 0 else UNNUMBERED
        return frame[: found.start()] + number + frame[found.end() :], max(missing, 0)

    def _missing(self, number: int) -> int:
        """Return how many frames before this one are missing; −1: it comes late."""
        expected = self._expected
        earlier = max((other for other in expected if number - _FAR < other <= number), default=None)
        if earlier is not None:
            expected.remove(earlier)
            expected.append(number + 1)
            return number - earlier
        if number > 0 and any(number < other < number + _FAR for other in expected):
            return -1
        expected.append(number + 1)  # a connection that begins, or the recording does
        return 0
