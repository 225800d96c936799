"""Server of the simulation: one port per venue, one market behind all of them."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from alphapulse.errors import ValueRefused
from alphapulse.service import Service
from producers.registry import part
from producers.simulator.faults import VenueFaults
from producers.simulator.feed import SimulatedFeed
from producers.simulator.instrument import SimulatedInstrument
from producers.simulator.limits import VenueLimits
from producers.simulator.listings import SimulatedListing
from producers.simulator.market import Market
from producers.simulator.venue import LOOPBACK, Batch, SimulatedVenue

MakeFeed = Callable[[Sequence[SimulatedInstrument]], SimulatedFeed]

Faults = Callable[[str], VenueFaults]
"""Makes the fault injector of a venue."""


def feed_of(venue: str) -> MakeFeed:
    """Return the encoder class of ``venue``: ``FEED`` of its ``simulator.py``.

    Raises:
        ValueRefused: the venue cannot be simulated.
    """
    module = part(venue, "simulator")
    if module is None:
        raise ValueRefused(f"there is no simulation of venue {venue[:80]!r}")
    found: MakeFeed = module.FEED
    return found


def limits_of(venue: str) -> VenueLimits:
    """Return the client limits of ``venue``: ``LIMITS`` of its ``simulator.py``; without it, no limits."""
    found: VenueLimits = getattr(part(venue, "simulator"), "LIMITS", VenueLimits())
    return found


_TICK_SECONDS = 0.005
_REST_SECONDS = 0.1
"""Maximum sleep while nothing is due, and so the maximum delay of ``reached_ns``."""
_SLICE_NS = 20_000_000  # of market time per iteration of the loop
_SECOND_NS = 1_000_000_000
_MOST_BEHIND_NS = _SECOND_NS


class Simulation:
    """The market and its venues, in real time.

    Args:
        listings: all listings.
        seed: seed of all random numbers.
        rate: events per second and instrument.
        faults: makes the fault injector of each venue; none by default.
        limits: multiple of the venues' own client limits; 0: no limits.
        clock: ns since the Unix epoch.
    """

    def __init__(
        self,
        listings: Sequence[SimulatedListing],
        *,
        seed: int,
        rate: float,
        faults: Faults = VenueFaults,
        limits: float = 0.0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._seed, self._rate = seed, rate
        self._clock = clock
        self._start_ns = clock()
        self.market = Market(listings, seed=seed, rate=rate, start_ns=self._start_ns)
        names = dict.fromkeys(listing.venue for listing in listings)
        self.venues = {
            name: SimulatedVenue(
                name,
                feed_of(name)([traded for (venue, _), traded in self.market.instruments.items() if venue == name]),
                faults=faults(name),
                limits=limits_of(name).scaled(limits),
            )
            for name in names
        }
        self.reached_ns = self._start_ns
        """Time up to which all events have happened and are queued for the clients."""
        self.events = 0
        self.skipped_seconds = 0.0

    async def serve(self, service: Service, host: str = LOOPBACK, port: int = 0) -> None:
        """Serve until ``service`` is asked to stop.

        Args:
            service: runs it.
            host: address to listen on.
            port: of the first venue, those of the others follow; 0: any free ones.

        Raises:
            ServiceError: no port is available.
        """
        service.report(self.status)
        announced = {
            name: await venue.open(host, port and port + number)
            for number, (name, venue) in enumerate(self.venues.items())
        }
        service.announce(venues=announced, seed=self._seed, rate=self._rate)
        running = asyncio.create_task(self._run())
        stopping = asyncio.create_task(service.stopping.wait())
        service.ready = True
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            running.cancel()
            stopping.cancel()
            await asyncio.gather(running, stopping, return_exceptions=True)
            await asyncio.gather(*(venue.close() for venue in self.venues.values()))

    def status(self) -> dict[str, Any]:
        """Return the statistics, for ``/status``."""
        return {
            "seed": self._seed,
            "rate": self._rate,
            "events": self.events,
            "skipped_seconds": round(self.skipped_seconds, 3),
            "venues": {name: venue.status() for name, venue in self.venues.items()},
        }

    async def _run(self) -> None:
        """Advance the market in small steps of real time."""
        done = self._start_ns
        next_beat = done + _SECOND_NS
        while True:
            now = self._clock()
            # The machine was suspended, its clock was set, or the rate is too high for it.
            if abs(now - done) > _MOST_BEHIND_NS:
                self.skipped_seconds += (now - done) / 1e9
                self.market.pause(now - done)
                done = now
            while done < now:
                done = min(done + _SLICE_NS, now)
                self.step(done)
                if done < now:
                    await asyncio.sleep(0)
            if now >= next_beat:
                next_beat = now + _SECOND_NS
                for venue in self.venues.values():
                    venue.beat(now)
            await asyncio.sleep(self._rest_seconds(done, next_beat))

    def _rest_seconds(self, done: int, next_beat: int) -> float:
        """Return the seconds until the next event, but at least a tick."""
        if any(venue.faults.holding for venue in self.venues.values()):
            return _TICK_SECONDS
        until = min(self.market.next_ns, next_beat)
        return min(max((until - done) / 1e9, _TICK_SECONDS), _REST_SECONDS)

    def step(self, until_ns: int) -> None:
        """Process all events up to ``until_ns``."""
        batches: dict[str, Batch] = {name: defaultdict(list) for name in self.venues}
        for event in self.market.advance(until_ns):
            self.events += 1
            name = event.listing.venue
            self.venues[name].happened(event, batches[name])
        for name, batch in batches.items():
            self.venues[name].release(until_ns, batch)
        for name, batch in batches.items():
            for connection, frames in batch.items():
                self.venues[name].deliver(connection, frames)
        self.reached_ns = until_ns
