from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alphapulse.errors import ValueRefused
from alphapulse.instruments import Instrument
from producers.feed.book import BookStream
from producers.feed.counters import InstrumentCounters
from producers.feed.levels import TextLevels
from schemas.book_reader import BookReader
from schemas.records import L2Update

NONE = TextLevels("none", [], [])


def levels(*pairs: tuple[str, str]) -> TextLevels:
    return TextLevels("bids", [price for price, _ in pairs], [size for _, size in pairs])


def stream(**kwargs: Any) -> BookStream:
    instrument = kwargs.pop("instrument", Instrument("kraken", "BTC-USD", "BTC/USD"))
    return BookStream(instrument, kwargs.pop("tally", InstrumentCounters()), **kwargs)


def opened(book: BookStream, received_time: int = 1000) -> list[L2Update]:
    outputs: list[L2Update] = []
    assert book.snapshot(outputs, levels(("10", "1")), levels(("11", "2")), received_time=received_time) is None
    return outputs


def test_a_snapshot_opens_an_epoch_at_sequence_0() -> None:
    (record,) = opened(stream())
    assert (record.kind, record.epoch, record.sequence, record.received_time) == ("SNAPSHOT", 1000, 0, 1000)
    assert (record.price_exponent, record.size_exponent) == (-8, -8)
    assert (record.bid_prices, record.bid_sizes) == ([1000000000], [100000000])
    assert (record.ask_prices, record.ask_sizes) == ([1100000000], [200000000])


def test_a_delta_is_next_in_sequence() -> None:
    tally = InstrumentCounters()
    book = stream(tally=tally)
    outputs: list[L2Update] = opened(book)
    book.delta(outputs, levels(("10", "0"), ("9", "5")), NONE, received_time=2000, exchange_time=7, exchange_sequence=8)
    record = outputs[1]
    assert (record.kind, record.epoch, record.sequence) == ("DELTA", 1000, 1)
    assert (record.exchange_time, record.exchange_sequence, record.received_time) == (7, 8, 2000)
    assert (record.bid_prices, record.bid_sizes) == ([1000000000, 900000000], [0, 500000000])
    assert (tally.snapshots, tally.deltas, tally.level_changes, tally.published_l2) == (1, 1, 2, 2)


def test_epochs_rise_even_if_the_clock_does_not() -> None:
    book = stream()
    epochs = [opened(book, time)[0].epoch for time in (1000, 1000, 500, 2000)]
    assert epochs == [1000, 1001, 1002, 2000]


def test_updates_before_the_snapshot_are_ignored() -> None:
    tally = InstrumentCounters()
    book = stream(tally=tally)
    outputs: list[L2Update] = []
    assert book.delta(outputs, levels(("10", "1")), NONE, received_time=1) is None
    assert outputs == []
    assert tally.ignored == 1


def test_end_publishes_invalid_once() -> None:
    tally = InstrumentCounters()
    book = stream(tally=tally)
    outputs = opened(book)
    book.end(outputs, 3000)
    book.end(outputs, 4000)
    assert [(r.kind, r.epoch, r.sequence, r.bid_prices) for r in outputs[1:]] == [("INVALID", 1000, 1, [])]
    assert tally.invalidations == 1
    assert not book.valid
    assert len(book.book.bids) == 0


def test_a_crossed_book_is_a_doubt_and_the_update_is_not_published() -> None:
    book = stream()
    outputs = opened(book)
    doubt = book.delta(outputs, levels(("11", "1")), NONE, received_time=2)
    assert doubt is not None
    assert doubt.kind == "crossed"
    assert [r.kind for r in outputs] == ["SNAPSHOT", "INVALID"]


def kinds(outputs: list[L2Update]) -> list[str]:
    return [record.kind for record in outputs]


def crossed(book: BookStream, outputs: list[L2Update], received_time: int) -> str:
    """Give a crossed snapshot; return what was said of it."""
    doubt = book.snapshot(outputs, levels(("12", "1"), ("10", "4")), levels(("11", "2")), received_time=received_time)
    return doubt.kind if doubt is not None else ""


def bid(book: BookStream, outputs: list[L2Update], price: str, size: str, received_time: int) -> str:
    """Give an update of a bid; return what was said of it."""
    doubt = book.delta(outputs, levels((price, size)), NONE, received_time=received_time)
    return doubt.kind if doubt is not None else ""


