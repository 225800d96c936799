"""In whatever order crossings, repairs and lateness come: what readers take for valid is the venue's, uncrossed."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from alphapulse.book import OrderBook
from alphapulse.instruments import Instrument
from producers.feed.book import BookStream, Doubt
from producers.feed.counters import InstrumentCounters
from producers.feed.levels import TextLevels
from schemas.book_reader import BookReader, Outcome
from tests.fixtures.examples import examples

NONE = TextLevels("none", [], [])


def levels(side: dict[int, int]) -> TextLevels:
    return TextLevels("side", list(map(str, side)), list(map(str, side.values())))


def scaled(side: dict[int, int]) -> tuple[list[int], list[int]]:
    return [price * 10**8 for price in side], [size * 10**8 for size in side.values()]


def true_book(bids: dict[int, int], asks: dict[int, int]) -> OrderBook:
    book = OrderBook()
    book.replace(*scaled(bids), *scaled(asks))
    return book


class Followed:
    """A venue's book, the collector's, and a reader's."""

    def __init__(self) -> None:
        self.book, self.reader = BookStream(Instrument("v", "A-B", "AB"), InstrumentCounters()), BookReader()
        self.bids, self.asks = {3: 1}, {4: 1}
        self.outputs: list[Any] = []

    def update(self, what: str, price: int, size: int, time: int) -> Doubt | None:
        side = self.bids if what == "bid" else self.asks
        side[price] = size
        changed = levels({price: size})
        sides = (changed, NONE) if what == "bid" else (NONE, changed)
        doubt = self.book.delta(self.outputs, *sides, received_time=time)
        if not size:
            del side[price]
        return doubt

    def snapshot(self, time: int) -> Doubt | None:
        return self.book.snapshot(self.outputs, levels(self.bids), levels(self.asks), received_time=time)

    def beside(self, what: str, time: int) -> None:
        """Do something that is no message of the venue."""
        book, outputs = self.book, self.outputs
        match what:
            case "withhold":
                book.withhold(outputs, time)
            case "resume":
                book.resume(outputs, time)
            case "timer":
                book.uncross(outputs, timer=True)
            case "good" if book.published:
                book.crossing.good()
            case "end":
                book.end(outputs, time)
            case "beat":
                book.confirm(outputs, time)

    def check(self) -> list[str]:
        """Check what there is now; return the kinds of the new records."""
        for record in self.outputs:
            assert self.reader.apply(record) not in (Outcome.GAP, Outcome.WAITING, Outcome.SEEN)
        kinds = [record.kind for record in self.outputs]
        self.outputs.clear()
        truth, book, reader = true_book(self.bids, self.asks), self.book, self.reader
        assert reader.valid == book.published
        if reader.valid:
            assert not truth.crossed
            assert reader.book.text(-8, -8) == truth.text(-8, -8)
        if book.follows:
            assert book.book.text(-8, -8) == truth.text(-8, -8)
        return kinds


STEPS = ("bid", "bid", "ask", "ask", "ask again", "compare", "withhold", "resume", "timer", "good", "end", "beat")


@settings(max_examples=examples(300), deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(STEPS), st.integers(1, 6), st.integers(0, 2), st.integers(0, 3)),
        min_size=5,
        max_size=40,
    )
)
def test_no_reader_has_a_crossed_book_or_another_than_the_venues(steps: list[tuple[str, int, int, int]]) -> None:
    it, time = Followed(), 1000
    it.snapshot(time)
    for what, price, size, passed in steps:
        time += passed
        doubt = None
        if what in ("bid", "ask"):
            doubt = it.update(what, price, size, time)
        elif what in ("ask again", "compare"):
            it.book.verifying = what == "compare"
            doubt = it.snapshot(time)
        else:
            it.beside(what, time)
        ends = it.check().count("INVALID")
        assert ends <= 1
        assert not ends or doubt is not None or what in ("withhold", "end"), "each end has its reason"
    # Whatever it was: it ends with the auction, when the snapshot comes.
    it.asks = {price: size for price, size in it.asks.items() if price > max(it.bids, default=0)}
    it.snapshot(time + 1)
    it.beside("resume", time + 2)
    it.check()
    assert it.book.published
