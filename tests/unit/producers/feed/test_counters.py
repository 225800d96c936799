from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from producers.feed.counters import InstrumentCounters


@given(st.lists(st.tuples(st.integers(0, 2**63 - 1), st.integers(-18, 0)), max_size=10))
def test_volume_is_exact_whatever_the_exponents(sizes: list[tuple[int, int]]) -> None:
    tally = InstrumentCounters()
    for size, exponent in sizes:
        tally.add_volume(size, exponent)
    assert Fraction(tally.base_volume) == sum(Fraction(size, 10**-exponent) for size, exponent in sizes)


def test_report_names_every_figure() -> None:
    tally = InstrumentCounters(snapshots=1, gaps=2)
    tally.add_volume(150, -2)
    report = tally.report()
    assert report["snapshots"] == 1
    assert report["gaps"] == 2
    assert report["base_volume"] == "1.5"
    assert not [name for name in report if name.startswith("_")]
