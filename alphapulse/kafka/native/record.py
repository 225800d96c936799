"""Consumed record with aiokafka's attribute names."""

from __future__ import annotations

from typing import Any


class Record:
    """One record of a partition.

    Attributes:
        topic, partition, offset: its position.
        timestamp: milliseconds since the Unix epoch; None: not given.
        timestamp_type: 0: the producer's clock, 1: the broker's; None: no timestamp.
        key, value: as produced.
        headers: names and values.
    """

    __slots__ = ("headers", "key", "offset", "partition", "timestamp", "timestamp_type", "topic", "value")

    def __init__(self, topic: str, partition: int, message: Any) -> None:
        kind, timestamp = message.timestamp()
        self.topic = topic
        self.partition = partition
        self.offset: int = message.offset()
        self.timestamp: int | None = timestamp if kind else None
        # librdkafka counts from 1; 0 means "none".
        self.timestamp_type: int | None = kind - 1 if kind else None
        self.key: bytes | None = message.key()
        self.value: bytes | None = message.value()
        self.headers: tuple[tuple[str, bytes], ...] = tuple(message.headers() or ())

    def __repr__(self) -> str:
        return f"Record({self.topic}-{self.partition} at {self.offset})"
