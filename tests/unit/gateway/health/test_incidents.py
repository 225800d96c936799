from __future__ import annotations

from gateway.health.incidents import HOUR, Incidents, LastHour
from tests.fixtures import market
from tests.fixtures.market import SECOND, START


def test_gaps_resyncs_and_epochs_of_the_last_hour() -> None:
    incidents = Incidents()
    for second, kind in enumerate(("gap", "resync", "checksum_failure", "connected", "disconnected")):
        incidents.apply(market.event(kind, time=START + second * SECOND, severity="WARNING"))
    incidents.apply(market.event("disconnected", severity="INFO"))
    incidents.apply(market.event("gap", venue=None))
    incidents.apply(market.depth(epoch=START, sequence=1))
    incidents.apply(market.depth(epoch=START, sequence=2))
    incidents.apply(market.depth(epoch=START + 3 * SECOND, sequence=0))
    incidents.apply(market.depth(epoch=START + 4 * SECOND, sequence=0, valid=False))
    incidents.apply(
        market.depth(epoch=START + 1, sequence=9),
    )
    now = START + 5 * SECOND
    assert incidents.last_hour("kraken", now) == LastHour(gaps=3, resyncs=1, epochs=2)
    assert incidents.last_hour("coinbase", now) == LastHour(0, 0, 0)
    assert incidents.last_hour("kraken", START + HOUR + SECOND) == LastHour(gaps=2, resyncs=0, epochs=1)
