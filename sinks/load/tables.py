"""Loads into ClickHouse tables: a row that the table has is not inserted again.

A row is known by what it says, not by the file it came from: a trade by (venue, symbol, trade_id), whoever stored it,
a record of a book by (venue, symbol, epoch, sequence). So neither a repetition, nor a file that overlaps with another,
nor trades that a collector has published double a row. Of each batch the table is asked first for the rows that it has
in the batch's range of times, then what is missing is inserted, then counted: a killed load may have left a
deduplication token whose block was never stored (see :mod:`sinks.clickhouse.writer`).

``_incarnation`` is ``load:`` and the source's id, ``_offset`` the line in the source, ``_partition`` 0.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alphapulse import topics
from alphapulse.config import Settings
from alphapulse.errors import ServiceError
from sinks.clickhouse.engine import Engine, StatementRefused
from sinks.clickhouse.preparation import explained
from sinks.clickhouse.retention import ttls
from sinks.clickhouse.tables import INCARNATION, TABLE_OF, migrate, tune
from sinks.clickhouse.writer import INSERT_SETTINGS, REPAIRS
from sinks.columns import OFFSET
from sinks.load.contract import Written
from sinks.load.trades import category
from sinks.load.unit import Survey

PREFIX: Final = "load:"
_SIDES: Final = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
_SLACK_NS: Final = 3_600 * 10**9
"""A collector has received a trade at most this long before or after the time of receipt that a vendor tells."""
_EXACT_NS: Final = 10**6
"""A venue's times are in milliseconds on one of its interfaces and in microseconds on another."""


@dataclass(frozen=True, slots=True)
class _Instrument:
    venue: str
    symbol: str


