"""Checksum of a book: CRC-32 of the best levels' decimal text, by which a client proves its book. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final
from zlib import crc32

CHECKSUM_LEVELS: Final = 10
"""Levels a side that count."""


def checksum(bids: Sequence[tuple[str, str]], asks: Sequence[tuple[str, str]]) -> int:
    """Return the checksum of a book whose sides are (price, size) as decimal text, best first."""
    sides = ("".join(f"{price}:{size}," for price, size in islice(side, CHECKSUM_LEVELS)) for side in (bids, asks))
    return crc32("|".join(sides).encode())
