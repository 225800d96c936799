from __future__ import annotations

from itertools import pairwise

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from sinks.parquet.names import (
    COMPACTED,
    HOURLY,
    NULL,
    Folder,
    Stored,
    cell_folder,
    cell_of,
    file_name,
    folder_of,
    folder_read,
    hour_folder,
    hour_text,
    parsed,
    safe_name,
    visible,
)

HOUR = 478_638
FOLDER = "md.trades/date=2024-08-08/hour=06"


def stored(first: int, last: int, writer: str = "0a1b", partition: int = 3, folder: str = FOLDER) -> Stored:
    found = parsed(f"{folder}/{file_name(writer, 'life', partition, first, last)}")
    assert found is not None
    return found


def test_a_name_says_what_a_file_holds() -> None:
    assert hour_folder("md.trades", HOUR) == FOLDER
    assert folder_read(FOLDER) == Folder("md.trades", HOURLY, HOUR, 1)
    found = parsed(f"{FOLDER}/0a1b-life~2d~1-3-100-104.parquet", 77)
    assert found == Stored(
        f"{FOLDER}/0a1b-life~2d~1-3-100-104.parquet",
        TopicPartition("md.trades", 3),
        "life~2d~1",
        100,
        104,
        HOUR,
        False,
        77,
    )
    assert found.folder == FOLDER
    assert stored(1, 2, COMPACTED).compacted
    assert hour_text(HOUR) == "2024-08-08 06"


def test_hours_before_1970_have_folders_too() -> None:
    assert hour_folder("x", -1) == "x/date=1969-12-31/hour=23"
    assert folder_read("x/date=1969-12-31/hour=23") == Folder("x", HOURLY, -1, 1)


@pytest.mark.parametrize(
    ("keys", "values", "path"),
    [
        (("date",), {}, "date=2024-08-08"),
        (("symbol", "date"), {"symbol": "BTC-USD"}, "symbol=BTC-USD/date=2024-08-08"),
        (("date", "venue", "hour"), {"venue": "kraken"}, "date=2024-08-08/venue=kraken/hour=06"),
        (("venue", "date"), {"venue": None}, f"venue={NULL}/date=2024-08-08"),
        (("symbol", "date"), {"symbol": "币安人生-USDT"}, "symbol=币安人生-USDT/date=2024-08-08"),
        (("symbol", "date"), {"symbol": "A/B=C%é"}, "symbol=A%2FB%3DC%25é/date=2024-08-08"),
    ],
)
def test_folders_of_other_layouts(keys: tuple[str, ...], values: dict[str, str | None], path: str) -> None:
    folder = folder_of("x", keys, HOUR, values)
    assert folder == f"x/{path}"
    whole = "hour" in keys
    assert folder_read(folder) == Folder("x", keys, HOUR if whole else HOUR - HOUR % 24, 1 if whole else 24)
    assert cell_of(folder) == path
    assert cell_folder("x", path) == folder
    found = parsed(f"{folder}/0a1b-life-3-1-2.parquet")
    assert found is not None
    assert (found.folder, found.keys, found.end) == (folder, keys, HOUR + 1 if whole else HOUR - HOUR % 24 + 24)


def test_the_metadata_name_an_hour_by_its_number() -> None:
    assert cell_of(FOLDER) == str(HOUR)
    assert cell_folder("md.trades", str(HOUR)) == FOLDER


@pytest.mark.parametrize(
    "path",
    [
        f"{FOLDER}/notes.parquet",
        f"{FOLDER}/.0a1b-life-3-1-2.parquet",
        f"{FOLDER}/0a1b-life-3-1-2.parquet.crc",
        f"{FOLDER}/deeper/0a1b-life-3-1-2.parquet",
        "md.trades/date=2024-02-31/hour=06/0a1b-life-3-1-2.parquet",
        "md.trades/date=2024-02-01/hour=24/0a1b-life-3-1-2.parquet",
        "0a1b-life-3-1-2.parquet",
        "md.trades/0a1b-life-3-1-2.parquet",
        "md.trades/hour=06/0a1b-life-3-1-2.parquet",
        "md.trades/date=2024-2-1/0a1b-life-3-1-2.parquet",
        "md.trades/date=2024-02-01/date=2024-02-01/0a1b-life-3-1-2.parquet",
        "md.trades/date=2024-02-01/venue=/0a1b-life-3-1-2.parquet",
        "md.trades/date=2024-02-01/side=BUY/0a1b-life-3-1-2.parquet",
    ],
)
def test_files_that_are_not_ours_have_no_name(path: str) -> None:
    assert parsed(path) is None


@pytest.mark.parametrize("name", ["plain_1.2", "embedded-0f", "a/b", "a~b", "ü"])
def test_names_of_incarnations_are_safe_and_distinct(name: str) -> None:
    safe = safe_name(name)
    assert not set(safe) & set("-/")
    assert safe_name(name + "-") != safe_name(name + "/")


def test_a_compacted_file_replaces_those_in_its_range_and_folder_only() -> None:
    elsewhere = stored(0, 4, folder="md.trades/date=2024-08-08/hour=07")
    other = stored(0, 4, partition=4)
    small, after = stored(0, 4), stored(10, 14)
    narrow, wide = stored(0, 9, COMPACTED), stored(0, 14, COMPACTED)
    assert visible([elsewhere, other, small, after, narrow]) == ([elsewhere, other, narrow, after], [small])
    assert visible([small, after, narrow, wide]) == ([wide], [narrow, small, after]) or set(
        visible([small, after, narrow, wide])[1]
    ) == {small, after, narrow}


@given(st.lists(st.integers(0, 100), min_size=3, max_size=12, unique=True), st.data())
def test_at_every_moment_of_a_compaction_each_offset_counts_once(cuts: list[int], data: st.DataObject) -> None:
    """Whatever subset of the replaced files is still there once the new one is."""
    cuts.sort()
    files = [stored(first, last - 1) for first, last in pairwise(cuts)]
    whole = stored(cuts[0], cuts[-1] - 1, COMPACTED)
    left = data.draw(st.lists(st.sampled_from(files), unique=True))
    kept, replaced = visible(data.draw(st.permutations([*left, whole])))
    assert kept == [whole]
    assert set(replaced) == set(left)
    assert set(visible(files)[0]) == set(files)