class TableTarget:
    """ClickHouse as a :class:`sinks.load.contract.Target`.

    Args:
        settings: the database.
        tell: told why ClickHouse is waited for.
        engine: to it, not open; None: as configured.
    """

    def __init__(self, settings: Settings, tell: Callable[[str], None], engine: Engine | None = None) -> None:
        self._settings = settings
        self._tell = tell
        self._never = asyncio.Event()
        self._engine = Engine(settings) if engine is None else engine
        self._incarnation = ""
        self._topic = topics.TRADES

    async def open(self) -> None:
        """Connect and create or migrate the tables; a server that does not answer now is not waited for."""
        engine, at_once, reasons = self._engine, asyncio.Event(), []
        at_once.set()
        engine.waiting = lambda reason: reasons.append(reason) if reason else None

        async def prepare() -> None:
            await migrate(engine)
            if engine.embedded:
                await tune(engine)

        await engine.open(at_once)
        if reasons or not await engine.retry(prepare, at_once):
            raise ServiceError(reasons[-1])
        engine.waiting = lambda reason: self._tell(f"waiting: {reason}") if reason else None

    async def begin(self, path: Path, survey: Survey) -> Written | None:
        """Refuse rows that the table's retention would remove."""
        self._topic, self._incarnation = survey.format.topic, f"{PREFIX}{survey.id}"
        table = TABLE_OF[self._topic]
        found = next(each for each in await ttls(self._engine, self._settings.clickhouse) if each.table == table)
        if found.seconds and survey.first_time and survey.first_time < time.time_ns() - found.seconds * 10**9:
            first = datetime.fromtimestamp(survey.first_time // 10**9, UTC)
            raise ServiceError(
                f"{path}: its rows begin {first:%Y-%m-%d %H:%M}, and table {table.name} keeps rows for {found.days:g} "
                f'days: ClickHouse would remove them. Set [clickhouse] ttl_days = {{ "{self._topic}" = 0 }} (or more '
                "days), run `alphapulse clickhouse ttl`, and repeat the load"
            )
        return None

    async def write(self, rows: pa.RecordBatch) -> Written:
        """Insert the rows that are missing."""
        written = Written()
        if not rows.num_rows:
            return written

        async def attempt() -> None:
            nonlocal written
            try:
                written = await self._write(rows)
            except StatementRefused as error:
                raise explained(self._engine, TABLE_OF[self._topic].name, error) from error

        await self._engine.retry(attempt, self._never)
        return written

    async def end(self) -> Written:
        """Do nothing: rows are durable once they are inserted."""
        return Written()

    async def close(self) -> None:
        """Close the connection."""
        await self._engine.close()

    async def _write(self, rows: pa.RecordBatch) -> Written:
        name = TABLE_OF[self._topic].name
        missing = await self._missing(rows)
        written = Written(missing.num_rows, rows.num_rows - missing.num_rows)
        own = await self._own(rows) if written.present else 0
        token = self._token(rows, missing)
        for attempt in range(REPAIRS):
            if not missing.num_rows:
                return written
            settings = {
                **INSERT_SETTINGS,
                "insert_deduplication_token": token + (f":{secrets.token_hex(8)}" if attempt else ""),
            }
            await self._engine.insert(name, self._block(missing), settings)
            if await self._own(rows) == own + written.stored:
                return written
            missing = await self._missing(rows)
        raise ServiceError(f"ClickHouse at {self._engine.place} does not keep what is inserted into {name}")

    def _token(self, rows: pa.RecordBatch, missing: pa.RecordBatch) -> str:
        offsets = rows.column(OFFSET)
        token = f"{self._incarnation}:{self._topic}:{offsets[0].as_py()}-{offsets[-1].as_py()}"
        if missing.num_rows == rows.num_rows:
            return token
        left = np.ascontiguousarray(missing.column(OFFSET).to_numpy())
        return f"{token}:{hashlib.sha256(left.tobytes()).hexdigest()[:16]}"

    def _block(self, rows: pa.RecordBatch) -> pa.Table:
        name = category(np.zeros(rows.num_rows, np.int32), [self._incarnation])
        return pa.Table.from_batches([rows]).append_column(INCARNATION, name)

    async def _own(self, rows: pa.RecordBatch) -> int:
        """Return how many of the rows the table has of this source."""
        table = TABLE_OF[self._topic]
        first, last = _range(rows, table.time)
        offsets = rows.column(OFFSET)
        found = await self._engine.rows(
            f"SELECT count() FROM {table.name} WHERE {INCARNATION} = {{incarnation:String}} "  # noqa: S608 our own names
            f"AND {_between(table.time, first, last)} "
            f"AND {OFFSET} BETWEEN {offsets[0].as_py()} AND {offsets[-1].as_py()}",
            {"incarnation": self._incarnation},
        )
        return int(found[0][0])

    async def _missing(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        present = np.zeros(rows.num_rows, np.bool_)
        for instrument, mine in _instruments(rows):
            part = rows if mine.all() else rows.filter(pa.array(mine))
            if self._topic == topics.TRADES:
                present[mine] = await self._trades_there(instrument, part)
            else:
                present[mine] = await self._updates_there(instrument, part)
        return rows if not present.any() else rows.filter(pa.array(~present))

    async def _trades_there(self, instrument: _Instrument, rows: pa.RecordBatch) -> Any:
        first, last = _range(rows, "received_time")
        exact = _range(rows, "exchange_time")
        found = await self._engine.rows(
            "SELECT trade_id FROM trades WHERE venue = {venue:String} AND symbol = {symbol:String} "  # noqa: S608 numbers
            f"AND {_between('received_time', max(first - _SLACK_NS, 0), last + _SLACK_NS)} "
            f"AND {_between('exchange_time', max(exact[0] - _EXACT_NS, 0), exact[1] + _EXACT_NS)}",
            {"venue": instrument.venue, "symbol": instrument.symbol},
        )
        known = pa.array([row[0] for row in found], pa.string())
        return pc.is_in(rows.column("trade_id"), value_set=known).to_numpy(zero_copy_only=False)

    async def _updates_there(self, instrument: _Instrument, rows: pa.RecordBatch) -> Any:
        first, last = _range(rows, "received_time")
        sums = " + ".join(f"{number} * arraySum({side})" for number, side in enumerate(_SIDES, start=1))
        found = await self._engine.rows(
            f"SELECT epoch, sequence, kind, price_exponent, size_exponent, {sums}, {INCARNATION} "  # noqa: S608 our names
            "FROM l2 WHERE venue = {venue:String} AND symbol = {symbol:String} "
            f"AND {_between('received_time', first, last)}",
            {"venue": instrument.venue, "symbol": instrument.symbol},
        )
        if not found:
            return np.zeros(rows.num_rows, np.bool_)
        known = {(row[0], row[1]): row[2:] for row in found}
        totals = sum(number * _sums(rows.column(side)) for number, side in enumerate(_SIDES, start=1))
        names = ("epoch", "sequence", "kind", "price_exponent", "size_exponent")
        ours = zip(*(rows.column(name).to_pylist() for name in names), np.asarray(totals).tolist(), strict=True)
        there = []
        for epoch, sequence, *content in ours:
            stored = known.get((epoch, sequence))
            if stored is not None and _differ(content, stored):
                raise ServiceError(
                    f"table l2 has another {stored[0]} of {instrument.venue} {instrument.symbol} with epoch {epoch} "
                    f"and sequence {sequence}, of a source of other content ({INCARNATION} {stored[-1]}): a book "
                    f"cannot be of both. Remove that first: ALTER TABLE l2 DELETE WHERE {INCARNATION} = '{stored[-1]}'"
                )
            there.append(stored is not None)
        return np.array(there, np.bool_)


def _differ(content: Sequence[Any], stored: Sequence[Any]) -> bool:
    """Return whether two records say something else: kind, exponents, sum of the levels.

    Sums of other exponents cannot be compared: a longer file may need finer ones.
    """
    return content[0] != stored[0] or (tuple(content[1:3]) == tuple(stored[1:3]) and content[3] != stored[3])


def _instruments(rows: pa.RecordBatch) -> list[tuple[_Instrument, Any]]:
    """Return the instruments of rows, and which rows are theirs."""
    venues: Any = rows.column("venue")
    symbols: Any = rows.column("symbol")
    width = len(symbols.dictionary)
    codes = venues.indices.to_numpy().astype(np.int64) * width + symbols.indices.to_numpy()
    return [
        (_Instrument(venues.dictionary[code // width].as_py(), symbols.dictionary[code % width].as_py()), codes == code)
        for code in np.unique(codes).tolist()
    ]


def _range(rows: pa.RecordBatch, column: str) -> tuple[int, int]:
    times = rows.column(column).cast(pa.int64()).to_numpy()
    return int(times.min()), int(times.max())


def _between(column: str, first: int, last: int) -> str:
    return f"{column} BETWEEN fromUnixTimestamp64Nano({first}, 'UTC') AND fromUnixTimestamp64Nano({last}, 'UTC')"


def _sums(lists: Any) -> Any:
    """Return the sum of each list, modulo 2^64 as ClickHouse has it."""
    values = np.concatenate([np.zeros(1, np.int64), np.cumsum(lists.values.to_numpy())])
    offsets = lists.offsets.to_numpy()
    return values[offsets[1:]] - values[offsets[:-1]]
