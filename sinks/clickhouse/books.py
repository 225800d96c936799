"""Whole books in the table ``books``, from time to time, so that a book at an instant is found quickly.

The book after a record of ``l2`` is the last size of each price since the snapshot of its epoch, which may be a day
ago. So after so many records of an epoch the book of the newest is stored: made by ClickHouse of the one before and of
the rows since, and only if their sequences have no hole. It depends on the rows of ``l2`` alone and on nothing that
this process remembers: a second sink that makes it makes the same, and one that was killed leaves nothing to repair.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from alphapulse import logs
from alphapulse.config import ClickHouseSettings
from alphapulse.errors import ServiceError
from sinks.clickhouse.changes import literal
from sinks.clickhouse.engine import Engine, Unreachable

INTERVAL_SECONDS: Final = 10.0
"""Between two looks at what is new."""

LOOK_BACK_SECONDS: Final = 120
"""Instruments without a record for so long before the newest of all are left for later."""

SLACK_SECONDS: Final = 60
"""A record may be received before one of lower sequence by the clock, which may have been set, by less than this."""

_NEWEST: Final = f"""
SELECT venue, symbol, tupleElement(last, 1), tupleElement(last, 2), tupleElement(last, 3)
FROM
(
    SELECT venue, symbol, max((epoch, sequence, toUnixTimestamp64Nano(received_time))) AS last
    FROM l2
    WHERE received_time > (SELECT max(received_time) FROM l2) - toIntervalSecond({LOOK_BACK_SECONDS})
        AND kind IN ('SNAPSHOT', 'DELTA')
    GROUP BY venue, symbol
)
"""  # noqa: S608 a number of our own

_KEPT: Final = """
SELECT sequence, toUnixTimestamp64Nano(received_time), length(bid_prices) + length(ask_prices)
FROM books
WHERE venue = {venue} AND symbol = {symbol} AND epoch = {epoch}
ORDER BY sequence DESC
LIMIT 1
"""

_KEEP: Final = """
INSERT INTO books
SELECT
    {venue},
    {symbol},
    {epoch},
    {last},
    fromUnixTimestamp64Nano(toInt64({time}), 'UTC'),
    max(tick),
    max(lot),
    arrayReverse(arraySort(groupArrayIf(price, side = 1))) AS bids,
    arrayReverse(arraySort((size, price) -> price, groupArrayIf(size, side = 1), groupArrayIf(price, side = 1))),
    arraySort(groupArrayIf(price, side = 2)) AS asks,
    arraySort((size, price) -> price, groupArrayIf(size, side = 2), groupArrayIf(price, side = 2))
