"""``alphapulse replay``: the main job, end to end, against independently computed figures."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from zlib import crc32

import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

from tests import recordings
from tests.calculator.recording import calculate
from tests.e2e.command import alphapulse

pytestmark = pytest.mark.slow

SHARED = pytest.mark.xdist_group("replay")
"""Tests that look at the same replay."""

Figures = dict[tuple[str, str], dict[str, Any]]
"""(venue, symbol) → figures."""


def expected(folder: Path) -> Figures:
    """Return the calculator's figures of the recordings in ``folder``."""
    return {
        (recording.venue, symbol): figures
        for recording in recordings.of(folder)
        for symbol, figures in recording.instruments.items()
    }


def calculated(path: Path) -> Figures:
    """Return the calculator's figures of the recording at ``path``, which need not be one of ours."""
    entry = calculate(path)
    return {(entry["venue"], symbol): figures for symbol, figures in entry["instruments"].items()}


def raw_lines(path: Path) -> list[bytes]:
    """Return the lines of the recording at ``path``."""
    with gzip.open(path) as file:
        return file.readlines()


def assert_equal_to_expected(result: Any, wanted: Figures) -> None:
    found = {(row["venue"], row["symbol"]): row for row in result["instruments"]}
    assert found.keys() == wanted.keys()
    for key, figures in wanted.items():
        row = found[key]
        assert {name: row[name] for name in figures} == figures, key
        stored = {"trades": figures["trades"], "l2": figures["snapshots"] + figures["deltas"]}
        assert row["clickhouse"] == stored, key
        assert row["parquet"] == stored, key


@dataclass(frozen=True)
class Replayed:
    """All recordings of a folder, replayed at full speed into one data directory."""

    recordings: Path
    data: Path
    result: Any
    trades: Mapping[tuple[str, str], list[str]]
    """Of each instrument's trades in the tables: rows, ids, sum of sizes, an exponent of these, number of exponents."""
    l2: Mapping[tuple[str, str], list[int]]
    """Of each instrument's books in the tables: levels, sum of bid prices, sum of ask sizes."""


FIGURES = """
SELECT 'trades', venue, symbol, arrayMap(x -> toString(x), [toInt128(count()), toInt128(uniqExact(trade_id)),
    sum(toInt128(size)), toInt128(any(size_exponent)), toInt128(uniqExact(size_exponent))])
FROM trades GROUP BY venue, symbol
UNION ALL
SELECT 'l2', venue, symbol, arrayMap(x -> toString(x), [toInt128(sum(length(bid_prices) + length(ask_prices))),
    sum(arraySum(arrayMap(x -> toInt128(x), bid_prices))), sum(arraySum(arrayMap(x -> toInt128(x), ask_sizes)))])
FROM l2 GROUP BY venue, symbol
"""
"""All that is asked of the tables, in one process: it takes longer to start than to answer."""


# Coverage is measured in the smaller replays further down.
FOLDERS = [
    pytest.param(folder, id="ours" if folder == recordings.OURS else "real", marks=pytest.mark.unmeasured)
    for folder in recordings.folders()
]


@pytest.fixture(scope="module", params=FOLDERS)
def replayed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    data = tmp_path_factory.mktemp("replay") / "data"
    played = [recording.path for recording in recordings.of(request.param)]
    ended = alphapulse("replay", *played, "--data-dir", data, "--json")
    assert ended.code == 0, ended.err
    asked = alphapulse("sql", FIGURES, "--data-dir", data, "--format", "JSONCompact")
    assert asked.code == 0, asked.err
    tables: dict[str, dict[tuple[str, str], list[str]]] = {"trades": {}, "l2": {}}
    for table, venue, symbol, figures in asked.json["data"]:
        assert (venue, symbol) not in tables[table]
        tables[table][venue, symbol] = figures
    l2 = {key: [int(figure) for figure in figures] for key, figures in tables["l2"].items()}
    return Replayed(request.param, data, ended.json, tables["trades"], l2)


@SHARED
def test_every_figure_equals_the_calculators(replayed: Replayed) -> None:
    assert_equal_to_expected(replayed.result, expected(replayed.recordings))
    run = replayed.result["run"]
    assert run["frames"] == sum(len(raw_lines(recording.path)) for recording in recordings.of(replayed.recordings))
    assert run["dead_letters"] == 0
    assert run["frames_per_second"] > 0
    assert run["peak_memory_bytes"] > 0


@SHARED
def test_clickhouse_holds_exactly_the_trades(replayed: Replayed) -> None:
    """Sums compared as decimals, over the raw mantissas."""
    for key, figures in expected(replayed.recordings).items():
        if not figures["trades"]:
            assert key not in replayed.trades
            continue
        rows, ids, total, exponent, exponents = replayed.trades[key]
        assert (int(rows), int(ids), int(exponents)) == (figures["trades"], figures["trades"], 1)
        assert Decimal(total).scaleb(int(exponent)) == Decimal(figures["base_volume"])


