"""A whole book at an instant, from the ``l2`` table.

ClickHouse finds the last record up to the instant, then the last size of each price in that record's epoch: an epoch
begins with a snapshot of sequence 0, and a size of 0 deletes a level (docs/integrity.md). Nothing is replayed here, so
it costs no more in the last hour of an epoch than in its first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from alphapulse.errors import RequestRefused
from alphapulse.freshness import Fault, is_stale
from gateway.tables import Tables

LEVELS: Final = 20_000
"""Most levels a side that are returned; the deepest book of a venue has some thousands."""
_BEFORE_EPOCH: Final = 60 * 10**9
"""An epoch's number is about the time of its snapshot; the margin (ns) lets the index find the snapshot's row."""

_LAST: Final = """
SELECT t.kind AS kind, t.epoch AS epoch, t.sequence AS sequence, toUnixTimestamp64Nano(t.received_time) AS received_time
FROM l2 AS t
WHERE t.venue = {venue:String} AND t.symbol = {symbol:String}
    AND t.received_time <= fromUnixTimestamp64Nano({at:Int64}, 'UTC')
ORDER BY t.received_time DESC, t.epoch DESC, t.sequence DESC, t.kind = 'HEARTBEAT' DESC
LIMIT 1
"""
_OF_EPOCH: Final = """
FROM l2 AS t
{joined}
WHERE t.venue = {{venue:String}} AND t.symbol = {{symbol:String}} AND t.epoch = {{epoch:Int64}}
    AND t.received_time >= fromUnixTimestamp64Nano({{begin:Int64}}, 'UTC')
    AND t.received_time <= fromUnixTimestamp64Nano({{at:Int64}}, 'UTC')
    AND t.sequence <= {{sequence:Int64}} AND t.kind IN ('SNAPSHOT', 'DELTA')
"""
_ACCOUNT: Final = f"""
SELECT uniqExact(t.sequence) AS records, countIf(t.kind = 'SNAPSHOT') AS snapshots,
    any(t.price_exponent) AS price_exponent, any(t.size_exponent) AS size_exponent
{_OF_EPOCH.format(joined="")}
"""
_JOINED: Final = """ARRAY JOIN arrayConcat(
    arrayMap((p, s) -> tuple('bid', p, s), t.bid_prices, t.bid_sizes),
    arrayMap((p, s) -> tuple('ask', p, s), t.ask_prices, t.ask_sizes)
) AS level"""
_LEVELS: Final = f"""
SELECT tupleElement(level, 1) AS side, tupleElement(level, 2) AS price,
    argMax(tupleElement(level, 3), t.sequence) AS size
{_OF_EPOCH.format(joined=_JOINED)}
GROUP BY side, price
HAVING size != 0
ORDER BY side, if(side = 'bid', -price, price)
LIMIT {{limit:UInt32}} BY side
"""


@dataclass(frozen=True, slots=True)
class StoredBook:
    """A book at an instant.

    Attributes:
        fault: why it was not usable then; None: it was. Otherwise it has no levels.
        epoch, sequence, received_time: of the last record; 0: there was none.
        bids, asks: (price mantissa, size mantissa), best first.
    """

    fault: Fault | None
    epoch: int = 0
    sequence: int = 0
    received_time: int = 0
    price_exponent: int = 0
    size_exponent: int = 0
    bids: tuple[tuple[int, int], ...] = ()
    asks: tuple[tuple[int, int], ...] = ()


class NotStored(RequestRefused):
    """The tables lack records of the book's epoch, so the book cannot be rebuilt."""

    def __init__(self, reason: str) -> None:
        super().__init__("not_stored", reason)


async def book_at(
    tables: Tables, venue: str, symbol: str, at: int, *, levels: int | None, max_book_age: int
) -> StoredBook:
    """Return the book of an instrument at ``at`` (ns).

    Args:
        tables: of ClickHouse.
        venue: of the instrument.
        symbol: of the instrument.
        at: within what the tables have completely.
        levels: per side; None: all.
        max_book_age: ns; a book not confirmed for longer is stale.

    Raises:
        TablesUnavailable: the tables cannot be read.
        NotStored: they lack records of this epoch.
    """
    of: dict[str, str | int] = {"venue": venue, "symbol": symbol, "at": at}
    found = (await tables.read(_LAST, of)).to_pylist()
    if not found:
        return StoredBook("no_book")
    last: dict[str, Any] = found[0]
    epoch, sequence, received_time = (int(last[name]) for name in ("epoch", "sequence", "received_time"))
    if last["kind"] == "INVALID":
        return StoredBook("invalid", epoch, sequence, received_time)
    if is_stale(received_time, at, max_book_age):
        return StoredBook("stale", epoch, sequence, received_time)
    of |= {"epoch": epoch, "sequence": sequence, "begin": epoch - _BEFORE_EPOCH}
    (account,) = (await tables.read(_ACCOUNT, of)).to_pylist()
    if not account["snapshots"] or account["records"] != sequence + 1:
        raise NotStored(
            f"the tables have {account['records']:,} of the {sequence + 1:,} records of {venue} {symbol} "
            f"in the epoch {epoch}: the sink was not there from its beginning"
        )
    rows = (await tables.read(_LEVELS, of | {"limit": levels or LEVELS})).to_pylist()
    sides: dict[str, list[tuple[int, int]]] = {"bid": [], "ask": []}
    for row in rows:
        sides[row["side"]].append((row["price"], row["size"]))
    return StoredBook(
        None,
        epoch,
        sequence,
        received_time,
        price_exponent=account["price_exponent"],
        size_exponent=account["size_exponent"],
        bids=tuple(sides["bid"]),
        asks=tuple(sides["ask"]),
    )