def test_a_crossed_snapshot_is_followed_unpublished_until_an_update_uncrosses_it() -> None:
    tally = InstrumentCounters()
    book = stream(tally=tally)
    outputs: list[L2Update] = opened(book)
    assert crossed(book, outputs, 2000) == "crossed"
    assert kinds(outputs) == ["SNAPSHOT", "INVALID"]
    assert (book.follows, book.valid, book.published) == (True, False, False)
    assert crossed(book, outputs, 3000) == "", "it is known"
    assert bid(book, outputs, "12", "7", 4000) == ""
    book.confirm(outputs, 4500)
    assert kinds(outputs) == ["SNAPSHOT", "INVALID"]
    assert bid(book, outputs, "12", "0", 5000) == ""
    record = outputs[-1]
    assert (record.kind, record.epoch, record.sequence, record.received_time) == ("SNAPSHOT", 5000, 0, 5000)
    assert (record.bid_prices, record.bid_sizes) == ([1000000000], [400000000])
    assert book.published
    assert bid(book, outputs, "9", "1", 6000) == ""
    assert kinds(outputs) == ["SNAPSHOT", "INVALID", "SNAPSHOT", "DELTA"]
    assert (tally.crossed, tally.invalidations, tally.snapshots) == (4, 1, 1)


def test_a_book_that_begins_crossed_says_that_there_is_none() -> None:
    book = stream()
    outputs: list[L2Update] = []
    assert crossed(book, outputs, 1000) == "crossed"
    assert [(record.kind, record.epoch, record.sequence) for record in outputs] == [("INVALID", 1000, 0)]
    assert bid(book, outputs, "12", "0", 1000) == ""
    assert [(record.kind, record.epoch, record.sequence) for record in outputs[1:]] == [("SNAPSHOT", 1001, 0)]


def test_a_snapshot_that_is_not_crossed_ends_the_crossing() -> None:
    book = stream()
    outputs: list[L2Update] = []
    crossed(book, outputs, 1000)
    outputs += opened(book, 2000)
    assert kinds(outputs) == ["INVALID", "SNAPSHOT"]
    assert book.published


def test_updates_that_cross_a_book_again_are_the_venues_word_until_it_was_good_for_long() -> None:
    book = stream()
    outputs: list[L2Update] = []
    crossed(book, outputs, 1000)
    bid(book, outputs, "12", "0", 2000)
    assert bid(book, outputs, "12", "1", 3000) == "crossed"
    assert (book.follows, kinds(outputs)) == (True, ["INVALID", "SNAPSHOT", "INVALID"])
    # Not a whole snapshot each time it changes its mind: the timer publishes it.
    for time in range(4000, 5000, 100):
        assert bid(book, outputs, "12", "0", time) == ""
        assert bid(book, outputs, "12", "1", time + 50) == ""
        book.uncross(outputs, timer=True)
    bid(book, outputs, "12", "0", 5000)
    assert kinds(outputs) == ["INVALID", "SNAPSHOT", "INVALID"]
    book.uncross(outputs, timer=True)
    assert (outputs[-1].kind, outputs[-1].received_time) == ("SNAPSHOT", 5000)
    book.crossing.good()
    assert bid(book, outputs, "12", "1", 6000) == "crossed"
    assert not book.follows, "a lost update, perhaps"


def test_a_crossed_book_that_is_read_too_late_waits_for_both() -> None:
    book = stream()
    outputs: list[L2Update] = opened(book)
    crossed(book, outputs, 2000)
    book.withhold(outputs, 2500)
    assert kinds(outputs) == ["SNAPSHOT", "INVALID"], "one of them is enough"
    book.resume(outputs, 3000)
    assert kinds(outputs) == ["SNAPSHOT", "INVALID"]
    book.withhold(outputs, 3500)
    bid(book, outputs, "12", "0", 4000)
    assert kinds(outputs) == ["SNAPSHOT", "INVALID"]
    book.resume(outputs, 5000)
    assert kinds(outputs) == ["SNAPSHOT", "INVALID", "SNAPSHOT"]


def test_a_crossed_book_that_ends_says_nothing_more() -> None:
    book = stream()
    outputs: list[L2Update] = opened(book)
    crossed(book, outputs, 2000)
    book.end(outputs, 3000)
    assert (kinds(outputs), book.follows) == (["SNAPSHOT", "INVALID"], False)