@SHARED
def test_parquet_holds_exactly_the_trades(replayed: Replayed) -> None:
    trades = ds.dataset(replayed.data / "parquet" / "md.trades", format="parquet").to_table()
    for (venue, symbol), figures in expected(replayed.recordings).items():
        mine = trades.filter((pc.field("venue") == venue) & (pc.field("symbol") == symbol)).to_pylist()
        assert len({trade["trade_id"] for trade in mine}) == len(mine) == figures["trades"]
        volume = sum((Decimal(trade["size"]).scaleb(trade["size_exponent"]) for trade in mine), Decimal(0))
        assert volume == Decimal(figures["base_volume"])


@SHARED
def test_both_stores_hold_the_same_books(replayed: Replayed) -> None:
    """A fingerprint of every level of every record, exact integers, from both stores."""
    l2 = ds.dataset(replayed.data / "parquet" / "md.l2", format="parquet").to_table()
    books = {key for key, figures in expected(replayed.recordings).items() if figures["snapshots"]}
    assert replayed.l2.keys() == books
    for (venue, symbol), (levels, bids, asks) in replayed.l2.items():
        mine = l2.filter((pc.field("venue") == venue) & (pc.field("symbol") == symbol)).to_pylist()
        assert levels == sum(len(row["bid_prices"]) + len(row["ask_prices"]) for row in mine)
        assert bids == sum(sum(row["bid_prices"]) for row in mine)
        assert asks == sum(sum(row["ask_sizes"]) for row in mine)


@pytest.mark.unmeasured
def test_at_the_original_pace_the_books_are_the_same(tmp_path: Path) -> None:
    """Eight seconds of Binance.US, whose snapshots come over REST in the middle of the stream, with a gap and its end.

    The gap is in the seventh second, and so is the snapshot that ends it.
    """
    lines = raw_lines(recordings.ours("binance_us").path)
    end = int(lines[0].split()[0]) + 8 * 10**9
    path = tmp_path / "binance_us_excerpt.rec.gz"
    path.write_bytes(gzip.compress(b"".join(line for line in lines if int(line.split()[0]) < end)))
    wanted = calculated(path)
    assert all(figures["gaps"] > 0 for figures in wanted.values())
    assert all(figures["snapshots"] > 1 for figures in wanted.values())
    ended = alphapulse("replay", path, "--speed", "1", "--data-dir", tmp_path / "d", "--json")
    assert ended.code == 0, ended.err
    assert_equal_to_expected(ended.json, wanted)
    assert ended.json["run"]["seconds"] > 7


def kraken_book(kind: str, symbol: str, *sides: Mapping[int, int], checksum: int) -> bytes:
    """Return a line; ``sides`` are price → size."""
    bids, asks = ([{"price": price, "qty": size} for price, size in side.items()] for side in sides)
    book = {"symbol": symbol, "bids": bids, "asks": asks, "checksum": checksum}
    return b"1 " + json.dumps({"channel": "book", "type": kind, "data": [book]}).encode() + b"\n"


def checksum_of(best_bids: list[int], best_asks: list[int]) -> int:
    """Return Kraken's checksum of a book; every level in it is of size 1."""
    return crc32("".join(f"{price}1" for price in best_asks + best_bids).encode())


TOO_PRECISE = b"354.123456789012345678901234567891"
TRADE = (
    b'1618678160000000000 {"channel":"trade","type":"update","data":[{"symbol":"ETH/USD","side":"sell","price":%s,'
    b'"qty":0.5,"ord_type":"limit","trade_id":99,"timestamp":"2021-04-17T16:49:20.557535Z"}]}\n' % TOO_PRECISE
)


def damaged_lines(lines: list[bytes]) -> list[bytes]:
    """Return a recording's lines with three more, none of which can be understood."""
    unknown, no_json = b'1618678134000000000 {"surprise": [1, 2]}\n', b"1618678134000000000 {no json\n"
    return [*lines[:50], unknown, *lines[50:99], no_json, *lines[99:], TRADE]


def small_lines() -> list[bytes]:
    """Return a recording at depth 10 of two books; ABC's checksums hold, DEF's last one does not.

    No delete tells of ABC's ask 120 that a better one pushed out and that vanished thereafter.
    """
    bids, asks = list(range(100, 90, -1)), [*range(110, 119), 120]
    pushed, healed = [105, *range(110, 119)], [*range(110, 119), 130]
    whole = (dict.fromkeys(bids, 1), dict.fromkeys(asks, 1))
    return [
        kraken_book("snapshot", "ABC/USD", *whole, checksum=checksum_of(bids, asks)),
        kraken_book("snapshot", "DEF/USD", *whole, checksum=checksum_of(bids, asks)),
        kraken_book("update", "ABC/USD", {}, {105: 1}, checksum=checksum_of(bids, pushed)),
        kraken_book("update", "DEF/USD", {}, {105: 1}, checksum=checksum_of(bids, asks)),
        kraken_book("update", "ABC/USD", {}, {105: 0, 130: 1}, checksum=checksum_of(bids, healed)),
    ]


