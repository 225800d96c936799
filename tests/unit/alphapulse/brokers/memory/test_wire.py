"""Produce and Fetch by hand, held against aiokafka's own definitions of the same layouts."""

from __future__ import annotations

import pytest
from aiokafka.protocol.fetch import FetchRequest_v11, FetchResponse_v11
from aiokafka.protocol.produce import ProduceRequest_v7, ProduceResponse_v7

from alphapulse.brokers.memory.wire import (
    Malformed,
    Produced,
    fetched_head,
    fetched_partition,
    fetched_topic,
    read_fetch,
    read_produce,
    write_produced,
)

PRODUCE = ProduceRequest_v7(
    None, -1, 30_000, [("md.l2", [(3, b"batches"), (5, b"")]), ("té", [(0, b"x" * 300)])]
).encode()
FETCH = FetchRequest_v11(
    -1,
    500,
    1,
    1_000_000,
    0,
    0,
    -1,
    [("md.l2", [(3, -1, 17, -1, 65_536), (4, -1, 2**40, -1, 1)]), ("md.trades", [])],
    [],
    "",
).encode()


def test_reads_a_produce_request() -> None:
    found = read_produce(memoryview(PRODUCE))
    assert found.acks == -1
    batches = [(topic, [(number, bytes(data)) for number, data in parts]) for topic, parts in found.batches]
    assert batches == [("md.l2", [(3, b"batches"), (5, b"")]), ("té", [(0, b"x" * 300)])]


def test_reads_a_fetch_request() -> None:
    found = read_fetch(memoryview(FETCH))
    assert (found.max_wait_ms, found.min_bytes, found.max_bytes) == (500, 1, 1_000_000)
    assert found.partitions == [("md.l2", [(3, 17, 65_536), (4, 2**40, 1)]), ("md.trades", [])]


@pytest.mark.parametrize("kind", ["produce", "fetch"])
def test_a_request_that_is_cut_off_is_told(kind: str) -> None:
    whole, read = (PRODUCE, read_produce) if kind == "produce" else (FETCH, read_fetch)
    # What follows the partitions of a fetch (forgotten topics, rack) is not looked at.
    needed = len(whole) if kind == "produce" else len(whole) - 6
    for cut in range(needed):
        with pytest.raises(Malformed):
            read(memoryview(whole[:cut]))


def test_writes_the_answer_to_a_produce_request() -> None:
    body = write_produced([("md.l2", [Produced(3, 0, 17, 4), Produced(5, 2, -1, 0)]), ("té", [])])
    told = ProduceResponse_v7.decode(body)
    assert told.topics == [("md.l2", [(3, 0, 17, -1, 4), (5, 2, -1, -1, 0)]), ("té", [])]
    assert told.encode() == body


def test_writes_the_answer_to_a_fetch_request() -> None:
    body = b"".join(
        (
            fetched_head(2),
            fetched_topic("md.l2", 2),
            fetched_partition(3, 0, 20, 4, 6),
            b"one" + b"two",
            fetched_partition(4, 1, 20, 4, 0),
            fetched_topic("té", 0),
        )
    )
    told = FetchResponse_v11.decode(body)
    assert (told.error_code, told.session_id) == (0, 0)
    assert told.topics == [
        ("md.l2", [(3, 0, 20, 20, 4, [], -1, b"onetwo"), (4, 1, 20, 20, 4, [], -1, b"")]),
        ("té", []),
    ]
    assert told.encode() == body
