"""Whatever goes wrong on the way from a venue: a book that claims to be valid is the venue's, every loss the venue's
protocol shows is noticed, no trade is lost or doubled without a word.

FAULT_SCRIPTS scripts (default 40) of FAULT_FRAMES frames (default 2500) are spread over the venues, or over those named
in FAULT_VENUES; ``make soak`` plays 200 of 10,000. The seeds start at FAULT_SEED and stand in the tests' names.
"""

from __future__ import annotations

import os
import random

import pytest

from producers.simulator.faults import VenueFaults
from producers.simulator.scripts import Fault
from tests.fixtures.fault_scripts import random_script
from tests.fixtures.faulty_venue import FaultyRun

VENUES = ("kraken", "coinbase", "binance", "binance_us", "okx", "coinbase_advanced", "bitstamp")
PLAYED = tuple(filter(None, os.environ.get("FAULT_VENUES", "").split(","))) or VENUES
SCRIPTS = int(os.environ.get("FAULT_SCRIPTS", "40"))
FRAMES = int(os.environ.get("FAULT_FRAMES", "2500"))
SEED = int(os.environ.get("FAULT_SEED", "1"))
DETECTS_EVERYTHING = ("binance", "binance_us", "okx", "coinbase_advanced")
WITHOUT_TRADE_GAPS = ("bitstamp",)
"""Trade ids rise over all markets together: nothing tells a lost trade."""


@pytest.mark.parametrize("seed", range(SEED, SEED + SCRIPTS))
def test_books_and_trades_survive_any_script(seed: int) -> None:
    venue = PLAYED[seed % len(PLAYED)]
    chance = random.Random(seed)
    script = random_script(seed, FRAMES, chance.choice((10, 40, 150, 400)) * FRAMES // 10_000 + 1)
    faults = VenueFaults(venue, script, seed=seed)
    depth = chance.choice((10, 25, 100, 1000)) if venue == "kraken" else None
    run = FaultyRun(venue, faults, seed=seed, symbols=("BTC-USD", "ETH-USD"), depth=depth)
    run.run(FRAMES)
    happened = dict(faults.happened)
    run.run(2000)
    print(  # noqa: T201 what a failure is about
        f"seed {seed}: {venue}, {len(script)} faults {happened}; {run.compared} books compared, "
        f"{run.blind} wrong where the protocol cannot show it; {run.invalidations} times invalid, "
        f"{run.times_late} times late"
    )
    assert run.compared > 100
    if venue in DETECTS_EVERYTHING:
        assert run.blind == 0
    run.check_healed()
    run.check_trades(consecutive=venue not in WITHOUT_TRADE_GAPS)


@pytest.mark.parametrize("venue", [venue for venue in VENUES if venue != "binance_us"])
def test_orders_beside_the_market_heartbeats_alone_or_none_and_lost_trades(venue: str) -> None:
    script = [
        Fault(kind="auction", frame=200, seconds=6.0),
        Fault(kind="no_heartbeats", frame=400, seconds=2.0),
        Fault(kind="drop_trades", frame=700, count=60 if venue == "coinbase" else 10, symbol="BTC-USD"),
        Fault(kind="only_heartbeats", frame=1100, seconds=1.5),
        Fault(kind="auction", frame=1300, seconds=4.0, symbol="ETH-USD"),
        Fault(kind="huge", frame=1900, seconds=2.0),
    ]
    faults = VenueFaults(venue, script, seed=3)
    run = FaultyRun(venue, faults, seed=3, symbols=("BTC-USD", "ETH-USD"), depth=100 if venue == "kraken" else None)
    run.run(1800)
    tallies = {symbol: state.tally for symbol, state in run.protocol.instruments.items()}
    assert all(tally.resyncs < 20 for tally in tallies.values())
    run.run(700)
    assert faults.happened.pop("drop_trades") >= 10
    assert faults.happened == {"auction": 2, "huge": 1, "no_heartbeats": 1, "only_heartbeats": 1}
    assert all(tally.crossed > 50 for tally in tallies.values()), "followed while it was crossed"
    assert bool(run.gaps["BTC-USD"]) == (venue not in WITHOUT_TRADE_GAPS)
    if venue == "coinbase":
        assert run.told_by_heartbeats
    run.check_healed()
    run.check_trades(consecutive=venue not in WITHOUT_TRADE_GAPS)
