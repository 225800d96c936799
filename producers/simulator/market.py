"""Simulated market: the instruments of all venues, driven by the same fair prices. Pure and seeded."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator, Sequence
from typing import Final

from producers.simulator.draws import DRAWS, EXPONENTIAL, NORMAL
from producers.simulator.events import Event
from producers.simulator.fundamentals import Fundamentals
from producers.simulator.instrument import SimulatedInstrument
from producers.simulator.liquidity import venue_market
from producers.simulator.listings import SimulatedListing

_BASIS: Final = 0.1  # of the usual spread: how far a venue's prices deviate from the others'
_BASIS_SECONDS: Final = 20.0  # time constant of the reversion
_NEVER_NS: Final = 2**62


class Market:
    """Events of all venues, in order of time.

    The same arguments give the same events, however time is divided into calls of :meth:`advance`.

    Args:
        listings: all listings.
        seed: seed of all random numbers.
        rate: events per second and instrument, about as many frames.
        start_ns: start time, ns since the Unix epoch.
    """

    def __init__(self, listings: Sequence[SimulatedListing], *, seed: int, rate: float, start_ns: int) -> None:
        self._rate = rate
        self._start_ns = start_ns
        symbols = list(dict.fromkeys(listing.symbol for listing in listings))
        venues = list(dict.fromkeys(listing.venue for listing in listings))
        self.fundamentals = Fundamentals(symbols, venues, seed)
        self.instruments: dict[tuple[str, str], SimulatedInstrument] = {}
        self._places: list[_Place] = []
        self._queue: list[tuple[int, int]] = []
        for number, listing in enumerate(listings):
            ticks = listing.start_price * 10**listing.price_decimals
            # A venue's ids never restart, whatever happens to its machines: at 10,000 trades per second the limit is
            # far away.
            instrument = SimulatedInstrument(listing, seed, ticks, first_trade=start_ns // 100_000 + 1)
            self.instruments[listing.venue, listing.symbol] = instrument
            place = _Place(instrument, random.Random(f"{seed}/{listing.venue}/{listing.symbol}/times"), ticks)  # noqa: S311
            self._places.append(place)
            heapq.heappush(self._queue, (place.wait_ns(rate), number))

    @property
    def next_ns(self) -> int:
        """Time of the next event, ns since the Unix epoch."""
        return self._start_ns + self._queue[0][0] if self._queue else _NEVER_NS

    def pause(self, duration_ns: int) -> None:
        """Shift all further events by ``duration_ns``."""
        self._start_ns += duration_ns

    def advance(self, until_ns: int) -> Iterator[Event]:
        """Yield the events up to ``until_ns``. The books are those after the event just yielded."""
        until = until_ns - self._start_ns
        while self._queue and self._queue[0][0] <= until:
            now, number = self._queue[0]
            place = self._places[number]
            fair = place.fair(self.fundamentals, now)
            events = place.instrument.evolve(self._start_ns + now, fair)
            heapq.heapreplace(self._queue, (now + place.wait_ns(self._rate), number))
            yield from events


class _Place:
    """An instrument with its venue's view of the price and the time of its next event."""

    def __init__(self, instrument: SimulatedInstrument, chance: random.Random, ticks: float) -> None:
        self.instrument = instrument
        self._chance = chance.random
        self._ticks = ticks
        listing = instrument.listing
        self._latency_ns = chance.randint(*venue_market(listing.venue).latency_ns)
        self._stray = _BASIS * listing.liquidity.spread
        self._basis = chance.gauss(0.0, self._stray)
        self._time_ns = 0
        self._fair = ticks
        self._fair_until_ns = -_NEVER_NS

    def wait_ns(self, rate: float) -> int:
        """Return the time to the next event."""
        return int(EXPONENTIAL[int(self._chance() * DRAWS)] / rate * 1e9)

    def fair(self, fundamentals: Fundamentals, now: int) -> float:
        """Return the fair price in ticks, as the venue sees it, at ``now``."""
        heard = now - self._latency_ns
        if heard >= self._fair_until_ns:
            kept = math.exp((self._time_ns - now) / (1e9 * _BASIS_SECONDS))
            self._time_ns = now
            news = self._stray * NORMAL[int(self._chance() * DRAWS)]
            self._basis = self._basis * kept + news * math.sqrt(1.0 - kept * kept)
            listing = self.instrument.listing
            log_price = fundamentals.log_price(listing.symbol, listing.venue, heard)
            self._fair_until_ns = fundamentals.unchanged_until(heard)
            self._fair = self._ticks * math.exp(log_price + self._basis)
        return self._fair
