"""producers.replay.recording"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from alphapulse.errors import RecordingError
from producers.registry import names
from producers.replay import recording
from producers.replay.recording import detect_venue, stem, survey
from producers.venue_server.dialects import dialect
from producers.venue_server.session import MARKET_DATA
from tests import recordings
from tests.fixtures.venue_samples import samples

DIFF = b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","s":"BTCUSDT","U":1,"u":2,"b":[],"a":[]}}'
TRADE = b'{"stream":"ethusdt@trade","data":{"e":"trade","s":"ETHUSDT","t":1}}'
TICKER = b'{"stream":"xrpusdt@bookTicker","data":{"u":1,"s":"XRPUSDT"}}'
KRAKEN = b'{"channel":"book","type":"update","data":[{"symbol":"XBT/USD","bids":[],"asks":[]}]}'
COINBASE = b'{"type":"l2update","product_id":"BTC-USD","changes":[]}'


def write(folder: Path, *lines: bytes, name: str = "binance_x.rec") -> Path:
    path = folder / name
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("name", "venue"),
    [
        ("binance_us_1.rec", "binance_us"),
        ("binance_1.rec", "binance"),
        ("Kraken-old.rec", "kraken"),
        ("binance_usdt_pairs.rec", "binance"),
    ],
)
def test_the_longest_venue_name_at_the_start_of_the_file_name_counts(tmp_path: Path, name: str, venue: str) -> None:
    assert detect_venue(write(tmp_path, b"1 {}", name=name)) == venue


@pytest.mark.parametrize(("frame", "venue"), [(KRAKEN, "kraken"), (COINBASE, "coinbase")])
def test_else_the_frames_tell(tmp_path: Path, frame: bytes, venue: str) -> None:
    assert detect_venue(write(tmp_path, b"garbage", b"1 " + frame, name="morning.rec")) == venue


@pytest.mark.parametrize("venue", names())
def test_the_frames_of_every_venue_tell_it(venue: str, tmp_path: Path) -> None:
    seen = 0
    for frame in samples(venue).frames:
        if any(feed in MARKET_DATA for feed, _ in dialect(venue).classify(frame).keys):
            path = write(tmp_path, b"1 " + frame, name="morning.rec")
            if venue in ("binance", "binance_us"):  # the same frames to the letter
                with pytest.raises(RecordingError, match=r"morning\.rec: .* --venue binance\|binance_us$"):
                    detect_venue(path)
            else:
                assert detect_venue(path) == venue
            seen += 1
    assert seen > 1


def test_a_venue_that_nothing_tells_has_to_be_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"--venue alpaca\|binance\|binance_us\|.*coinbase"):
        detect_venue(write(tmp_path, b"1 {}", name="morning.rec"))
    with pytest.raises(RecordingError, match=r"morning\.rec: the recording is empty"):
        detect_venue(write(tmp_path, name="morning.rec"))


def test_the_survey_lists_what_is_in_it(tmp_path: Path) -> None:
    rest = b'{"rest":"/api/v3/depth?symbol=BTCUSDT&limit=5","body":{}}'
    path = write(tmp_path, b"5 " + DIFF, b"7 " + TRADE, b"6 " + rest, b"9 " + TICKER, b"8 " + DIFF)
    found = survey(path)
    assert (found.venue, found.frames, found.first_time, found.last_time) == ("binance", 5, 5, 8)
    assert found.symbols == {"BTCUSDT": "BTC-USDT", "ETHUSDT": "ETH-USDT"}
    assert found.keys == {("book", "BTCUSDT"), ("trades", "ETHUSDT")}
    assert found.rest_paths == {"/api/v3/depth"}
    assert found.faults == []
    assert found.faults_total == 0


def kraken_snapshot(symbol: str, bids: int, asks: int) -> bytes:
    book = {"symbol": symbol, "bids": [{}] * bids, "asks": [{}] * asks}
    return b"1 " + json.dumps({"channel": "book", "type": "snapshot", "data": [book]}).encode()


@pytest.mark.parametrize(
    ("sides", "depth"),
    [
        ([(10, 10)], 10),
        ([(100, 40), (7, 3)], 100),
        ([(1000, 999)], 1000),
        ([(100, 100), (849, 588)], None),  # what has exactly 100 levels here is a thin book
        ([(60, 73)], None),
        ([], None),
    ],
)
def test_the_depth_of_a_krakens_recording_shows_in_snapshots_cut_off_at_it(
    tmp_path: Path, sides: list[tuple[int, int]], depth: int | None
) -> None:
    snapshots = [kraken_snapshot(f"A{number}/USD", *side) for number, side in enumerate(sides)]
    assert survey(write(tmp_path, b"1 " + KRAKEN, *snapshots, name="kraken.rec")).depth == depth


def test_the_depth_that_kraken_confirmed_counts_more_than_what_snapshots_hold(tmp_path: Path) -> None:
    answer = b'1 {"method":"subscribe","success":true,"result":{"channel":"book","depth":100,"symbol":"A/USD"}}'
    found = survey(write(tmp_path, answer, kraken_snapshot("A/USD", 10, 10), name="kraken.rec"))
    assert found.depth == 100


def test_every_bad_line_is_one_fault_with_file_and_line(tmp_path: Path) -> None:
    odd = b'{"stream":"weird@trade","data":{"e":"trade","s":"WEIRD"}}'
    path = write(tmp_path, b"1 " + DIFF, b"no recording", b"2 {", b"3 " + odd, b"4 " + odd, b"5 [7]")
    found = survey(path)
    assert found.faults == [
        f"{path}:2: not `<received_ns> <frame>`; served unchanged",
        f"{path}:3: no JSON: Input data was truncated; served unchanged",
        found.faults[2],
        f"{path}:6: unknown shape: Expected `object`, got `array`; served unchanged",
    ]
    assert found.faults[2].startswith(f"{path}:4: ")
    assert "'WEIRD'" in found.faults[2]
    assert found.frames == 6
    assert found.symbols == {"BTCUSDT": "BTC-USDT"}


NEW = b'{"stream":"btcxyz@trade","data":{"e":"trade","s":"BTCXYZ","t":1}}'


def test_a_quote_asset_nobody_knows_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, b"1 " + DIFF, b"2 " + NEW)
    found = survey(path)
    assert found.symbols == {"BTCUSDT": "BTC-USDT"}
    assert "'BTCXYZ'; list them with --symbols BASE-QUOTE" in found.name_them
    named = survey(path, symbols=["BTC-XYZ", "AAPL"])
    assert named.symbols == {"BTCUSDT": "BTC-USDT", "BTCXYZ": "BTC-XYZ"}
    assert named.unnamed == {}
    assert named.name_them == ""
    alone = write(tmp_path, b"1 " + NEW)
    with pytest.raises(RecordingError, match=r"binance .*'BTCXYZ'.*--symbols"):
        survey(alone)


def test_a_name_that_two_quote_assets_end_is_taken_as_it_is_given(tmp_path: Path) -> None:
    path = write(tmp_path, b"1 " + DIFF.replace(b"BTCUSDT", b"XTUSD").replace(b"btcusdt", b"xtusd"))
    assert survey(path).symbols == {"XTUSD": "X-TUSD"}
    assert survey(path, symbols=["XT-USD"]).symbols == {"XTUSD": "XT-USD"}


def test_faults_beyond_the_bound_are_counted_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "FAULTS_TOLD", 3)
    found = survey(write(tmp_path, b"1 " + DIFF, *[b"x"] * 10))
    assert len(found.faults) == 3
    assert found.faults_total == 10


def test_a_cut_off_recording_is_surveyed_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "binance.rec.gz"
    path.write_bytes(gzip.compress(b"1 " + DIFF + b"\n" + b"2 " + TRADE + b"\n")[:-9])
    found = survey(path)
    assert found.incomplete is not None
    assert f"{path}:{found.frames + 1}: the recording is truncated" in found.incomplete
    assert found.faults == [found.incomplete]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "the recording is empty"),
        ([b"x"], r"contains no market data of binance; first fault: .*:1: not"),
        ([b"1 " + TICKER], "contains no market data of binance$"),
    ],
)
def test_a_recording_that_holds_nothing_is_refused(tmp_path: Path, lines: list[bytes], message: str) -> None:
    with pytest.raises(RecordingError, match=message):
        survey(write(tmp_path, *lines))


def test_a_gzip_cut_off_before_its_first_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "binance.rec.gz"
    path.write_bytes(gzip.compress(b"1 " + DIFF)[:12])
    with pytest.raises(RecordingError, match="truncated"):
        survey(path)


def test_the_survey_can_be_stopped(tmp_path: Path) -> None:
    path = write(tmp_path, *[b"1 " + DIFF] * 5000)
    assert survey(path, stopped=lambda: True).frames == 1000


@pytest.mark.parametrize(
    ("name", "expected"),
    [("kraken_1.rec.gz", "kraken_1"), ("a.b.rec", "a.b"), ("plain", "plain"), (".gz", ".gz"), ("x.txt.gz", "x")],
)
def test_stem(name: str, expected: str) -> None:
    assert stem(Path("some/folder") / name) == expected


@pytest.mark.parametrize("played", recordings.found(), ids=str)
def test_every_recording_is_understood_to_its_last_line(played: recordings.Recording) -> None:
    found = survey(played.path)
    assert found.venue == played.venue
    assert set(found.symbols.values()) == set(played.instruments)
    assert found.faults == []
