"""The ordinary collector on a simulated venue whose frames, connections and answers fail, over real sockets."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from alphapulse.config import PublisherSettings, VenueSettings
from producers.collector.collector import Collector
from producers.collector.publisher import Publisher
from producers.net.backoff import Backoff
from producers.registry import load
from producers.simulator.faults import VenueFaults
from producers.simulator.listings import make_listings
from producers.simulator.scripts import Fault
from producers.simulator.server import Simulation
from schemas.book_reader import BookReader
from schemas.codec import Codec
from schemas.records import L2Update, Trade
from tests.fixtures.held_producer import HeldProducer
from tests.fixtures.venue_server import until
from tests.integration.producers.test_recording import Frozen, feed, serving

FRAMES = 1000
KINDS = ("drop", "duplicate", "reorder", "corrupt", "checksum", "stall", "disconnect", "rest_429", "rest_slow")


def script() -> list[Fault]:
    """Return each kind once: many in a row would be repaired ever more slowly, and this is real time."""
    return [
        Fault(kind=kind, frame=50 + 97 * number, seconds=0.2)  # type: ignore[arg-type]
        for number, kind in enumerate(KINDS)
    ]


@pytest.mark.parametrize("venue", ["kraken", "coinbase", "binance_us"])
async def test_books_heal_and_trades_come_once(venue: str, tmp_path: Path) -> None:
    clock = Frozen()
    faults = partial(VenueFaults, script=script(), seed=5)
    listings = make_listings([venue], ["BTC-USD"])
    simulation = Simulation(listings, seed=2, rate=300.0, faults=faults, limits=1.0, clock=clock)
    async with serving(tmp_path, "simulator", simulation.serve) as told:
        producer = HeldProducer(prompt=True)
        publisher = Publisher(producer, Codec(), PublisherSettings(linger_ms=0), venue)
        backoff = partial(Backoff, base=0.05, cap=0.1)
        settings = VenueSettings(**feed(told["venues"][venue]))
        collector = Collector(load(venue), settings, publisher, "collector", backoff=backoff)
        stopping = asyncio.Event()
        work = asyncio.create_task(collector.run(stopping, lambda state: None))
        sent = simulation.venues[venue]
        await until(lambda: sent.faults.number > FRAMES or work.done(), 60)
        sent.faults.stop()
        for connection in list(sent._outboxes):  # what the protocol cannot see ends with the connection at the latest
            connection.abort()
        stopped_after = sent.faults.number
        await until(lambda: sent.faults.number > stopped_after + 200 or work.done(), 60)
        await clock.stop(simulation)
        market = simulation.market.instruments[venue, "BTC-USD"]
        wanted = market.book.sha256(-market.listing.price_decimals, -market.listing.size_decimals)

        def healed() -> bool:
            (state,) = (line.protocol.instruments["BTC-USD"].book for line in collector.shards)
            return state.valid and state.book.sha256(state.price_exponent, state.size_exponent) == wanted

        await until(lambda: work.done() or healed(), 60)
        await publisher.flush()
        records = producer.records()
        stopping.set()
        await work
    reader = BookReader()
    for record in records:
        if isinstance(record, L2Update):
            reader.apply(record)
    assert reader.valid
    assert reader.book.sha256(reader.price_exponent, reader.size_exponent) == wanted
    trades = [record.trade_id for record in records if isinstance(record, Trade)]
    assert len(trades) == len(set(trades)) > 50
    assert sent.status()["refused"] == {}, "whatever goes wrong, the venue's limits are kept"
    assert {"drop", "duplicate", "reorder", "corrupt", "stall", "disconnect"} <= set(sent.faults.happened)
