"""What Coinbase's heartbeats tell of one product. Pure.

https://docs.cdp.coinbase.com/exchange/websocket-feed/channels#heartbeat-channel: one a second, with the id of the
product's last trade and the number of its last message.

*A lost trade*, if no later one shows the jump in ids. The venue makes heartbeats beside the matches and does not say
that they keep to the order of those: one may be ahead of a match that is on its way. So it is believed when the next
one comes, a second later: all that was only overtaken is there by then.

*That nothing has changed*, if the number is that of the heartbeat before: the product had no message of any channel. A
number that rises says nothing of the book, as most messages are of channels that we do not hear.
"""

from __future__ import annotations

from producers.venues.coinbase.messages import Heartbeat


class Heartbeats:
    """One product's, on one connection."""

    __slots__ = ("_last_trade", "_sequence")

    def __init__(self) -> None:
        self._last_trade = 0
        self._sequence = 0

    def take(self, beat: Heartbeat) -> tuple[int, bool]:
        """Return the id up to which trades are sure to exist (0: none), and whether nothing has changed.

        Both are of the time between the heartbeat before and this one. Where ids go back the lower one is sure.
        """
        sure = min(self._last_trade, beat.last_trade_id)
        unchanged = beat.sequence > 0 and beat.sequence == self._sequence
        self._last_trade, self._sequence = beat.last_trade_id, beat.sequence
        return sure, unchanged
