from __future__ import annotations

from stream_processors.processing.state import Totals


def test_totals_are_exact_at_any_exponent() -> None:
    totals = Totals()
    totals.trade(5, -1)
    totals.trade(25, -3)
    totals.trade(2, 0)
    totals.trade(2**62, 0)
    totals.trade(2**62, 0)
    totals.trade(2**62, 0)
    assert (totals.trades, totals.volume_exponent) == (6, -3)
    assert int(totals.base_volume) == 2525 + 3 * 2**62 * 1000
