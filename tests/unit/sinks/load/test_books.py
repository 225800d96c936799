"""Books with rows that cannot be loaded: never valid beyond what is proven."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.book_reader import BookReader
from schemas.records import L2Update
from tests.unit.sinks.load.rows import made

HEAD = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"
T = 1612137600000000


def row(time: int, flag: str, side: str, price: str, amount: str = "1", symbol: str = "BTC-USD") -> str:
    return f"coinbase,{symbol},{T + time},{T + time},{flag},{side},{price},{amount}"


SNAPSHOT = [row(0, "true", "bid", "10"), row(0, "true", "bid", "9"), row(0, "true", "ask", "11")]
DELTAS = [row(1, "false", "bid", "10", "2"), row(2, "false", "ask", "12"), row(3, "false", "bid", "8")]
NEXT = [row(9, "true", "bid", "7"), row(9, "true", "ask", "12")]
BAD = row(2, "false", "ask", "x")


def kinds(tmp_path: Path, rows: list[str], block_bytes: int = 1 << 16) -> list[tuple[str, int, int]]:
    path = tmp_path / "book.csv"
    path.write_text("\n".join([HEAD, *rows, ""]), encoding="utf-8")
    records, *_ = made(path, block_bytes=block_bytes)
    updates = [record for record in records if isinstance(record, L2Update)]
    return [(update.kind, update.epoch // 1000 - T, update.sequence) for update in updates]


@pytest.mark.parametrize("block_bytes", [1 << 16, 150])
def test_after_a_bad_row_the_book_is_invalid_until_the_next_snapshot(tmp_path: Path, block_bytes: int) -> None:
    found = kinds(
        tmp_path, [*SNAPSHOT, DELTAS[0], BAD, DELTAS[2], *NEXT, row(10, "false", "bid", "7", "0")], block_bytes
    )
    assert found == [
        ("SNAPSHOT", 0, 0),
        ("DELTA", 0, 1),
        ("INVALID", 0, 2),
        ("SNAPSHOT", 9, 0),
        ("DELTA", 9, 1),
        ("INVALID", 9, 2),
    ]


@pytest.mark.parametrize("at", [0, 1, 2, 3])
@pytest.mark.parametrize("bad", [row(0, "true", "bid", "x"), row(0, "perhaps", "bid", "9"), "1,2"])
def test_a_snapshot_that_lacks_a_row_is_none(tmp_path: Path, at: int, bad: str) -> None:
    rows = [*SNAPSHOT[:at], bad, *SNAPSHOT[at:], *DELTAS, *NEXT]
    found = kinds(tmp_path, rows)
    assert ("SNAPSHOT", 0, 0) not in found
    assert found[-2:] == [("SNAPSHOT", 9, 0), ("INVALID", 9, 1)]


def test_a_bad_delta_directly_before_a_snapshot_leaves_it_whole(tmp_path: Path) -> None:
    found = kinds(tmp_path, [*SNAPSHOT, BAD, *NEXT])
    assert found == [("SNAPSHOT", 0, 0), ("INVALID", 0, 1), ("SNAPSHOT", 9, 0), ("INVALID", 9, 1)]


def test_a_bad_row_concerns_its_instrument_only(tmp_path: Path) -> None:
    other = [row(0, "true", "bid", "5", symbol="ETH-USD"), row(1, "false", "bid", "4", symbol="ETH-USD")]
    path = tmp_path / "book.csv"
    path.write_text("\n".join([HEAD, *SNAPSHOT, *other[:1], BAD, *other[1:], ""]), encoding="utf-8")
    records, *_ = made(path)
    eth = [record for record in records if isinstance(record, L2Update) and record.symbol == "ETH-USD"]
    assert [update.kind for update in eth] == ["SNAPSHOT", "DELTA", "INVALID"]


def test_levels_of_a_message_that_are_changed_twice_have_the_last_size(tmp_path: Path) -> None:
    path = tmp_path / "book.csv"
    rows = [*SNAPSHOT, row(1, "false", "bid", "9.5", "3"), row(1, "false", "bid", "9.5", "0")]
    path.write_text("\n".join([HEAD, *rows, ""]), encoding="utf-8")
    records, *_ = made(path)
    delta = records[1]
    assert isinstance(delta, L2Update)
    assert (delta.bid_prices, delta.bid_sizes) == ([950000000], [0])


def test_epochs_rise_although_times_do_not(tmp_path: Path) -> None:
    again = [row(0, "false", "bid", "10", "2"), *SNAPSHOT]
    found = kinds(tmp_path, [*SNAPSHOT, *again, *again])
    reader = BookReader()
    path = tmp_path / "book.csv"
    for record in made(path)[0]:
        assert isinstance(record, L2Update)
        assert reader.apply(record).value in ("snapshot", "delta", "invalidated")
    assert [kind for kind, *_ in found].count("SNAPSHOT") == 3
