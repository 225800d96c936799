"""Every recording through its venue's pure protocol gives the expected figures and books."""

from __future__ import annotations

import json
import re
from itertools import takewhile

import pytest

from schemas.records import L2Update, Trade
from tests.fixtures.protocol_run import ProtocolRun, frames_of, run_of
from tests.recordings import Recording, found

Frames = list[tuple[int, bytes]]

every_recording = pytest.mark.parametrize("recording", found(), ids=str)


@every_recording
def test_figures_equal_the_calculators(recording: Recording) -> None:
    protocol_run = run_of(recording)

    for time, frame in frames_of(recording):
        protocol_run.frame(time, frame)

    for symbol, figures in recording.instruments.items():
        told = protocol_run.figures(symbol)
        assert {key: told[key] for key in figures} == figures, symbol
        assert told["valid"] == (figures["snapshots"] > 0)
    assert not protocol_run.refused
    assert protocol_run.protocol.waiting == 0
    l2 = [record for record in protocol_run.records if isinstance(record, L2Update) and record.kind != "INVALID"]
    trades = [record for record in protocol_run.records if isinstance(record, Trade)]
    wanted = recording.instruments.values()
    assert len(l2) == sum(figures["snapshots"] + figures["deltas"] for figures in wanted)
    assert len(trades) == sum(figures["trades"] for figures in wanted)


@every_recording
def test_a_protocol_reads_no_clock(recording: Recording) -> None:
    runs = [run_of(recording), run_of(recording)]
    for time, frame in list(frames_of(recording))[:3000]:
        for protocol_run in runs:
            protocol_run.frame(time, frame)
    assert runs[0].records == runs[1].records
    assert runs[0].quotes == runs[1].quotes
    assert runs[0].records


def faultless(recording: Recording, symbol: str, mark: bytes) -> Frames:
    """Return the frames with ``mark`` before the first that costs the book of ``symbol`` its validity, 4000 at most."""
    clean = run_of(recording, [symbol])

    def right(line: tuple[int, bytes]) -> bool:
        clean.frame(*line)
        return not clean.notes or all(note.loss is None for note in clean.notes)

    mine = [line for line in frames_of(recording) if mark in line[1]]
    return list(takewhile(right, mine[:4000]))


def _levels(protocol_run: ProtocolRun, symbol: str, mark: str) -> list[list[str]]:
    """Return price and size, as text, of the levels of a side (``B``, ``A``)."""
    reader = protocol_run.readers[symbol]
    text = reader.book.text(reader.price_exponent, reader.size_exponent)
    return [line.split()[1:] for line in text.splitlines() if line.startswith(mark)]


@pytest.mark.parametrize("recording", found("binance"), ids=str)
def test_a_gap_in_a_recording_heals_at_its_next_snapshot(recording: Recording) -> None:
    frames = faultless(recording, "BTC-USDT", b"BTCUSDT")
    clean, faulty = run_of(recording, ["BTC-USDT"]), run_of(recording, ["BTC-USDT"])
    lost = sum(b"depthUpdate" in frame for _, frame in frames) // 2
    diffs = 0
    for time, frame in frames:
        clean.frame(time, frame)
        diffs += b"depthUpdate" in frame
        if diffs == lost and b"depthUpdate" in frame:
            continue
        faulty.frame(time, frame)
        if diffs == lost + 3 and b"depthUpdate" in frame:
            assert not faulty.valid("BTC-USDT")
            last = clean.protocol.instruments["BTC-USDT"].book.exchange_sequence
            sides = {"bids": _levels(clean, "BTC-USDT", "B"), "asks": _levels(clean, "BTC-USDT", "A")}
            rest = {"rest": "/api/v3/depth?symbol=BTCUSDT&limit=1000", "body": {"lastUpdateId": last, **sides}}
            faulty.frame(time, json.dumps(rest, separators=(",", ":")).encode())
    figures, expected = faulty.figures("BTC-USDT"), clean.figures("BTC-USDT")
    assert figures["book"] == expected["book"]
    assert (figures["gaps"], figures["snapshots"], figures["invalidations"]) == (1, 2, 1)
    # One lost; three kept diffs were covered by the snapshot.
    assert figures["deltas"] == expected["deltas"] - 4 > 50
    assert figures["ignored"] == expected["ignored"] + 3
    assert figures["trades"] == expected["trades"]


@pytest.mark.parametrize("recording", found("kraken"), ids=str)
def test_a_wrong_checksum_in_a_recording_heals_at_its_next_snapshot(recording: Recording) -> None:
    symbol, other = list(recording.instruments)[-2:]
    name = symbol.replace("-", "/")
    frames = faultless(recording, symbol, b"")
    clean, faulty = run_of(recording, [symbol, other]), run_of(recording, [symbol, other])
    updates = 0
    for time, frame in frames:
        clean.frame(time, frame)
        mine = b'"book"' in frame and name.encode() in frame and b'"update"' in frame
        updates += mine
        faulty.frame(time, re.sub(rb'"checksum":\d+', b'"checksum":7', frame) if mine and updates == 20 else frame)
        if mine and updates == 25:
            sides = {
                side: [{"price": price, "qty": size} for price, size in _levels(clean, symbol, mark)]
                for side, mark in (("bids", "B"), ("asks", "A"))
            }
            data = [{"symbol": name, **sides}]
            faulty.frame(time, json.dumps({"channel": "book", "type": "snapshot", "data": data}).encode())
    figures, expected = faulty.figures(symbol), clean.figures(symbol)
    assert figures["book"] == expected["book"]
    assert (figures["checksums_bad"], figures["snapshots"], figures["ignored"]) == (1, 2, 5)
    assert figures["deltas"] == expected["deltas"] - 6 > 30
    assert faulty.figures(other) == clean.figures(other)


@every_recording
def test_repeated_frames_change_no_book(recording: Recording) -> None:
    protocol_run = run_of(recording)
    for number, (time, frame) in enumerate(frames_of(recording)):
        protocol_run.frame(time, frame)
        if number % 50 == 49 and not frame.startswith(b'{"rest"') and b"snapshot" not in frame[:40]:
            protocol_run.frame(time, frame)
    for symbol, figures in recording.instruments.items():
        told = protocol_run.figures(symbol)
        assert told["book"] == figures["book"]
        assert {name: told[name] for name in ("trades", "base_volume", "gaps")} == {
            name: figures[name] for name in ("trades", "base_volume", "gaps")
        }
