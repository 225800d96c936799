"""Stream state of one instrument as one collector process hands it to another: the epoch goes on, no trade twice. Pure.

The successor has a book of its own from its own connection. Readers have the predecessor's, as of its last record; so
the successor's first record is a DELTA with the difference, next in sequence.
"""

from __future__ import annotations

import msgspec

from schemas.checkpoints import SideState


class HandedBook(msgspec.Struct, array_like=True):
    """Book of an instrument as readers have it after the last record.

    Attributes:
        valid: whether readers see a valid book; else it has no levels.
        epoch, sequence: of the last record; epoch 0: there was none.
        price_exponent, size_exponent: of the epoch.
        received_time: until when the book is known to be correct, ns since the Unix epoch.
        exchange_time: of the venue's last message that changed it; 0: not stated. The venue's sequence numbers are not
            compared: they may count the messages of a connection.
        bids, asks: the levels.
    """

    valid: bool
    epoch: int
    sequence: int
    price_exponent: int
    size_exponent: int
    received_time: int
    exchange_time: int
    bids: SideState
    asks: SideState


class HandedTrades(msgspec.Struct, array_like=True):
    """Trades of an instrument that are published.

    Attributes:
        last: the highest id, where ids are consecutive; None: they are not, or there was no trade.
        missing: ranges of ids, first and last, that are not published, ascending.
        recent: the last ids, the oldest first, where they are not consecutive.
    """

    last: int | None
    missing: list[tuple[int, int]]
    recent: list[int]


class HandedInstrument(msgspec.Struct, array_like=True):
    """State of one instrument's streams."""

    symbol: str
    book: HandedBook
    trades: HandedTrades
