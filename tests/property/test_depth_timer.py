"""The timer of conflated books wakes when there is something to publish, not before, and leaves nothing waiting."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alphapulse import topics
from schemas.records import Record
from stream_processors.processing.arbitrage import ArbitrageRules
from stream_processors.processing.instrument import Rules
from stream_processors.processing.partition import Partition
from tests.fixtures.market import START
from tests.unit.stream_processors.processing.test_depth import bid, snapshot

MS = 1_000_000

steps = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 9)), max_size=30)
"""Milliseconds to the next record by the collector's clock, and by ours; a size."""


@given(steps, st.integers(0, 30))
def test_a_partition_tells_when_its_books_are_due(taken: list[tuple[int, int, int]], muted: int) -> None:
    one, out, now, ms = Partition(0, Rules(), ArbitrageRules()), list[Record](), START, 0
    one.muted_until = {topics.L2: muted}
    for offset, (later, here, size) in enumerate([(0, 0, 1), *taken]):
        ms += later
        arrived = now
        now += here * MS
        due = one.depth_due()
        if due is None:
            one.tick_depth(now, out)
            assert out == []
        elif due <= now:
            if due > arrived:  # else its time had come with the record before
                one.tick_depth(due - 1, out)
                assert out == []
                assert one.depth_due() == due
            one.tick_depth(due, out)
            assert one.depth_due() is None
        one.apply_l2(offset, bid(offset, ms, 100, size) if offset else snapshot(), now, out)
        one.positions[topics.L2] = offset + 1
        out.clear()
        pending = any(instrument.depth.pending for instrument in one.instruments.values())
        assert (one.depth_due() is None) == (offset < muted - 1 or not pending)
