"""What REST needs of ClickHouse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol, TypeAlias

import pyarrow as pa

Parameters: TypeAlias = Mapping[str, str | int]
"""Values of the ``{name:Type}`` in a query; ClickHouse binds them, they are never part of the text."""

QUERY_SECONDS: Final = 20.0
"""Timeout of one query. A result is read in pages, so a query returns at most a page."""


class Tables(Protocol):
    """Read access to the tables of the ClickHouse sink."""

    async def read(self, query: str, parameters: Parameters) -> pa.Table:
        """Return the rows of ``query``, all at once: the query bounds their number.

        A caller that is cancelled ends the query in ClickHouse, too.

        Raises:
            TablesUnavailable: ClickHouse cannot be reached, is busy, takes too long or refuses the query.
            NotRepresentable: a number does not fit the type of its column.
        """

    async def close(self) -> None:
        """Close the connections."""
