"""producers.simulator.texts"""

from __future__ import annotations

from producers.simulator.listings import make_listings
from producers.simulator.texts import Spelling, Texts


def test_numbers_are_written_as_the_venue_does_whether_remembered_or_not() -> None:
    (listing,) = make_listings(["coinbase"], ["BTC-USD"])
    usual, wide = Spelling(listing), Spelling(listing, 10)
    for _ in range(2):
        assert usual.prices[6_180_001] == "61800.01"
        assert wide.prices[6_180_001] == "61800.0100000000"
        assert usual.sizes[0] == "0.00000000"


def test_what_is_remembered_is_bounded() -> None:
    texts = Texts(2)
    assert [texts[number] for number in range(5000)] == [f"{number / 100:.2f}" for number in range(5000)]
    assert len(texts) <= 1024
