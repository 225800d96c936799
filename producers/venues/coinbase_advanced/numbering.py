"""Sequence numbers of Coinbase Advanced Trade's frames, one sequence per connection. Pure.

A recording has the numbers of the recorder's connections, possibly several at a time; a replay numbers each client's
frames anew, and must preserve which were missing, late or repeated.
https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-overview#sequence-numbers
"""

from __future__ import annotations

import re
from typing import Final

from producers.venue_server.session import Recorded

UNNUMBERED: Final = b'"sequence_num":-1'
"""Placeholder in a frame for any client: each connection inserts its own number."""
_LATE: Final = b'"sequence_num":0'
"""A number that is no longer expected, used up by an answer to a subscription."""
_FAR: Final = 1000
"""A number this far from every expected one belongs to another connection: the recording begins in its middle."""

_NUMBER = re.compile(rb'"sequence_num":\s*([0-9]{1,18})(?=\s*[,}])')


class RecordedNumbers(Recorded):
    """Removes the numbers from recorded frames and counts the missing frames.

    The next number of each of the recorder's connections is known, but not which frame belongs to which connection.
    That is not needed: an expected number is in order, and an unexpected one shows a loss, or is late.
    """

    def __init__(self) -> None:
        self._expected: list[int] = []

    def prepare(self, frame: bytes) -> tuple[bytes, int]:
        found = _NUMBER.search(frame)
        if found is None:  # truncated before it, or an error, which has none
            return frame, 0
        missing = self._missing(int(found[1]))
        number = _LATE if missing < 0 else UNNUMBERED
        return frame[: found.start()] + number + frame[found.end() :], max(missing, 0)

    def _missing(self, number: int) -> int:
        """Return how many frames before this one are missing; −1: it is late."""
        expected = self._expected
        earlier = max((other for other in expected if number - _FAR < other <= number), default=None)
        if earlier is not None:
            expected.remove(earlier)
            expected.append(number + 1)
            return number - earlier
        if number > 0 and any(number < other < number + _FAR for other in expected):
            return -1
        expected.append(number + 1)  # start of a connection or of the recording
        return 0
