"""The order book; what must hold for any sequence of changes is in tests/property/test_book.py."""

from __future__ import annotations

import hashlib

import pytest

from alphapulse.book import BookSide, Changes, OrderBook


@pytest.fixture
def book() -> OrderBook:
    book = OrderBook()
    book.replace([100, 98, 99], [1, 2, 3], [103, 101], [4, 5])
    return book


def test_best_is_first(book: OrderBook) -> None:
    assert list(book.bids) == [(100, 1), (99, 3), (98, 2)]
    assert list(book.asks) == [(101, 5), (103, 4)]
    assert (book.bids.best_price(), book.asks.best_price()) == (100, 101)
    assert (len(book.bids), len(book.asks)) == (3, 2)


def test_apply_counts_what_it_did(book: OrderBook) -> None:
    changes = book.apply([100, 97, 98, 50], [7, 1, 0, 0], [102, 103], [1, 0])
    assert changes == Changes(added=2, updated=1, removed=2, absent=1)
    assert list(book.bids) == [(100, 7), (99, 3), (97, 1)]
    assert list(book.asks) == [(101, 5), (102, 1)]


def test_a_price_given_twice_takes_the_last_size(book: OrderBook) -> None:
    assert book.bids.apply([90, 90, 90], [1, 2, 0]) == Changes(added=1, updated=1, removed=1, absent=0)
    assert book.bids.size_at(90) == 0
    book.bids.replace([90, 90], [1, 2])
    assert list(book.bids) == [(90, 2)]
    book.bids.replace([90, 90], [1, 0])
    assert list(book.bids) == []


def test_one_level_is_set_and_what_it_was_is_told(book: OrderBook) -> None:
    assert [book.asks.set(102, 9), book.asks.set(103, 6), book.asks.set(101, 0), book.asks.set(50, 0)] == [0, 4, 5, 0]
    assert list(book.asks) == [(102, 9), (103, 6)]
    assert book.asks.best_price() == 102


def test_prices_by_place(book: OrderBook) -> None:
    assert [book.bids.price_at(place) for place in range(3)] == book.bids.prices(9) == [100, 99, 98]
    assert book.asks.prices(1) == [101]
    assert book.asks.price_at(1) == 103
    assert book.asks.prices(0) == book.asks.prices(-1) == []
    for place in (-1, 3):
        with pytest.raises(IndexError):
            book.bids.price_at(place)


def test_changes_add_up() -> None:
    assert Changes(1, 2, 3, 4) + Changes(10, 20, 30, 40) == Changes(11, 22, 33, 44)


def test_top(book: OrderBook) -> None:
    assert book.bids.top(2) == [(100, 1), (99, 3)]
    assert book.bids.top(99) == list(book.bids)
    assert book.bids.top(0) == book.bids.top(-1) == []


def test_truncate_tells_which_levels_went(book: OrderBook) -> None:
    assert book.bids.truncate(3) == []
    assert sorted(book.bids.truncate(1)) == [98, 99]
    assert list(book.bids) == [(100, 1)]
    assert book.bids.size_at(98) == 0


def test_a_depth_is_kept() -> None:
    book = OrderBook(depth=2)
    book.replace([1, 2, 3], [1, 1, 1], [4, 5, 6], [1, 1, 1])
    assert [price for price, _ in book.bids] == [3, 2]
    assert [price for price, _ in book.asks] == [4, 5]
    book.apply([10], [1], [], [])
    assert [price for price, _ in book.bids] == [10, 3]


@pytest.mark.parametrize(
    ("bid", "ask", "crossed"),
    [(100, 101, False), (101, 101, True), (102, 101, True), (None, 101, False), (1, None, False)],
)
def test_crossed(bid: int | None, ask: int | None, crossed: bool) -> None:
    book = OrderBook()
    if bid is not None:
        book.bids.apply([bid], [1])
    if ask is not None:
        book.asks.apply([ask], [1])
    assert book.crossed is crossed


def test_unequal_sides_change_nothing(book: OrderBook) -> None:
    before = book.text(0, 0)
    with pytest.raises(ValueError, match="2 prices but 1 sizes"):
        book.apply([1], [1], [200, 201], [1])
    with pytest.raises(ValueError, match="1 prices but 2 sizes"):
        book.replace([1], [1, 2], [], [])
    with pytest.raises(ValueError, match="0 prices but 1 sizes"):
        book.replace([1], [1], [], [3])
    with pytest.raises(ValueError, match="1 prices but 0 sizes"):
        book.bids.apply([1], [])
    with pytest.raises(ValueError, match="shorter"):
        book.bids.replace([1, 2], [1])
    assert book.text(0, 0) == before


def test_text_and_digest(book: OrderBook) -> None:
    text = "B 1 0.01\nB 0.99 0.03\nB 0.98 0.02\nA 1.01 0.05\nA 1.03 0.04\n"
    assert book.text(-2, -2) == text
    assert book.sha256(-2, -2) == hashlib.sha256(text.encode()).hexdigest()
    finer = OrderBook()
    finer.replace([1000, 980, 990], [1, 2, 3], [1030, 1010], [4, 5])
    assert finer.sha256(-3, -2) == book.sha256(-2, -2)


def test_clear(book: OrderBook) -> None:
    book.clear()
    assert (len(book.bids), len(book.asks), book.crossed, book.text(0, 0)) == (0, 0, False, "")
    assert book.bids.best_price() is None
    side = BookSide(-1)
    assert side.best_price() is None
