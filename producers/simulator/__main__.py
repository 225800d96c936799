"""``python -m producers.simulator``: serve simulated venues."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path

from alphapulse import output, service, simulated
from alphapulse.arguments import CommandParser
from alphapulse.errors import ArgumentsRefused, ConfigError, ValueRefused
from alphapulse.instruments import meant
from producers.registry import unknown
from producers.simulator import scripts
from producers.simulator.faults import VenueFaults
from producers.simulator.listings import make_listings
from producers.simulator.server import Simulation
from producers.simulator.venue import LOOPBACK
from producers.venue_server.dialects import served


def names(text: str) -> list[str]:
    """Parse a comma-separated list of names; duplicates are dropped."""
    found = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is an empty list")
    return found


def rate(text: str) -> float:
    """Parse a number of events per second."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number greater than 0 and at most 100000")
    return value


def probability(text: str) -> float:
    """Parse a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def generosity(text: str) -> float:
    """Parse a factor for the venues' limits."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1000000")
    return value


def port(text: str) -> int:
    """Return a port number."""
    if not text.isdecimal() or not 0 <= int(text) <= 65_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no port from 0 to 65000")
    return int(text)


def faults_of(venues: Sequence[str], symbols: Sequence[str]) -> list[str]:
    """Return the ``venues`` and ``symbols`` that cannot be simulated, one message each."""
    found = [f"--venues: {name!r}: {unknown(name, served())}" for name in venues if name not in served()]
    for venue in venues:
        for symbol in symbols if venue in served() else ():
            try:
                make_listings([venue], [symbol])
            except ValueRefused as error:
                hint = meant(symbol)
                found.append(f"--symbols: {venue}: {error}{hint if hint not in str(error) else ''}")
    return found


def parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    commands = CommandParser(prog="alphapulse simulate", description="Serve simulated venues on loopback.")
    commands.add_argument(
        "--venues",
        metavar="NAMES",
        type=names,
        default=names(simulated.VENUES),
        help=f"comma-separated, of {', '.join(served())} (default: {simulated.VENUES})",
    )
    commands.add_argument(
        "--symbols", metavar="NAMES", type=names, default=names(simulated.SYMBOLS), help=f"default: {simulated.SYMBOLS}"
    )
    commands.add_argument(
        "--seed", metavar="N", type=int, default=1, help="the same seed gives the same market (default 1)"
    )
    commands.add_argument(
        "--rate", metavar="N", type=rate, default=30.0, help="approximate frames per second and instrument (default 30)"
    )
    commands.add_argument(
        "--faults",
        metavar="FILE",
        type=Path,
        help=f"fault script: TOML, [[fault]] tables with kind and frame or at; kinds: {', '.join(scripts.KINDS)}",
    )
    commands.add_argument(
        "--fault-probability",
        metavar="P",
        type=probability,
        default=0.0,
        help="probability of a random fault per frame (default 0)",
    )
    commands.add_argument(
        "--limits",
        metavar="FACTOR",
        type=generosity,
        default=1.0,
        help="multiple of the venues' own client limits; 0: no limits (default 1)",
    )
    commands.add_argument(
        "--host", metavar="ADDRESS", default=LOOPBACK, help=f"to listen on (default {LOOPBACK}; 0.0.0.0: all)"
    )
    commands.add_argument(
        "--port",
        metavar="N",
        type=port,
        default=0,
        help="of the first venue; those of the others follow (default: any free ones)",
    )
    commands.add_argument(
        "--check", action="store_true", help="print what cannot be simulated, one a line, and start nothing"
    )
    commands.add_argument("--config", metavar="DIR", type=Path, help="folder of the configuration")
    return commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the service; return its exit code."""
    options = parser().parse_args(arguments)
    # Before there is a service with a log: these are errors in what the user typed.
    wrong = faults_of(options.venues, options.symbols)
    script: list[scripts.Fault] = []
    if options.faults is not None:
        try:
            script = scripts.load(options.faults)
        except ConfigError as error:
            wrong += [f"--faults: {fault}" for fault in error.faults]
    if options.check:
        print("".join(f"{fault}\n" for fault in wrong), end="")  # noqa: T201
        return service.EXIT_REFUSED if wrong else service.EXIT_OK
    if wrong:
        output.tell(f"simulator: {ArgumentsRefused(wrong)}")
        return service.EXIT_REFUSED
    listings = make_listings(options.venues, options.symbols)

    async def serve(running: service.Service) -> None:
        start = time.time_ns()

        def faults(venue: str) -> VenueFaults:
            chance = options.fault_probability
            return VenueFaults(venue, script, probability=chance, seed=options.seed, start_ns=start)

        simulation = Simulation(listings, seed=options.seed, rate=options.rate, faults=faults, limits=options.limits)
        await simulation.serve(running, options.host, options.port)

    return service.run("simulator", serve, folder=options.config)


if __name__ == "__main__":
    output.finish(main)
