"""Layouts of folders: where rows go, and that all commands and readers know them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from alphapulse.config import ParquetSettings
from alphapulse.errors import ServiceError
from schemas.records import ArbitrageOpportunity, Event, L2Update, Trade
from sinks.columns import batch
from sinks.contract import BatchChunk, Commit, Span
from sinks.parquet import compaction
from sinks.parquet.catalogue import by_hour, current
from sinks.parquet.compaction import compact, settled_hour
from sinks.parquet.layout import Layout
from sinks.parquet.names import NULL
from sinks.parquet.retention import due, retire
from sinks.parquet.verification import verify
from sinks.parquet.writer import ParquetTarget
from tests.fixtures.parquet_files import HOUR, KEY, SYMBOLS, filled, paths_in, settings_at, store_in
from tests.fixtures.records import START, one_of_each, trade

BY_SYMBOL: dict[str, Any] = {"partition_by": ("venue", "symbol", "date")}
TRADES = TopicPartition("md.trades", 3)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["BTC-USD", "ETH-USD", "币-USD"]), st.sampled_from(["kraken", "okx"]), st.integers(-30, 80)
        ),
        min_size=1,
        max_size=20,
    ),
    st.permutations(["date", "venue", "symbol"]),
    st.booleans(),
)
def test_every_row_goes_into_its_folder_in_order(
    rows: list[tuple[str, str, int]], keys: list[str], hourly: bool
) -> None:
    if hourly:
        keys.insert(keys.index("date") + 1, "hour")
    records = [
        trade(number, symbol=symbol, received_time=START + hours * HOUR)
        for number, (symbol, _, hours) in enumerate(rows)
    ]
    for record, (_, venue, _) in zip(records, rows, strict=True):
        record.venue = venue
    layout = Layout(keys)
    found = layout.split("x", Trade, batch(Trade, records, 3, range(len(rows))))
    assert len({folder for folder, _ in found}) == len(found)
    seen: dict[int, str] = {}
    for folder, part in found:
        assert not {"venue", "symbol"} & {*part.schema.names}
        offsets: list[Any] = part.column("_offset").to_pylist()
        assert offsets == sorted(offsets)
        seen |= dict.fromkeys(offsets, folder)
    assert sorted(seen) == list(range(len(rows)))
    for number, (symbol, venue, hours) in enumerate(rows):
        time = pd.Timestamp(START + hours * HOUR, tz="UTC")
        told = {"date": f"{time:%Y-%m-%d}", "hour": f"{time:%H}", "venue": venue, "symbol": symbol}
        assert seen[number] == "/".join(["x", *(f"{key}={told[key]}" for key in keys)])


def test_keys_that_records_do_not_have_are_left_out() -> None:
    layout = Layout(["venue", "symbol", "date"])
    assert layout.keys(ArbitrageOpportunity) == ("symbol", "date")
    assert layout.keys(L2Update) == ("venue", "symbol", "date")
    (event,) = [record for record in one_of_each() if isinstance(record, Event)]
    event.venue, event.symbol = None, "BTC-USD"
    ((folder, _),) = layout.split("e", Event, batch(Event, [event], 0, [5]))
    assert folder.startswith(f"e/venue={NULL}/symbol=BTC-USD/date=")


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (["hour"], "must have date"),
        (["hour", "date"], "date before hour"),
        (["date", "symbl"], "unknown key, did you mean symbol?"),
        (["date", "date"], "listed twice"),
        ([], "must have date"),
    ],
)
def test_layouts_that_cannot_be_are_refused(keys: list[str], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        ParquetSettings(partition_by=tuple(keys))


async def test_a_layout_by_instrument_and_day_is_listed_compacted_verified_and_retired(tmp_path: Path) -> None:
    store = await filled(tmp_path, (6, 6, 6, 6), keys=(KEY, TRADES), hours=3, parquet=BY_SYMBOL)
    paths = paths_in(tmp_path)
    assert len(paths) == 2 * 4 * len(SYMBOLS)
    assert {path.rpartition("/")[0] for path in paths} == {
        f"md.trades/venue=kraken/symbol={symbol}/date=2024-08-08" for symbol in SYMBOLS
    }
    checked = verify(store, KEY.topic, deep=True)
    assert (checked.files, checked.rows, checked.faults) == (24, 48, [])
    (day,) = by_hour(store)
    assert (day.files, day.last_hour - day.first_hour) == (24, 23)

    assert compact(store, KEY.topic, before=START // HOUR + 2) == [], "the day is not over"
    done = compact(store, KEY.topic, before=settled_hour(START / 1e9 + 2 * 86_400))
    assert {outcome.reason for outcome in done} == {""}
    assert [len(outcome.group.files) for outcome in done] == [3] * 6
    assert done[0].group.name == "md.trades/0 venue=kraken/symbol=BTC-USD/date=2024-08-08"
    store.settle(0.0)
    checked = verify(store, KEY.topic, deep=True)
    assert (checked.files, checked.rows, checked.faults) == (12, 48, [])

    files = store.files(KEY.topic)
    midnight = (START // (24 * HOUR) + 1) * 86_400
    assert due(files, midnight, max_age_s=None, max_bytes=1) == []
    (hour,) = due(files, midnight + 1.0, max_age_s=None, max_bytes=1)
    with store.exclusively():
        retire(store, hour)
        store.settle(0.0)
    assert paths_in(tmp_path) == []
    assert [path.name for path in (tmp_path / "md.trades").iterdir()] == ["_retired.json"]


async def test_a_day_of_many_files_is_compacted_in_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MAX_FILES", 3)
    store = await filled(tmp_path, (1,) * 12, parquet={"partition_by": ("date",)})
    later = settled_hour(START / 1e9 + 2 * 86_400)
    assert compact(store, KEY.topic, before=later, at_least=12) == []
    done = compact(store, KEY.topic, before=later, at_least=11)
    # The newest stays, eleven become four, four become two, two become one.
    assert [(len(outcome.group.files), outcome.rows) for outcome in done] == [
        (3, 3),
        (3, 3),
        (3, 3),
        (2, 2),
        (3, 9),
        (2, 11),
    ]
    store.settle(0.0)
    assert verify(store, KEY.topic, deep=True).faults == []
    assert len(paths_in(tmp_path)) == 2


async def test_a_lost_file_of_an_instrument_is_missing(tmp_path: Path) -> None:
    store = await filled(tmp_path, (6, 6), parquet=BY_SYMBOL)
    lost = current(store, KEY.topic)[0]
    (tmp_path / lost.path).unlink()
    (fault,) = verify(store, KEY.topic).faults
    assert (fault.kind, fault.path) == ("missing", lost.folder)
    assert fault.text.startswith(f"2 rows of partition 0, offsets {lost.first} to {lost.last}, have no file: ")


async def test_uncommitted_files_of_every_instrument_are_removed(tmp_path: Path) -> None:
    await filled(tmp_path, (6, 6), parquet=BY_SYMBOL)
    target = ParquetTarget(settings_at(tmp_path, **BY_SYMBOL), "life")
    await target.open()
    await target.survey([KEY])
    await target.assign({KEY: Commit(6, "")})
    await target.close()
    assert {path.partition("-life-")[2] for path in paths_in(tmp_path)} == {"0-0-5.parquet"}
    assert len(paths_in(tmp_path)) == len(SYMBOLS)


async def test_a_folder_keeps_its_layout(tmp_path: Path) -> None:
    await filled(tmp_path, (5,))
    target = ParquetTarget(settings_at(tmp_path, **BY_SYMBOL), "another")
    await target.open()
    with pytest.raises(
        ServiceError, match=r"parquet.partition_by: .*md.trades has files by date, hour .* not by venue,"
    ):
        await target.survey([KEY])
    await target.close()


async def test_many_instruments_do_not_end_a_batch(tmp_path: Path) -> None:
    target = ParquetTarget(settings_at(tmp_path, **BY_SYMBOL), "life")
    await target.open()
    records = [trade(number, symbol=f"A{number}-USD") for number in range(100)]
    await target.submit(BatchChunk(KEY, Trade, batch(Trade, records, 0, range(100))))
    assert not target.full
    spans = [Span(KEY, 0, 99)]
    target.seal(spans)
    await target.write(spans, recovering=False, give_up=asyncio.Event())
    await target.close()
    assert len(paths_in(tmp_path)) == 100
    assert verify(store_in(tmp_path), KEY.topic, deep=True).faults == []


async def test_readers_take_venue_and_symbol_from_the_folders(tmp_path: Path) -> None:
    await filled(tmp_path, (30, 30), parquet=BY_SYMBOL)
    place, pattern = tmp_path / KEY.topic, f"{tmp_path}/{KEY.topic}/**/*.parquet"
    assert "symbol" not in pq.ParquetFile(tmp_path / paths_in(tmp_path)[0]).schema_arrow.names
    wanted = {number: SYMBOLS[number % len(SYMBOLS)] for number in range(60)}
    arrow = ds.dataset(place, partitioning="hive").to_table(columns=["_offset", "symbol"])
    assert dict(zip(*(arrow.column(name).to_pylist() for name in ("_offset", "symbol")), strict=True)) == wanted
    pandas = pd.read_parquet(place, columns=["_offset", "symbol", "venue"])
    assert dict(zip(pandas["_offset"], pandas["symbol"], strict=True)) == wanted
    polars = pl.scan_parquet(pattern, hive_partitioning=True).select("_offset", "symbol").collect()
    assert dict(polars.iter_rows()) == wanted
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT _offset, symbol FROM '{pattern}'").fetchall()
        assert dict(found) == wanted
        query = f"EXPLAIN SELECT sum(price) FROM '{pattern}' WHERE symbol = '{SYMBOLS[1]}' AND venue = 'kraken'"
        ((_, plan),) = connection.execute(query).fetchall()
    assert "2/6" in plan, "DuckDB opens the files of that instrument only"


def test_dictionaries_with_unused_values() -> None:
    rows = batch(Trade, [trade(0), trade(1, symbol="ETH-USD")], 0, [0, 1]).slice(1)
    ((folder, part),) = Layout(["symbol", "date"]).split("x", Trade, rows)
    assert folder == "x/symbol=ETH-USD/date=2024-08-08"
    assert part.column("_offset") == pa.array([1])