FROM
(
    SELECT
        tupleElement(change, 1) AS side,
        tupleElement(change, 2) AS price,
        argMax(tupleElement(change, 3), sequence) AS size,
        any(price_exponent) AS tick,
        any(size_exponent) AS lot,
        uniqExactIf(sequence, side = 0) AS records
    FROM
    (
        SELECT sequence, price_exponent, size_exponent, bid_prices, bid_sizes, ask_prices, ask_sizes
        FROM l2
        WHERE venue = {venue} AND symbol = {symbol} AND epoch = {epoch} AND kind IN ('SNAPSHOT', 'DELTA')
            AND sequence > {kept} AND sequence <= {last}
            AND received_time >= fromUnixTimestamp64Nano(toInt64({since}), 'UTC')
            AND received_time <= fromUnixTimestamp64Nano(toInt64({until}), 'UTC')
        UNION ALL
        SELECT sequence, price_exponent, size_exponent, bid_prices, bid_sizes, ask_prices, ask_sizes
        FROM
        (
            SELECT *
            FROM books
            WHERE venue = {venue} AND symbol = {symbol} AND epoch = {epoch} AND sequence = {kept}
            LIMIT 1
        )
    )
    ARRAY JOIN arrayConcat(
        [tuple(0, toInt64(0), toInt64(1))],
        arrayMap((p, s) -> tuple(1, p, s), bid_prices, bid_sizes),
        arrayMap((p, s) -> tuple(2, p, s), ask_prices, ask_sizes)
    ) AS change
    GROUP BY side, price
    HAVING size != 0
)
HAVING max(records) = {last} - greatest({kept}, 0) + 1
"""
"""Side 0 is an entry that each record has, by which they are counted."""

_NS: Final = 10**9


@dataclass(frozen=True, slots=True)
class KeptBook:
    """The newest stored book of an epoch: ``sequence`` -1, ``time`` 0 (ns): none yet. ``due``: sequence of the next."""

    epoch: int
    sequence: int
    time: int
    due: int


class BookKeeper:
    """Stores books; it may be made anew at any time.

    Args:
        engine: open, with its tables.
        settings: ``book_records``.
    """

    def __init__(self, engine: Engine, settings: ClickHouseSettings) -> None:
        self._engine = engine
        self._records = settings.book_records
        self._kept: dict[tuple[str, str], KeptBook] = {}
        self._log = logs.get("clickhouse")

    async def run(self, stopping: asyncio.Event) -> None:
        """Store books until ``stopping`` is set.

        A failure is logged: nothing is lost by it, queries take longer.
        """
        while self._records and not stopping.is_set():
            try:
                await self.keep()
            except Unreachable as error:
                self._log.debug("no books are stored for now", reason=str(error))
            except ServiceError as error:
                self._log.warning("no whole books are stored: queries for them take longer", reason=str(error))
                return
            try:
                await asyncio.wait_for(stopping.wait(), INTERVAL_SECONDS)
            except TimeoutError:
                continue

    async def keep(self) -> int:
        """Store the books that are due; return their number.

        Raises:
            Unreachable: ClickHouse does not answer now.
            ServiceError: ClickHouse refuses.
        """
        stored = 0
        for venue, symbol, epoch, sequence, time in await self._engine.rows(_NEWEST):
            key = (venue, symbol)
            kept = self._kept.get(key)
            if kept is None or kept.epoch != epoch:
                kept = self._kept[key] = await self._newest(venue, symbol, epoch)
            if sequence >= kept.due:
                stored += await self._store(key, kept, sequence, time)
        return stored

    async def _newest(self, venue: str, symbol: str, epoch: int) -> KeptBook:
        names = {"venue": literal(venue), "symbol": literal(symbol), "epoch": epoch}
        found = await self._engine.rows(_KEPT.format(**names))
        sequence, time, levels = found[0] if found else (-1, 0, 0)
        # As many records as the book has levels: a book with tens of thousands would else take more room than they do.
        return KeptBook(epoch, sequence, time, max(sequence, 0) + max(self._records, levels))

    async def _store(self, key: tuple[str, str], kept: KeptBook, sequence: int, time: int) -> int:
        venue, symbol = key
        since = kept.time if kept.sequence >= 0 else kept.epoch
        await self._engine.command(
            _KEEP.format(
                venue=literal(venue),
                symbol=literal(symbol),
                epoch=kept.epoch,
                kept=kept.sequence,
                last=sequence,
                time=time,
                since=since - SLACK_SECONDS * _NS,
                until=time + SLACK_SECONDS * _NS,
            )
        )
        now = await self._newest(venue, symbol, kept.epoch)
        if now.sequence >= sequence:
            self._kept[key] = now
            return 1
        # Records are missing, perhaps for good (a snapshot that has expired): try ever more rarely.
        self._kept[key] = KeptBook(kept.epoch, kept.sequence, kept.time, 2 * sequence - max(kept.sequence, 0))
        return 0


@asynccontextmanager
async def keeping(engine: Engine, settings: ClickHouseSettings) -> AsyncIterator[None]:
    """Store books, in a task, for as long as the block takes."""
    ended = asyncio.Event()
    task = asyncio.create_task(BookKeeper(engine, settings).run(ended))
    try:
        yield
    finally:
        ended.set()
        await task
