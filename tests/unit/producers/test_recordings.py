"""Every recording through its venue's pure protocol gives the expected figures and books."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from schemas.records import L2Update, Trade
from tests.fixtures.protocol_run import lines, run

RECORDINGS = (
    "binance_btcusdt_20240808.rec.gz",
    "binance_us_20211012.rec.gz",
    "coinbase_exchange_20210417.rec.gz",
    "kraken_v2_20210417.rec.gz",
)


@pytest.mark.parametrize("name", RECORDINGS)
def test_figures_equal_the_independent_ones(recordings: Path, name: str) -> None:
    expected = json.loads((recordings / "expected.json").read_text())[name]
    protocol_run = run(expected["venue"], expected["instruments"])

    for time, frame in lines(recordings / name):
        protocol_run.frame(time, frame)

    for symbol, figures in expected["instruments"].items():
        found = protocol_run.figures(symbol)
        assert {key: found[key] for key in figures} == figures, symbol
        assert found["valid"]
    assert not protocol_run.refused
    assert protocol_run.protocol.waiting == 0
    l2 = [record for record in protocol_run.records if isinstance(record, L2Update)]
    trades = [record for record in protocol_run.records if isinstance(record, Trade)]
    wanted = expected["instruments"].values()
    assert len(l2) == sum(figures["snapshots"] + figures["deltas"] for figures in wanted)
    assert len(trades) == sum(figures["trades"] for figures in wanted)


def test_a_protocol_reads_no_clock(recordings: Path) -> None:
    runs = []
    for _ in range(2):
        protocol_run = run("kraken", ["SC-EUR", "XMR-USD"])
        for time, frame in lines(recordings / "kraken_v2_20210417.rec.gz"):
            protocol_run.frame(time, frame)
        runs.append(protocol_run.records)
    assert runs[0] == runs[1]


def _levels(text: str, mark: str) -> list[list[str]]:
    return [line.split()[1:] for line in text.splitlines() if line.startswith(mark)]


def test_a_gap_in_a_recording_heals_at_its_next_snapshot(recordings: Path) -> None:
    clean, faulty = run("binance", ["BTC-USDT"]), run("binance", ["BTC-USDT"])
    diffs = 0
    for time, frame in lines(recordings / RECORDINGS[0]):
        clean.frame(time, frame)
        diffs += b"depthUpdate" in frame
        if diffs == 1000 and b"depthUpdate" in frame:
            continue  # lost
        faulty.frame(time, frame)
        if diffs == 1003 and b"depthUpdate" in frame:
            assert not faulty.valid("BTC-USDT")
            reader = clean.readers["BTC-USDT"]
            text = reader.book.text(reader.price_exponent, reader.size_exponent)
            last = clean.protocol.instruments["BTC-USDT"].book.exchange_sequence
            body = {"lastUpdateId": last, "bids": _levels(text, "B"), "asks": _levels(text, "A")}
            rest = {"rest": "/api/v3/depth?symbol=BTCUSDT&limit=1000", "body": body}
            faulty.frame(time, json.dumps(rest, separators=(",", ":")).encode())
    figures, expected = faulty.figures("BTC-USDT"), clean.figures("BTC-USDT")
    assert figures["book"] == expected["book"]
    assert (figures["gaps"], figures["snapshots"], figures["invalidations"]) == (1, 2, 1)
    # One lost; three kept diffs were covered by the snapshot.
    assert figures["deltas"] == expected["deltas"] - 4
    assert figures["ignored"] == expected["ignored"] + 3
    assert figures["trades"] == expected["trades"]


def test_a_wrong_checksum_in_a_recording_heals_at_its_next_snapshot(recordings: Path) -> None:
    symbols = ["SC-EUR", "XMR-USD"]
    clean, faulty = run("kraken", symbols), run("kraken", symbols)
    updates = 0
    for time, frame in lines(recordings / RECORDINGS[3]):
        clean.frame(time, frame)
        mine = b'"book"' in frame and b"SC/EUR" in frame and b'"update"' in frame
        updates += mine
        faulty.frame(time, re.sub(rb'"checksum":\d+', b'"checksum":7', frame) if mine and updates == 100 else frame)
        if mine and updates == 105:
            reader = clean.readers["SC-EUR"]
            text = reader.book.text(reader.price_exponent, reader.size_exponent)
            sides = {
                name: [{"price": price, "qty": size} for price, size in _levels(text, mark)]
                for name, mark in (("bids", "B"), ("asks", "A"))
            }
            data = [{"symbol": "SC/EUR", **sides}]
            faulty.frame(time, json.dumps({"channel": "book", "type": "snapshot", "data": data}).encode())
    figures, expected = faulty.figures("SC-EUR"), clean.figures("SC-EUR")
    assert figures["book"] == expected["book"]
    assert (figures["checksums_bad"], figures["snapshots"], figures["ignored"]) == (1, 2, 5)
    assert figures["deltas"] == expected["deltas"] - 6
    assert faulty.figures("XMR-USD") == clean.figures("XMR-USD")


def test_repeated_frames_change_no_book(recordings: Path) -> None:
    for name in RECORDINGS:
        wanted = json.loads((recordings / "expected.json").read_text())[name]
        protocol_run = run(wanted["venue"], wanted["instruments"])
        for number, (time, frame) in enumerate(lines(recordings / name)):
            protocol_run.frame(time, frame)
            if number % 50 == 49 and not frame.startswith(b'{"rest"') and b"snapshot" not in frame[:40]:
                protocol_run.frame(time, frame)
        for symbol, figures in wanted["instruments"].items():
            found = protocol_run.figures(symbol)
            assert found["book"] == figures["book"]
            assert (found["trades"], found["base_volume"], found["gaps"]) == (
                figures["trades"],
                figures["base_volume"],
                figures["gaps"],
            )
