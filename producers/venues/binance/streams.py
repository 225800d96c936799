"""Binance's stream names and subscription messages.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#live-subscribingunsubscribing-to-streams
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from producers.feed.subscriptions import Operation

NAMED_IN_ADDRESS: Final = 100
"""Maximum symbols in the address; proxies refuse longer ones, so further symbols are subscribed by message."""
DIFFS: Final = "depth@100ms"
TRADES: Final = "trade"
CHANNELS: Final = (DIFFS, TRADES)


def address(names: Sequence[str]) -> str:
    """Return path and query that subscribe to the streams ``names`` (the venue's spelling)."""
    streams = [name(symbol, channel) for symbol in names for channel in CHANNELS]
    return "/stream?streams=" + "/".join(streams) if streams else "/stream"


def request(operation: Operation, streams: Iterable[str], number: int) -> str:
    """Return the message that subscribes to ``streams`` or unsubscribes them."""
    return msgspec.json.encode({"method": operation.upper(), "params": list(streams), "id": number}).decode()


def listing(number: int) -> str:
    """Return the message that requests the list of subscribed streams."""
    return f'{{"method":"LIST_SUBSCRIPTIONS","id":{number}}}'


def name(symbol: str, channel: str) -> str:
    """Return the name of a stream of ``symbol`` (the venue's spelling)."""
    return f"{symbol.lower()}@{channel}"
