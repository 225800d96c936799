"""Whole books are those of the records, whenever they are made; a book at an instant is the same with and without."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, Literal

import pyarrow as pa

from alphapulse.config import ClickHouseSettings
from schemas.records import L2Update
from sinks.clickhouse.books import BookKeeper
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.library import library
from sinks.clickhouse.tables import migrate
from sinks.columns import batch
from tests.fixtures import desk_figures as figures
from tests.fixtures.query_plans import answer, iso
from tests.fixtures.recorded_tables import Recorded
from tests.fixtures.records import L2, SECOND, START

VENUES = ("kraken", "okx")
SYMBOL = "BTC-USD"


def updates(count: int, seed: int) -> list[L2Update]:
    """Return records of two venues' books in the order of their receipt: epochs end, and begin anew with others."""
    chance = random.Random(seed)
    made: list[L2Update] = []
    state = dict.fromkeys(VENUES, (0, -1))
    for number in range(count):
        venue = chance.choice(VENUES)
        epoch, sequence = state[venue]
        time = START + number * SECOND // 3
        kind: Literal["SNAPSHOT", "DELTA"] = "DELTA"
        if sequence < 0 or chance.random() < 0.01:
            if sequence >= 0:
                made.append(
                    replace(
                        L2, venue=venue, kind="INVALID", epoch=epoch, sequence=sequence + 1, received_time=time,
                        bid_prices=[], bid_sizes=[], ask_prices=[], ask_sizes=[],
                    )
                )  # fmt: skip
            epoch, sequence, kind = time, -1, "SNAPSHOT"
        sequence += 1
        state[venue] = (epoch, sequence)
        prices = [chance.sample(range(least, least + 30), chance.randrange(0, 9)) for least in (900, 1000)]
        sizes = [[chance.randrange(0, 4) if kind == "DELTA" else 7 for _ in of] for of in prices]
        made.append(
            replace(
                L2, venue=venue, kind=kind, epoch=epoch, sequence=sequence, received_time=time, price_exponent=-2,
                size_exponent=-3, bid_prices=prices[0], bid_sizes=sizes[0], ask_prices=prices[1], ask_sizes=sizes[1],
            )
        )  # fmt: skip
    return made


async def insert(engine: Engine, records: list[L2Update], first: int) -> None:
    rows = pa.Table.from_batches([batch(L2Update, records, 0, range(first, first + len(records)))])
    life = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows.num_rows), pa.array(["life"]))
    await engine.insert("l2", rows.append_column("_incarnation", life).unify_dictionaries().combine_chunks(), {})


def book_at(engine: Engine, venue: str, at: int) -> list[dict[str, Any]]:
    query = library()["book_at"]
    values = query.values({"venue": venue, "symbol": SYMBOL, "at": iso(at)})
    table = pa.ipc.open_stream(answer(engine, query.text, values)).read_all()
    place = table.schema.get_field_index("book_time")
    times = table["book_time"].cast(pa.timestamp("ns")).cast(pa.int64())
    rows: list[dict[str, Any]] = table.set_column(place, "book_time", times).to_pylist()
    return rows


async def test_books_are_those_of_the_records_whenever_they_are_made(engine: Engine) -> None:
    await migrate(engine)
    records = updates(1200, 5)
    keeper, stored, done = BookKeeper(engine, ClickHouseSettings(book_records=20)), 0, 0
    for count in (7, 100, 101, 350, 500, 850, 1100, len(records)):
        await insert(engine, records[done:count], done)
        done = count
        stored += await keeper.keep()
        # Another one, such as that of the next process, finds nothing left to do.
        assert await BookKeeper(engine, ClickHouseSettings(book_records=20)).keep() == 0
    assert stored >= 8
    assert await engine.rows("SELECT count() FROM books") == [(stored,)]
    data = Recorded({L2Update: list(records)})
    chance = random.Random(7)
    for one in [records[0], records[-1], *chance.sample(records, 25)]:
        for venue in VENUES:
            wanted = figures.book_at(data, SYMBOL, venue=venue, at=one.received_time)
            assert book_at(engine, venue, one.received_time) == wanted
    # Each stored one, and where it has been made: its record's.
    for venue, epoch, sequence, bids, sizes in await engine.rows(
        "SELECT venue, epoch, sequence, bid_prices, bid_sizes FROM books"
    ):
        (time,) = {
            one.received_time
            for one in records
            if (one.venue, one.epoch, one.sequence, one.kind) == (venue, epoch, sequence, "DELTA")
        }
        book = figures.book(data, venue, SYMBOL, time)
        assert book is not None
        assert [(figures.number(p, -2), figures.number(s, -3)) for p, s in zip(bids, sizes, strict=True)] == book.bids
    before = [book_at(engine, venue, records[-1].received_time) for venue in VENUES]
    await engine.command("TRUNCATE TABLE books")
    assert [book_at(engine, venue, records[-1].received_time) for venue in VENUES] == before


async def test_no_book_is_made_of_an_epoch_with_a_hole(engine: Engine) -> None:
    await migrate(engine)
    whole = [one for one in updates(400, 8) if one.venue == "okx"]
    last = max(one.epoch for one in whole)
    epoch = [one for one in whole if one.epoch == last and one.kind != "INVALID"]
    assert len(epoch) > 20
    await insert(engine, epoch[:5] + epoch[6:], 0)
    keeper = BookKeeper(engine, ClickHouseSettings(book_records=10))
    assert await keeper.keep() == 0
    # The record is there after all, a refused one that was replayed: whoever begins anew finds the epoch whole.
    await insert(engine, epoch[5:6], 5)
    assert await keeper.keep() == 0, "it tries again after as many records as there are"
    assert await BookKeeper(engine, ClickHouseSettings(book_records=10)).keep() == 1
    assert await engine.rows("SELECT epoch, sequence FROM books") == [(last, epoch[-1].sequence)]


async def test_as_many_records_as_the_book_has_levels_come_before_the_next(engine: Engine) -> None:
    await migrate(engine)
    prices = list(range(1000))
    snapshot = replace(
        L2, kind="SNAPSHOT", epoch=START, sequence=0, received_time=START, bid_prices=prices, bid_sizes=[1] * 1000,
        ask_prices=[], ask_sizes=[],
    )  # fmt: skip
    delta = replace(L2, epoch=START, bid_prices=[1], bid_sizes=[5], ask_prices=[], ask_sizes=[])
    later = [replace(delta, sequence=n, received_time=START + n * SECOND // 100) for n in range(1, 1200)]
    keeper = BookKeeper(engine, ClickHouseSettings(book_records=100))
    await insert(engine, [snapshot, *later[:150]], 0)
    assert await keeper.keep() == 1
    await insert(engine, later[150:1100], 151)
    assert await keeper.keep() == 0
    await insert(engine, later[1100:], 1101)
    assert await keeper.keep() == 1
    assert await engine.rows("SELECT sequence, length(bid_prices) FROM books ORDER BY sequence") == [
        (150, 1000), (1199, 1000)
    ]  # fmt: skip
