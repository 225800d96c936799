"""Names of Binance's streams and the messages that subscribe to them.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#live-subscribingunsubscribing-to-streams
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from producers.outputs import Send
from producers.protocol import Operation, quoted

NAMED_IN_ADDRESS: Final = 100
"""Symbols; longer addresses are refused by servers on the way, so further ones are subscribed to by message."""


def address(names: Sequence[str]) -> str:
    """Return path and query that subscribe to the first of ``names`` (the venue's spelling)."""
    return "/stream?streams=" + "/".join(_streams(names[:NAMED_IN_ADDRESS]))


def rest(names: Sequence[str]) -> list[Send]:
    """Return what subscribes to those of ``names`` that the address does not name."""
    later = range(NAMED_IN_ADDRESS, len(names), NAMED_IN_ADDRESS)
    return [request("subscribe", names[at : at + NAMED_IN_ADDRESS], at) for at in later]


def request(operation: Operation, names: Iterable[str], number: int) -> Send:
    """Return the message that subscribes to all streams of ``names``, or ends them."""
    return Send(f'{{"method":"{operation.upper()}","params":{quoted(_streams(names))},"id":{number}}}')


def _streams(names: Iterable[str]) -> list[str]:
    return [f"{name.lower()}@{channel}" for name in names for channel in ("depth@100ms", "trade")]
