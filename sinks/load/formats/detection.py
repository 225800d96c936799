"""Which format a file has: by its first lines, not by what somebody says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sinks.load.faults import SHOWN, SourceRefused
from sinks.load.formats import binance, tardis
from sinks.load.formats.contract import Format
from sinks.load.source import SourceFile

KNOWN: Final = (
    "Tardis trades, incremental_book_L2, book_snapshot_5 and book_snapshot_25; "
    "Binance public data trades and aggTrades (docs/load.md)"
)


def format_of(source: SourceFile) -> Format:
    """Return the format of a file.

    Raises:
        SourceRefused: it cannot be read, is empty, or has another format.
    """
    first, second = source.first_lines()
    if not first:
        raise SourceRefused(source.path, 1, "the file is empty, or begins with an empty line")
    columns = _fields(first)
    found: Format | None = tardis.format_of(columns) or binance.format_of(source.path, columns, _fields(second))
    if found is None:
        line = first.decode("utf-8", "backslashreplace")
        shown = line if len(line) <= SHOWN else f"{line[:SHOWN]}…"
        raise SourceRefused(source.path, 1, f"no known format: {shown!r}; known: {KNOWN}")
    return found


def _fields(line: bytes) -> Sequence[str]:
    return [part.strip('"') for part in line.decode("utf-8", "backslashreplace").split(",")] if line else ()
