"""Hand-written codec for Produce and Fetch, the two requests of Kafka's protocol that every record passes through.

All others use aiokafka's definitions (:mod:`~alphapulse.brokers.memory.node`). One version of each is enough, because a
broker announces its versions: Produce 7 and Fetch 11, the newest in aiokafka.
Layouts: https://kafka.apache.org/protocol#The_Messages_Produce and …_Fetch.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

PRODUCE_VERSION: Final = 7
FETCH_VERSION: Final = 11

_INT16: Final = struct.Struct(">h")
_INT32: Final = struct.Struct(">i")
_PRODUCE_HEAD: Final = struct.Struct(">hii")
_PRODUCE_PARTITION: Final = struct.Struct(">ii")
_PRODUCED: Final = struct.Struct(">ihqqq")
_FETCH_HEAD: Final = struct.Struct(">iiiibiii")
_FETCH_PARTITION: Final = struct.Struct(">iiqqi")
_FETCHED_HEAD: Final = struct.Struct(">ihii")
_FETCHED: Final = struct.Struct(">ihqqqiii")


class Malformed(Exception):
    """A malformed request."""


@dataclass(frozen=True, slots=True)
class Produce:
    """A Produce request.

    Attributes:
        acks: 0: no response expected.
        batches: topic → (partition, record batches as sent).
    """

    acks: int
    batches: Sequence[tuple[str, Sequence[tuple[int, memoryview]]]]


@dataclass(frozen=True, slots=True)
class Produced:
    """Result for one partition's batches."""

    partition: int
    error: int
    base_offset: int
    log_start: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """A Fetch request.

    Attributes:
        max_wait_ms: maximum wait for ``min_bytes``.
        min_bytes: minimum size of a response before that.
        max_bytes: maximum size of a response, except for a single larger batch.
        partitions: topic → (partition, offset, maximum bytes).
    """

    max_wait_ms: int
    min_bytes: int
    max_bytes: int
    partitions: Sequence[tuple[str, Sequence[tuple[int, int, int]]]]


def _text(data: memoryview, at: int) -> tuple[str, int]:
    (size,) = _INT16.unpack_from(data, at)
    at += 2
    if size < 0:
        return "", at
    if at + size > len(data):
        raise Malformed(f"text of {size} bytes at {at} of {len(data)}")
    return str(data[at : at + size], "utf-8"), at + size


def read_produce(data: memoryview) -> Produce:
    """Parse the body of a Produce request.

    Raises:
        Malformed: it is malformed.
    """
    try:
        _, at = _text(data, 0)
        acks, _, topics = _PRODUCE_HEAD.unpack_from(data, at)
        at += _PRODUCE_HEAD.size
        found: list[tuple[str, list[tuple[int, memoryview]]]] = []
        for _ in range(topics):
            topic, at = _text(data, at)
            (partitions,) = _INT32.unpack_from(data, at)
            at += 4
            of_topic: list[tuple[int, memoryview]] = []
            for _ in range(partitions):
                partition, size = _PRODUCE_PARTITION.unpack_from(data, at)
                at += _PRODUCE_PARTITION.size
                if at + max(size, 0) > len(data):
                    raise Malformed(f"record batches of {size} bytes at {at} of {len(data)}")
                of_topic.append((partition, data[at : at + max(size, 0)]))
                at += max(size, 0)
            found.append((topic, of_topic))
    except (struct.error, UnicodeDecodeError) as error:
        raise Malformed(str(error)) from error
    return Produce(acks, found)


def write_produced(topics: Sequence[tuple[str, Sequence[Produced]]]) -> bytes:
    """Return the body of the response to a Produce request."""
    parts = [_INT32.pack(len(topics))]
    for topic, partitions in topics:
        parts += (_packed_text(topic), _INT32.pack(len(partitions)))
        for one in partitions:
            # No append time: records keep their own.
            parts.append(_PRODUCED.pack(one.partition, one.error, one.base_offset, -1, one.log_start))
    parts.append(_INT32.pack(0))
    return b"".join(parts)


def _packed_text(text: str) -> bytes:
    encoded = text.encode()
    return _INT16.pack(len(encoded)) + encoded


def read_fetch(data: memoryview) -> Fetch:
    """Parse the body of a Fetch request.

    Fetch sessions (KIP-227) are not supported, so each request lists all its partitions.

    Raises:
        Malformed: it is malformed.
    """
    try:
        _, max_wait, min_bytes, max_bytes, _, _, _, topics = _FETCH_HEAD.unpack_from(data, 0)
        at = _FETCH_HEAD.size
        found: list[tuple[str, list[tuple[int, int, int]]]] = []
        for _ in range(topics):
            topic, at = _text(data, at)
            (partitions,) = _INT32.unpack_from(data, at)
            at += 4
            end = at + partitions * _FETCH_PARTITION.size
            found.append(
                (
                    topic,
                    [
                        (partition, offset, most)
                        for partition, _, offset, _, most in _FETCH_PARTITION.iter_unpack(data[at:end])
                    ],
                )
            )
            at = end
    except (struct.error, UnicodeDecodeError) as error:
        raise Malformed(str(error)) from error
    return Fetch(max_wait, min_bytes, max_bytes, found)


def fetched_head(topics: int) -> bytes:
    """Return the head of a response to a Fetch request; ``topics`` times :func:`fetched_topic` follow."""
    return _FETCHED_HEAD.pack(0, 0, 0, topics)


def fetched_topic(topic: str, partitions: int) -> bytes:
    """Return the head of a topic's part; ``partitions`` times :func:`fetched_partition` follow."""
    return _packed_text(topic) + _INT32.pack(partitions)


def fetched_partition(partition: int, error: int, end: int, start: int, size: int) -> bytes:
    """Return the head of a partition's part; ``size`` bytes of batches follow. Without transactions all is stable."""
    return _FETCHED.pack(partition, error, end, end, start, 0, -1, size)
