"""Evaluation of Coinbase's heartbeats of one product. Pure.

https://docs.cdp.coinbase.com/exchange/websocket-feed/channels#heartbeat-channel: one per second, with the id of the
product's last trade and the sequence number of its last message.

*Lost trades*, if no later trade shows the gap in ids. The venue sends heartbeats beside the matches and does not
guarantee their order: a heartbeat may overtake a match in flight. So its trade id counts only when the next heartbeat
arrives, a second later: overtaken matches have arrived by then.

*Nothing has changed*, if the number equals that of the heartbeat before: the product had no message on any channel. An
increased number says nothing about the book, as most messages are on channels that are not subscribed.
"""

from __future__ import annotations

from producers.venues.coinbase.messages import Heartbeat


class Heartbeats:
    """Heartbeats of one product on one connection."""

    __slots__ = ("_last_trade", "_sequence")

    def __init__(self) -> None:
        self._last_trade = 0
        self._sequence = 0

    def take(self, beat: Heartbeat) -> tuple[int, bool]:
        """Return the id up to which trades certainly exist (0: none), and whether nothing has changed.

        Both refer to the time between the previous heartbeat and this one. If ids go back, the lower one counts.
        """
        sure = min(self._last_trade, beat.last_trade_id)
        unchanged = beat.sequence > 0 and beat.sequence == self._sequence
        self._last_trade, self._sequence = beat.last_trade_id, beat.sequence
        return sure, unchanged