def test_a_snapshot_asked_for_to_compare_changes_nothing_if_it_is_the_same() -> None:
    tally = InstrumentCounters()
    book = stream(tally=tally)
    outputs: list[L2Update] = opened(book)
    bid(book, outputs, "9.5", "1.123456789", 1500)  # with wider exponents than the snapshot's
    place = book.epoch, book.sequence
    book.verifying = True
    same = levels(("10.0", "1.0"), ("9.50", "1.123456789"))
    assert book.snapshot(outputs, same, levels(("11", "2")), received_time=2000) is None
    assert (book.epoch, book.sequence) == place
    assert (tally.unchanged, tally.snapshots, book.verifying) == (1, 1, False)
    assert bid(book, outputs, "9.5", "0", 3000) == ""
    assert outputs[-1].sequence == place[1] + 1


def test_a_snapshot_asked_for_to_compare_that_shows_another_book_is_a_doubt_of_the_past() -> None:
    book = stream()
    outputs: list[L2Update] = opened(book)
    book.verifying = True
    doubt = book.snapshot(outputs, levels(("10", "1.5")), levels(("11", "2")), received_time=2000)
    assert doubt is not None
    assert doubt.kind == "silence"
    assert kinds(outputs) == ["SNAPSHOT", "INVALID", "SNAPSHOT"]
    assert book.published


def test_the_depth_counts_in_the_comparison() -> None:
    book = stream(depth=1)
    outputs: list[L2Update] = opened(book)
    book.verifying = True
    more = levels(("10", "1"), ("9", "1"))
    assert book.snapshot(outputs, more, levels(("11", "2")), received_time=2000) is None
    assert kinds(outputs) == ["SNAPSHOT"]


def test_a_bad_checksum_is_a_doubt() -> None:
    tally = InstrumentCounters()
    book = stream(tally=tally, digest=lambda book: len(book.book.bids))
    outputs: list[L2Update] = []
    assert book.snapshot(outputs, levels(("10", "1")), NONE, received_time=1, checksum=1) is None
    assert outputs[0].checksum == 1
    doubt = book.delta(outputs, levels(("9", "1")), NONE, received_time=2, checksum=3)
    assert doubt is not None
    assert doubt.kind == "checksum"
    assert "2" in doubt.message
    assert "3" in doubt.message
    assert (tally.checksums_ok, tally.checksums_bad) == (1, 1)
    assert [r.kind for r in outputs] == ["SNAPSHOT", "INVALID"]


def test_more_decimals_open_a_wider_epoch_of_the_same_book() -> None:
    tally, reader = InstrumentCounters(), BookReader()
    book = stream(tally=tally)
    outputs = opened(book)
    book.delta(outputs, levels(("10.0000000001", "3.123456789")), NONE, received_time=5000)
    snapshot, widened, delta = outputs
    assert (widened.kind, widened.epoch, widened.sequence) == ("SNAPSHOT", 5000, 0)
    assert (widened.price_exponent, widened.size_exponent) == (-10, -9)
    assert (delta.kind, delta.epoch, delta.sequence) == ("DELTA", 5000, 1)
    for record in outputs:
        reader.apply(record)
    assert reader.book.text(-10, -9) == "B 10.0000000001 3.123456789\nB 10 1\nA 11 2\n"
    assert (tally.snapshots, tally.deltas, tally.published_l2) == (1, 1, 3)
    assert snapshot.price_exponent == -8


def test_trailing_zeros_do_not_widen() -> None:
    book = stream()
    outputs = opened(book)
    book.delta(outputs, levels(("10.000000000000", "3.0000000000")), NONE, received_time=5000)
    assert [r.kind for r in outputs] == ["SNAPSHOT", "DELTA"]


def test_written_out_and_stated_decimals_set_the_first_exponents() -> None:
    book = stream(instrument=Instrument("kraken", "A-B", "A/B", -12, -3))
    outputs: list[L2Update] = []
    book.snapshot(outputs, levels(("10.00", "1.0000000000")), NONE, received_time=1)
    assert (outputs[0].price_exponent, outputs[0].size_exponent) == (-12, -10)
    assert (book.price_decimals, book.size_decimals) == (2, 10)


def test_what_does_not_fit_takes_the_tightest_exponents() -> None:
    book = stream()
    outputs: list[L2Update] = []
    book.snapshot(outputs, levels(("0.5", "123456789012.5")), NONE, received_time=1)
    assert (outputs[0].price_exponent, outputs[0].size_exponent) == (-8, -1)
    assert outputs[0].bid_sizes == [1234567890125]


