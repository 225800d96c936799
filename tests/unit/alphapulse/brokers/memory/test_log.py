"""A partition's log: what is read is what was appended, in order, from any offset."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.brokers.memory.log import CORRUPT, OUT_OF_ORDER, UNSUPPORTED_FORMAT, BatchRefused, PartitionLog
from tests.unit.alphapulse.brokers.memory.batches import batch, records

MUCH = 1 << 30


def log_of(*batches: memoryview, retention: int = MUCH) -> PartitionLog:
    log = PartitionLog(retention)
    for each in batches:
        log.append(each)
    return log


def read(log: PartitionLog, offset: int, most: int = MUCH) -> list[tuple[int, bytes]]:
    return records(log.read(offset, most, at_least_one=True))


def test_offsets_run_on_over_batches() -> None:
    log = PartitionLog(MUCH)
    assert log.append(batch([b"a", b"b"])) == 0
    assert log.append(batch([b"c"])) == 2
    # Several in one request.
    assert log.append(memoryview(bytes(batch([b"d"])) + bytes(batch([b"e", b"f"])))) == 3
    assert (log.start, log.end, len(log)) == (0, 6, 4)
    assert read(log, 0) == list(enumerate([b"a", b"b", b"c", b"d", b"e", b"f"]))


def test_a_read_begins_with_the_batch_that_holds_its_offset() -> None:
    log = log_of(batch([b"a", b"b"]), batch([b"c", b"d"]))
    assert read(log, 1) == [(0, b"a"), (1, b"b"), (2, b"c"), (3, b"d")]
    assert read(log, 2) == read(log, 3) == [(2, b"c"), (3, b"d")]


def test_a_read_is_bounded_but_for_its_first_batch() -> None:
    log = log_of(*(batch([bytes(100)]) for _ in range(5)))
    size = log.size // 5
    assert len(log.read(0, 3 * size, at_least_one=True)) == 3
    assert len(log.read(0, 3 * size - 1, at_least_one=True)) == 2
    assert len(log.read(0, 1, at_least_one=True)) == 1
    assert log.read(0, size - 1, at_least_one=False) == []


def test_the_oldest_batches_go_and_the_newest_stays_whatever_its_size() -> None:
    size = len(batch([bytes(100)]))
    log = log_of(*(batch([bytes(100)]) for _ in range(10)), retention=3 * size)
    assert (log.start, log.end, len(log), log.size) == (8, 10, 2, 2 * size)
    log.append(batch([bytes(1000)]))
    assert (log.start, log.end, len(log)) == (10, 11, 1)
    assert [offset for offset, _ in read(log, 10)] == [10]


def test_a_full_log_begins_elsewhere_rarely() -> None:
    """Whoever begins at its oldest record must have time to ask for it, whatever comes meanwhile."""
    size = len(batch([bytes(100)]))
    log, starts = PartitionLog(80 * size), []
    for _ in range(200):
        log.append(batch([bytes(100)]))
        assert 70 * size <= log.size <= 80 * size or log.end <= 80
        starts.append(log.start)
    assert len(set(starts)) == 1 + len(range(80, 200, 11))


def test_deleting_before_an_offset_within_a_batch_keeps_the_batch() -> None:
    log = log_of(batch([b"a", b"b"]), batch([b"c", b"d"]), batch([b"e"]))
    log.delete_before(3)
    assert (log.start, log.end, len(log)) == (3, 5, 2)
    assert read(log, 3)[0] == (2, b"c")
    log.delete_before(1)  # it is further already
    assert log.start == 3
    log.delete_before(5)
    assert (log.start, log.end, len(log), log.size) == (5, 5, 0, 0)
    with pytest.raises(ValueError, match="offset 6 is not between 0 and 5"):
        log.delete_before(6)
    assert log.append(batch([b"f"])) == 5


def test_offsets_by_time_are_those_of_batches() -> None:
    log = log_of(batch([b"a", b"b"], time=1_000), batch([b"c"], time=2_000))
    assert log.offset_at(0) == log.offset_at(1_001) == (0, 1_001)
    assert log.offset_at(1_002) == log.offset_at(2_000) == (2, 2_000)
    assert log.offset_at(2_001) == (-1, -1)


def test_a_batch_sent_again_is_not_appended_again() -> None:
    log = log_of(batch([b"old"]))
    first = batch([b"a", b"b"], producer=7, epoch=0, sequence=0)
    second = batch([b"c"], producer=7, epoch=0, sequence=2)
    assert log.append(first) == 1
    assert log.append(second) == 3
    assert log.append(first) == 1
    assert log.append(second) == 3
    assert log.end == 4
    assert log.append(batch([b"x"], producer=8, epoch=0, sequence=0)) == 4


def test_a_batch_that_skips_its_producers_numbers_is_refused() -> None:
    log = log_of(batch([b"a", b"b"], producer=7, epoch=0, sequence=0))
    with pytest.raises(BatchRefused, match="producer 7: expected sequence 2, found 3") as refused:
        log.append(batch([b"d"], producer=7, epoch=0, sequence=3))
    assert refused.value.code == OUT_OF_ORDER
    assert log.end == 2
    # A new epoch of the producer counts anew.
    assert log.append(batch([b"d"], producer=7, epoch=1, sequence=0)) == 2


@pytest.mark.parametrize(
    ("spoil", "code", "reason"),
    [
        (lambda b: b[:60], CORRUPT, "a record batch of 60 bytes"),
        (lambda b: b[:-1], CORRUPT, "of which"),
        (lambda b: b"", CORRUPT, "no record batch"),
        (lambda b: b[:16] + b"\x01" + b[17:], UNSUPPORTED_FORMAT, "message format 1"),
        (lambda b: b[:-1] + bytes([b[-1] ^ 1]), CORRUPT, "checksum"),
        (lambda b: b[:8] + struct.pack(">i", 0) + b[12:], CORRUPT, "of which"),
        (lambda b: b[:57] + struct.pack(">i", 5) + b[61:], CORRUPT, "a record batch of 5 records"),
    ],
)
def test_a_damaged_batch_is_refused_with_all_that_came_with_it(spoil, code: int, reason: str) -> None:  # type: ignore[no-untyped-def]
    log = log_of(batch([b"a"]))
    good, bad = bytes(batch([b"b"])), spoil(bytes(batch([b"c"])))
    for sent in (bad, good + bad) if bad else (bad,):
        with pytest.raises(BatchRefused, match=reason) as refused:
            log.append(memoryview(sent))
        assert refused.value.code == code
    assert read(log, 0) == [(0, b"a")]
    assert log.end == 1


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 5), st.integers(0, 300)),
            st.tuples(st.just("delete"), st.floats(0, 1), st.just(0)),
        ),
        max_size=60,
    ),
    st.integers(100, 3000),
)
def test_every_offset_kept_reads_what_was_appended(steps: list[tuple[str, float, int]], retention: int) -> None:
    log = PartitionLog(retention)
    written: list[bytes] = []
    for kind, amount, size in steps:
        if kind == "append":
            values = [b"%d:" % len(written) + bytes(size) for _ in range(int(amount))]
            values = [b"%d|" % (len(written) + number) + value for number, value in enumerate(values)]
            assert log.append(batch(values)) == len(written)
            written += values
        else:
            log.delete_before(log.start + int((log.end - log.start) * amount))
        assert log.end == len(written)
        assert log.size <= retention or len(log) == 1
        assert log.bytes_from(log.start, MUCH) == log.size
        for offset in range(log.start, log.end):
            found = read(log, offset)
            assert found[0][0] <= offset
            assert found == [(at, written[at]) for at in range(found[0][0], log.end)]
