"""``python -m producers.simulator``: serve simulated venues."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from alphapulse import service
from producers.simulator.listings import make_listings
from producers.simulator.server import Simulation

DEFAULT_VENUES = "kraken,coinbase,binance_us"
DEFAULT_SYMBOLS = "BTC-USD,ETH-USD,SOL-USD"


def names(text: str) -> list[str]:
    """Return the names in a list parted by commas, each once."""
    found = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing")
    return found


def rate(text: str) -> float:
    """Return a number of events a second."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0 (and at most 100000)")
    return value


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    commands = argparse.ArgumentParser(prog="python -m producers.simulator", description=__doc__)
    commands.add_argument("--venues", type=names, default=names(DEFAULT_VENUES), help=f"default: {DEFAULT_VENUES}")
    commands.add_argument("--symbols", type=names, default=names(DEFAULT_SYMBOLS), help=f"default: {DEFAULT_SYMBOLS}")
    commands.add_argument("--seed", type=int, default=1, help="the same seed, the same market (default 1)")
    commands.add_argument("--rate", type=rate, default=30.0, help="frames a second and instrument, about (default 30)")
    commands.add_argument("--config", type=Path, help="folder of the configuration")
    return commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the service; return its exit code."""
    options = parser().parse_args(arguments)

    async def serve(running: service.Service) -> None:
        listings = make_listings(options.venues, options.symbols)
        await Simulation(listings, seed=options.seed, rate=options.rate).serve(running)

    return service.run("simulator", serve, folder=options.config)


if __name__ == "__main__":
    sys.exit(main())
