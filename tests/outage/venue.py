"""``python -m tests.outage.venue``: simulated exchanges that write down what truly happened and stop when told to.

The diary is a file of JSON lines: ``[venue, symbol, number, time_ns, bids, asks]`` is a change of a book with levels
``[ticks, lots]``; ``number`` is by which the records of ``md.l2`` tell that change from others (see :class:`Numbers`).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
from aiohttp import web

from alphapulse import service
from producers.simulator.events import BookChange, Event
from producers.simulator.listings import make_listings
from producers.simulator.market import Market
from producers.simulator.server import Simulation

FIRST_UPDATE = 50_000_000_000
"""Binance.US's simulated update ids begin after it."""

Change = tuple[int, int, list[tuple[int, int]], list[tuple[int, int]]]
"""Number, time (ns since the epoch), bids, asks."""


class Numbers:
    """Numbers a venue's book changes as its frames do: Binance by the last update id, Kraken by the time (µs)."""

    def __init__(self) -> None:
        self._updates: defaultdict[str, int] = defaultdict(lambda: FIRST_UPDATE)

    def next(self, change: BookChange) -> int:
        """Return the number of ``change``, the one after the last."""
        if change.listing.venue == "kraken":
            return change.time_ns // 1000
        symbol = change.listing.symbol
        self._updates[symbol] += len(change.bids) + len(change.asks)
        return self._updates[symbol]


class Diary:
    """Writes down what happens in a market; ``last`` is each instrument's last change and last trade."""

    def __init__(self, market: Market, file: BinaryIO) -> None:
        self.last: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self._advance = market.advance
        self._file = file
        self._numbers = Numbers()
        self._encode = msgspec.json.Encoder().encode
        market.advance = self.advance  # type: ignore[method-assign]

    def advance(self, until_ns: int) -> Iterator[Event]:
        """Yield what the market yields."""
        for event in self._advance(until_ns):
            venue, symbol = event.listing.venue, event.listing.symbol
            last = self.last[f"{venue}|{symbol}"]
            if isinstance(event, BookChange):
                number = last["change"] = self._numbers.next(event)
                line = (venue, symbol, number, event.time_ns, event.bids, event.asks)
                self._file.write(self._encode(line) + b"\n")
            else:
                last["trade"] = event.trades[-1].trade_id
            yield event


class Clock:
    """Real time, until it is stopped: then nothing happens any more."""

    def __init__(self) -> None:
        self.stopped_at: int | None = None

    def __call__(self) -> int:
        return self.stopped_at if self.stopped_at is not None else time.time_ns()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until asked to stop. ``POST /stop`` stops the market and tells each instrument's last change and trade."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venues", required=True)
    parser.add_argument("--symbols", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="events a second and instrument")
    parser.add_argument("--diary", type=Path, required=True)
    options = parser.parse_args(arguments)
    clock = Clock()

    async def serve(running: service.Service) -> None:
        listings = make_listings(options.venues.split(","), options.symbols.split(","))
        simulation = Simulation(listings, seed=options.seed, rate=options.rate, clock=clock)
        with options.diary.open("wb") as file:
            diary = Diary(simulation.market, file)

            async def stop(_: web.Request) -> web.Response:
                last = clock.stopped_at = time.time_ns()
                while simulation.reached_ns < last:
                    await asyncio.sleep(0.005)
                file.flush()
                return web.json_response(diary.last)

            running.route("POST", "/stop", stop)
            beating = asyncio.create_task(beat(simulation, clock))
            try:
                await simulation.serve(running)
            finally:
                beating.cancel()

    return service.run("simulator", serve)


async def beat(simulation: Simulation, clock: Clock) -> None:
    """Send heartbeats while the market's clock stands still: a venue that is silent is left."""
    while True:
        await asyncio.sleep(1.0)
        if clock.stopped_at is not None:
            for venue in simulation.venues.values():
                venue.beat(time.time_ns())


def read_diary(path: Path) -> dict[str, list[Change]]:
    """Return the changes of each book, by ``venue|symbol``."""
    decode = msgspec.json.Decoder(tuple[str, str, int, int, list[tuple[int, int]], list[tuple[int, int]]]).decode
    found: defaultdict[str, list[Change]] = defaultdict(list)
    with path.open("rb") as file:
        for line in file:
            venue, symbol, number, time_ns, bids, asks = decode(line)
            found[f"{venue}|{symbol}"].append((number, time_ns, bids, asks))
    return found


if __name__ == "__main__":
    sys.exit(main())