@pytest.mark.parametrize("price", ["0." + "0" * 29 + "1", "9" * 20, "nan", "-1", "1e-500"])
def test_a_value_that_does_not_fit_changes_nothing(price: str) -> None:
    book = stream()
    outputs = opened(book)
    with pytest.raises(ValueRefused) as caught:
        book.delta(outputs, levels((price, "1")), NONE, received_time=2)
    assert price[:10] in str(caught.value)
    assert len(outputs) == 1
    assert book.valid
    assert book.sequence == 0
    with pytest.raises(ValueRefused):
        book.snapshot(outputs, levels((price, "1"), ("123456789", "1")), NONE, received_time=2)
    assert len(outputs) == 1


def test_a_size_beyond_the_exponent_opens_an_epoch_at_a_coarser_one() -> None:
    reader = BookReader()
    book = stream()
    outputs = opened(book)
    changes = [("9", "100000000000"), ("9", "900000000000"), ("8", "0.5"), ("9", "0"), ("8", "0.000000001")]
    for number, (price, size) in enumerate(changes):
        assert book.delta(outputs, levels((price, size)), NONE, received_time=2000 + number) is None
    for record in outputs:
        reader.apply(record)
        assert reader.valid
    # Room for numbers a hundred times as large; in the end more decimals again.
    assert [(r.kind, r.size_exponent) for r in outputs] == [
        ("SNAPSHOT", -8),
        ("SNAPSHOT", -5),
        ("DELTA", -5),
        ("DELTA", -5),
        ("DELTA", -5),
        ("DELTA", -5),
        ("SNAPSHOT", -9),
        ("DELTA", -9),
    ]
    assert reader.book.text(-8, -9) == "B 10 1\nB 8 0.000000001\nA 11 2\n"


def test_a_price_beyond_the_exponent_opens_an_epoch_at_a_coarser_one() -> None:
    book = stream()
    outputs = opened(book)
    assert book.delta(outputs, NONE, levels(("1" + "0" * 15, "1")), received_time=2) is None
    assert [(r.kind, r.price_exponent) for r in outputs[1:]] == [("SNAPSHOT", -1), ("DELTA", -1)]


def test_an_empty_book_takes_any_number() -> None:
    book, outputs = stream(), list[L2Update]()
    assert book.snapshot(outputs, NONE, NONE, received_time=1) is None
    assert book.delta(outputs, levels(("1", "200000000000")), NONE, received_time=2) is None
    assert [(r.kind, r.size_exponent) for r in outputs] == [("SNAPSHOT", -8), ("SNAPSHOT", -5), ("DELTA", -5)]


def test_numbers_that_no_exponent_holds_together_are_refused_with_both_named() -> None:
    book = stream()
    outputs = opened(book)
    book.delta(outputs, levels(("9", "0.00000001")), NONE, received_time=2)
    with pytest.raises(ValueRefused, match=r"sizes '100000000000' and .* both fit 64 bits"):
        book.delta(outputs, levels(("8", "100000000000")), NONE, received_time=3)
    assert [r.kind for r in outputs] == ["SNAPSHOT", "DELTA"]
    assert book.valid


def test_levels_out_of_depth_are_deleted_in_the_records_too() -> None:
    tally, reader = InstrumentCounters(), BookReader()
    book = stream(tally=tally, depth=2)
    outputs: list[L2Update] = []
    book.snapshot(outputs, levels(("10", "1"), ("9", "1"), ("8", "1")), NONE, received_time=1)
    assert outputs[0].bid_prices == [1000000000, 900000000]
    book.delta(outputs, levels(("9.5", "1")), levels(("12", "1"), ("11", "1"), ("13", "1")), received_time=2)
    assert outputs[1].bid_prices == [950000000, 900000000]
    assert outputs[1].bid_sizes == [100000000, 0]
    assert tally.level_changes == 4  # the venue's own
    for record in outputs:
        reader.apply(record)
    assert reader.book.text(-8, -8) == book.book.text(-8, -8) == "B 10 1\nB 9.5 1\nA 11 1\nA 12 1\n"