@dataclass(frozen=True)
class Played:
    """A replay of damaged recordings, and what is in its dead letters."""

    err: str
    run: dict[str, Any]
    rows: dict[str, dict[str, Any]]
    """By symbol."""
    letters: list[tuple[str, str]]
    """Value and reason."""


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Three recordings of Kraken: ours with lines that are wrong, and two small ones made up here."""
    folder = tmp_path_factory.mktemp("damaged")
    lines = raw_lines(recordings.ours("kraken").path)
    (folder / "kraken_test.rec").write_bytes(b"".join(damaged_lines(lines)))
    (folder / "kraken_small.rec").write_bytes(b"".join(small_lines()))
    data = folder / "data"
    (folder / "kraken_headless.rec").write_bytes(kraken_book("update", "GHI/USD", {}, {105: 1}, checksum=1))
    played = [folder / f"kraken_{name}.rec" for name in ("test", "small", "headless")]
    ended = alphapulse("replay", *played, "--data-dir", data, "--json")
    assert ended.code == 1, ended.err  # for the one book that never began
    letters = alphapulse(
        "sql", "SELECT value, reason FROM dead_letters ORDER BY time", "--data-dir", data, "--format", "JSONCompact"
    )
    assert letters.code == 0, letters.err
    rows = {row["symbol"]: row for row in ended.json["instruments"]}
    assert len(rows) == len(ended.json["instruments"])
    return Played(ended.err, ended.json["run"], rows, [(value, reason) for value, reason in letters.json["data"]])


@SHARED
def test_what_cannot_be_understood_goes_to_dlq_and_the_rest_goes_on(damaged: Played) -> None:
    assert damaged.run["dead_letters"] == len(damaged.letters) == 3
    wanted = {("kraken", symbol): figures for symbol, figures in recordings.ours("kraken").instruments.items()}
    made_up = {"ABC-USD", "DEF-USD", "GHI-USD"}
    assert_equal_to_expected(
        {"instruments": [row for symbol, row in damaged.rows.items() if symbol not in made_up]}, wanted
    )


@SHARED
def test_a_line_that_is_no_json_is_named_and_kept(damaged: Played) -> None:
    assert "kraken_test.rec:101: no JSON" in damaged.err
    assert [value for value, _ in damaged.letters].count("{no json") == 1


@SHARED
def test_a_frame_of_an_unknown_shape_is_named_and_kept(damaged: Played) -> None:
    assert "kraken_test.rec:51: not a Kraken frame: neither channel nor method" in damaged.err
    assert [value for value, _ in damaged.letters].count('{"surprise": [1, 2]}') == 1


@SHARED
def test_a_price_with_30_decimals_goes_to_dlq_with_key_and_value(damaged: Played) -> None:
    price = TOO_PRECISE.decode()
    ((value, reason),) = [letter for letter in damaged.letters if price in letter[0]]
    assert f"{value}\n" == TRADE.decode().partition(" ")[2]
    assert "price" in reason
    assert price in reason


@SHARED
def test_a_recording_made_at_another_depth_is_kept_at_that_depth(damaged: Played) -> None:
    row = damaged.rows["ABC-USD"]
    assert (row["deltas"], row["checksums_ok"], row["checksums_bad"]) == (2, 3, 0)
    assert (row["book"]["bid_levels"], row["book"]["ask_levels"]) == (10, 10)


@SHARED
def test_a_book_in_doubt_at_the_end_is_told(damaged: Played) -> None:
    """A checksum is wrong, and the recording holds no later snapshot of that book."""
    assert "kraken DEF-USD: book invalid at the end of the recording" in damaged.err
    row = damaged.rows["DEF-USD"]
    assert row["checksums_bad"] == 1
    assert row["book"]["best_bid"] is None
    assert sum(row["book"]["best_bid"] is None for row in damaged.rows.values()) == 2


@SHARED
def test_a_book_that_never_began_is_told_with_its_reason(damaged: Played) -> None:
    assert (
        "kraken GHI-USD: its book never became valid: the recording contains no snapshot that its updates"
        in damaged.err
    )
    assert damaged.rows["GHI-USD"]["snapshots"] == 0


def test_a_recording_that_is_cut_off_is_played_so_far_and_named(tmp_path: Path) -> None:
    lines = raw_lines(recordings.ours("kraken").path)
    whole = gzip.compress(b"".join(lines))
    path = tmp_path / "kraken_cut.rec.gz"
    path.write_bytes(whole[: len(whole) * 3 // 4])
    ended = alphapulse("replay", path, "--data-dir", tmp_path / "data", "--json")
    assert ended.code != 0
    assert f"{path}:" in ended.err
    assert "truncated" in ended.err
    played = tmp_path / "kraken_played.rec.gz"
    played.write_bytes(gzip.compress(b"".join(lines[: ended.json["run"]["frames"]])))
    wanted = calculated(played)
    assert sum(figures["deltas"] for figures in wanted.values()) > 500
    assert_equal_to_expected(ended.json, wanted)


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b garbage"])
def test_a_recording_that_holds_nothing_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "kraken_empty.rec.gz"
    path.write_bytes(content)
    ended = alphapulse("replay", path, "--data-dir", tmp_path / "data", "--json")
    assert ended.code == 2
    assert str(path) in ended.err
    assert "Traceback" not in ended.err
