"""Layouts: which folder a row belongs into, and which columns its file has. Pure, no I/O.

A layout is a list of keys, in the order of the folders: ``date``, ``hour``, ``venue``, ``symbol``. Readers of Hive's
partitions take venue and symbol from the folder, so files there do not have these columns: a column that is in both
makes some readers fail, and others ask which one is meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from alphapulse.errors import ServiceError
from schemas.definitions import definitions
from schemas.records import Record
from sinks.columns import columns, record_time, schema
from sinks.parquet.decimals import fields, with_decimals
from sinks.parquet.names import HOUR_NS, Stored, folder_of

_INSTRUMENT: Final = ("venue", "symbol")
_CLASS_OF: Final[dict[str, type[Record]]] = {found.topic: found.record for found in definitions()}


class Layout:
    """A layout for all topics; a key that a topic's records do not have as a column is left out there.

    Args:
        keys: as ``parquet.partition_by``.
        decimals: whether files have the columns of :mod:`sinks.parquet.decimals`.
    """

    def __init__(self, keys: Sequence[str], *, decimals: bool = False) -> None:
        self._keys = tuple(keys)
        self._decimals = decimals

    @property
    def by_instrument(self) -> bool:
        """Whether rows of several instruments are in several folders."""
        return bool({*_INSTRUMENT} & {*self._keys})

    def keys(self, kind: type[Record]) -> tuple[str, ...]:
        """Return the keys of a record class."""
        names = {column.name for column in columns(kind)}
        return tuple(key for key in self._keys if key not in _INSTRUMENT or key in names)

    def schema(self, kind: type[Record]) -> pa.Schema:
        """Return the columns of the files of a record class."""
        made = [*schema(kind), *(fields(kind) if self._decimals else ())]
        return pa.schema([field for field in made if field.name not in self.keys(kind)])

    def split(self, topic: str, kind: type[Record], rows: pa.RecordBatch) -> list[tuple[str, pa.RecordBatch]]:
        """Split rows, at least one, by their folder; each part keeps their order.

        Args:
            rows: columns as :func:`sinks.columns.schema`, and any others.
        """
        keys = self.keys(kind)
        if self._decimals:
            rows = with_decimals(kind, rows)
        hours = np.floor_divide(rows.column(record_time(kind)).cast(pa.int64()).to_numpy(), HOUR_NS)
        if "hour" not in keys:
            hours -= hours % 24
        # One number for each combination of hour, venue and symbol.
        distinct, numbers = np.unique(hours, return_inverse=True)
        texts: dict[str, list[str | None]] = {}
        for name in _INSTRUMENT:
            if name in keys:
                column: pa.DictionaryArray = rows.column(name)  # type: ignore[assignment, type-arg]
                codes = column.indices.fill_null(len(column.dictionary)).to_numpy()
                numbers = numbers * (len(column.dictionary) + 1) + codes
                texts[name] = [*column.dictionary.to_pylist(), None]
        kept = rows.select([name for name in rows.schema.names if name not in texts])
        if (numbers == numbers[0]).all():
            cuts = np.zeros(1, np.int64)
        else:
            order = np.argsort(numbers, kind="stable")
            places: Any = pa.array(order)
            kept = kept.take(places)
            hours, numbers = hours[order], numbers[order]
            cuts = np.concatenate([[0], np.flatnonzero(np.diff(numbers)) + 1])
        found: list[tuple[str, pa.RecordBatch]] = []
        for start, end in zip(cuts.tolist(), [*cuts[1:].tolist(), rows.num_rows], strict=True):
            number = int(numbers[start])
            values: dict[str, str | None] = {}
            for name in reversed(texts):
                number, code = divmod(number, len(texts[name]))
                values[name] = texts[name][code]
            found.append((folder_of(topic, keys, int(distinct[number]), values), kept.slice(start, end - start)))
        return found

    def check(self, place: str, files: Iterable[Stored]) -> None:
        """Check that files have this layout.

        Args:
            place: of the store, for the message.

        Raises:
            ServiceError: one has another.
        """
        for file in files:
            topic = file.partition.topic
            wanted = self.keys(_CLASS_OF[topic])
            if file.keys != wanted:
                raise ServiceError(
                    f"parquet.partition_by: {place}/{topic} has files by {', '.join(file.keys)} ({file.path}), not by "
                    f"{', '.join(wanted)}; a topic's folder has one layout, or readers fail: set it back, set "
                    "parquet.path to another folder, or move the files away"
                )