def test_a_book_is_confirmed_with_its_place_repeated() -> None:
    tally = InstrumentCounters()
    book = stream(tally=tally)
    outputs = opened(book)
    book.delta(outputs, levels(("9", "5")), NONE, received_time=2000, exchange_time=7, exchange_sequence=8)
    figures = replace(tally)
    book.confirm(outputs, 2000)  # no news
    book.confirm(outputs, 2500)
    book.confirm(outputs, 2500)
    (record,) = outputs[2:]
    assert (record.kind, record.epoch, record.sequence) == ("HEARTBEAT", 1000, 1)
    assert (record.received_time, record.exchange_time, record.exchange_sequence) == (2500, 0, 8)
    assert (record.price_exponent, record.size_exponent) == (-8, -8)
    assert [record.bid_prices, record.bid_sizes, record.ask_prices, record.ask_sizes] == [[], [], [], []]
    assert tally == figures
    book.end(outputs, 3000)
    assert (outputs[-1].kind, outputs[-1].sequence, outputs[-1].exchange_time) == ("INVALID", 2, 7)
    book.confirm(outputs, 4000)
    assert outputs[-1].kind == "INVALID"


def test_a_withheld_book_goes_on_unpublished() -> None:
    tally, reader = InstrumentCounters(), BookReader()
    book = stream(tally=tally)
    outputs = opened(book)
    book.withhold(outputs, 2000)
    assert (outputs[1].kind, outputs[1].sequence, outputs[1].received_time) == ("INVALID", 1, 2000)
    assert book.valid
    assert book.withheld
    book.delta(outputs, levels(("9", "5")), NONE, received_time=3000, exchange_time=7, exchange_sequence=8)
    book.confirm(outputs, 3500)
    book.withhold(outputs, 3600)
    assert len(outputs) == 2
    book.resume(outputs, 4000)
    book.delta(outputs, levels(("8", "5")), NONE, received_time=5000)
    assert [(r.kind, r.epoch, r.sequence) for r in outputs[2:]] == [("SNAPSHOT", 4000, 0), ("DELTA", 4000, 1)]
    assert (outputs[2].exchange_time, outputs[2].exchange_sequence) == (7, 8)
    for record in outputs:
        reader.apply(record)
    assert reader.book.text(-8, -8) == "B 10 1\nB 9 5\nB 8 5\nA 11 2\n"
    assert (tally.snapshots, tally.deltas, tally.withheld, tally.published_l2) == (1, 1, 1, 3)
    assert tally.invalidations == 1


def test_a_resumed_book_is_confirmed_only_by_what_is_heard_after_that() -> None:
    book = stream()
    outputs = opened(book)
    book.withhold(outputs, 2000)
    book.resume(outputs, 4000)
    book.confirm(outputs, 3900)
    assert [r.kind for r in outputs] == ["SNAPSHOT", "INVALID", "SNAPSHOT"]


def test_a_book_that_comes_into_doubt_while_it_is_withheld_waits_for_its_snapshot() -> None:
    book = stream()
    outputs = opened(book)
    book.withhold(outputs, 2000)
    assert book.delta(outputs, levels(("11", "1")), NONE, received_time=3000) is not None
    assert not book.valid
    book.resume(outputs, 4000)
    assert [r.kind for r in outputs] == ["SNAPSHOT", "INVALID"]
    opened_again: list[L2Update] = []
    book.snapshot(opened_again, levels(("10", "1")), levels(("11", "2")), received_time=5000)
    assert [(r.kind, r.epoch) for r in opened_again] == [("SNAPSHOT", 5000)]


def test_a_snapshot_that_comes_while_it_is_withheld_opens_no_epoch() -> None:
    tally = InstrumentCounters()
    book = stream(tally=tally)
    outputs: list[L2Update] = []
    book.withhold(outputs, 1000)
    book.snapshot(outputs, levels(("10", "1")), levels(("11", "2")), received_time=2000)
    assert outputs == []
    book.invalidate_unopened(outputs, 2500)  # whatever was there before is not this book
    book.resume(outputs, 3000)
    assert [(r.kind, r.epoch, r.sequence) for r in outputs] == [("INVALID", 2500, 0), ("SNAPSHOT", 3000, 0)]
    assert (tally.snapshots, tally.withheld, tally.published_l2) == (0, 1, 1)


def test_a_withheld_book_gets_wider_exponents_without_a_record() -> None:
    reader = BookReader()
    book = stream()
    outputs = opened(book)
    book.withhold(outputs, 2000)
    book.delta(outputs, levels(("10.0000000001", "3")), NONE, received_time=3000)
    book.resume(outputs, 4000)
    assert [(r.kind, r.price_exponent) for r in outputs] == [("SNAPSHOT", -8), ("INVALID", -8), ("SNAPSHOT", -10)]
    for record in outputs:
        reader.apply(record)
    assert reader.book.text(-10, -8) == "B 10.0000000001 3\nB 10 1\nA 11 2\n"
