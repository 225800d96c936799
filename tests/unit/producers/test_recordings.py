"""Every recording through its venue's pure protocol gives the expected figures and books."""

from __future__ import annotations

import json
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
