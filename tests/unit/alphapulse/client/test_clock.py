"""The gateway's clock."""

from __future__ import annotations

from alphapulse.client.clock import GatewayClock


def test_the_shortest_round_trip_tells_best() -> None:
    clock = GatewayClock()
    assert clock.at(1.0) is None
    clock.heard(5_000_000, 1.0, 2.0)
    assert clock.at(1.5) == 5_000_000
    clock.heard(5_300_000, 1.7, 1.9)
    assert clock.at(1.8) == 5_300_000
    clock.heard(9_000_000, 2.0, 4.0)
    assert clock.at(1.8) == 5_300_000


def test_an_old_measurement_gives_way() -> None:
    clock = GatewayClock()
    clock.heard(1_000_000, 1.0, 1.0)
    clock.heard(200_500_000, 199.0, 200.0)
    assert clock.at(1.0) == 1_000_000
    clock.heard(2_000_500_000, 1999.0, 2000.0)
    assert clock.at(1999.5) == 2_000_500_000
