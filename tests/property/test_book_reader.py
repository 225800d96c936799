"""A book reader on a bad line: it may have no book, but never a wrong one."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from alphapulse.book import OrderBook
from schemas.book_reader import BookReader, Outcome
from schemas.records import L2Kind, L2Update

sides = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 4)), max_size=4)
Levels = list[tuple[int, int]]
Position = tuple[int, int]


def record(kind: L2Kind, epoch: int, sequence: int, bids: Levels, asks: Levels) -> L2Update:
    return L2Update(
        venue="v",
        symbol="S",
        kind=kind,
        epoch=epoch,
        sequence=sequence,
        exchange_time=epoch + sequence * 10,
        received_time=epoch + sequence * 10,
        price_exponent=-epoch // 100,  # each epoch has its own
        size_exponent=0,
        bid_prices=[price for price, _ in bids],
        bid_sizes=[size for _, size in bids],
        ask_prices=[price for price, _ in asks],
        ask_sizes=[size for _, size in asks],
    )


@st.composite
def streams(draw: st.DrawFn) -> list[L2Update]:
    """What a collector publishes: epochs of a snapshot, deltas and heartbeats, ended by INVALID or just by the next."""
    stream: list[L2Update] = []

    def publish(update: L2Update) -> None:
        stream.append(update)
        heartbeat = replace(record("HEARTBEAT", update.epoch, update.sequence, [], []), exchange_time=0)
        confirmed = range(update.received_time + 1, update.received_time + 1 + draw(st.sampled_from([0, 0, 0, 1, 2])))
        stream.extend(replace(heartbeat, received_time=time) for time in confirmed)

    for epoch in range(100, 100 * draw(st.integers(2, 5)), 100):
        publish(record("SNAPSHOT", epoch, 0, draw(sides), draw(sides)))
        deltas = draw(st.integers(0, 5))
        for number in range(deltas):
            publish(record("DELTA", epoch, number + 1, draw(sides), draw(sides)))
        if draw(st.booleans()):
            stream.append(record("INVALID", epoch, deltas + 1, [], []))
    return stream


def reference(stream: list[L2Update]) -> dict[Position, str]:
    """The true book after each record, by (epoch, sequence)."""
    books: dict[Position, str] = {}
    book = OrderBook()
    for update in stream:
        columns = (update.bid_prices, update.bid_sizes, update.ask_prices, update.ask_sizes)
        if update.kind == "HEARTBEAT":
            continue
        if update.kind == "SNAPSHOT":
            book.replace(*columns)
        else:
            book.apply(*columns)
        books[update.epoch, update.sequence] = book.text(update.price_exponent, update.size_exponent)
    return books


@st.composite
def bad_lines(draw: st.DrawFn) -> tuple[list[L2Update], list[L2Update]]:
    """A stream, and what is left of it after drops, doubles and swaps."""
    stream = draw(streams())
    line = [update for update in stream for _ in range(draw(st.sampled_from([0, 1, 1, 1, 1, 2])))]
    for _ in range(draw(st.integers(0, 4))):
        if len(line) > 1:
            at = draw(st.integers(0, len(line) - 2))
            to = draw(st.integers(0, len(line) - 1))
            line.insert(to, line.pop(at))
    if draw(st.booleans()) and line:
        # A consumer that goes back to its committed offset.
        line += line[draw(st.integers(0, len(line) - 1)) :]
    return stream, line


def check(reader: BookReader, books: dict[Position, str]) -> None:
    if reader.valid:
        assert reader.book.text(reader.price_exponent, reader.size_exponent) == books[reader.epoch, reader.sequence]
    else:
        assert len(reader.book.bids) == len(reader.book.asks) == 0


@given(bad_lines())
def test_a_valid_book_is_the_true_one(case: tuple[list[L2Update], list[L2Update]]) -> None:
    stream, line = case
    books = reference(stream)
    reader = BookReader()
    last: Position = (0, -1)
    for update in line:
        before, was_valid, time = reader.book.text(0, 0), reader.valid, reader.received_time
        outcome = reader.apply(update)
        check(reader, books)
        position = (reader.epoch, reader.sequence)
        assert position >= last  # it never goes back
        last = position
        assert reader.received_time >= time
        if outcome is Outcome.HEARTBEAT:
            assert reader.book.text(0, 0) == before
        if outcome in (Outcome.SEEN, Outcome.WAITING):
            assert (reader.book.text(0, 0), reader.valid, reader.received_time) == (before, was_valid, time)
        elif outcome in (Outcome.SNAPSHOT, Outcome.DELTA, Outcome.HEARTBEAT):
            assert reader.valid
            assert position == (update.epoch, update.sequence)
            assert reader.received_time == update.received_time
        else:
            assert was_valid
            assert not reader.valid


@given(streams())
def test_on_a_good_line_nothing_is_missed(stream: list[L2Update]) -> None:
    books = reference(stream)
    reader = BookReader()
    expected = {
        "SNAPSHOT": Outcome.SNAPSHOT,
        "DELTA": Outcome.DELTA,
        "INVALID": Outcome.INVALIDATED,
        "HEARTBEAT": Outcome.HEARTBEAT,
    }
    for update in stream:
        assert reader.apply(update) is expected[update.kind]
        check(reader, books)


@given(streams(), st.data())
def test_a_single_loss_within_an_epoch_is_noticed(stream: list[L2Update], data: st.DataObject) -> None:
    inner = [
        at for at, update in enumerate(stream[:-1]) if update.kind == "DELTA" and stream[at + 1].kind != "SNAPSHOT"
    ]
    if not inner:
        return
    lost = data.draw(st.sampled_from(inner))
    reader = BookReader()
    outcomes = [reader.apply(update) for update in stream[:lost] + stream[lost + 1 :]]
    assert outcomes[lost] is Outcome.GAP


@given(streams(), st.data())
def test_after_a_start_anywhere_the_next_snapshot_helps(stream: list[L2Update], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(stream)))
    books = reference(stream)
    reader = BookReader()
    snapshot_seen = False
    for update in stream[start:]:
        snapshot_seen |= update.kind == "SNAPSHOT"
        reader.apply(update)
        check(reader, books)
        assert reader.valid == (snapshot_seen and update.kind != "INVALID")


@given(streams(), st.data())
def test_an_exponent_that_changes_within_an_epoch_is_doubt(stream: list[L2Update], data: st.DataObject) -> None:
    deltas = [at for at, update in enumerate(stream) if update.kind == "DELTA"]
    if not deltas:
        return
    at = data.draw(st.sampled_from(deltas))
    reader = BookReader()
    for update in stream[:at]:
        reader.apply(update)
    assert reader.apply(replace(stream[at], size_exponent=-3)) is Outcome.GAP
    assert not reader.valid
