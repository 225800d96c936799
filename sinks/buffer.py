"""Buffer of the current batch: fetched messages, kept undecoded until needed. Pure, no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, TypeAlias

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from alphapulse import metrics, topics
from alphapulse.tracing import TraceSpan
from sinks.contract import BatchChunk

Message: TypeAlias = ConsumerRecord[bytes, bytes]

DECODE_RECORDS: Final = 10_000
"""Number of undecoded messages at which decoding does not wait for the write: enough to amortise the cost per column,
few enough to be small compared with the rows (a message takes about 500 bytes more than its value)."""
DECODE_BYTES: Final = 8 * 2**20

_AGED: Final = frozenset({topics.L2, topics.TRADES, topics.QUOTES, topics.DEPTH})
"""Topics whose records go out when they are received; a candle's time is that of its last trade."""


class FetchBuffer:
    """Counts the messages of a batch and holds those not decoded yet.

    Attributes:
        records: messages of the batch, decoded or not.
        bytes: size of their encoded values.
        oldest: fetch time of the first one, monotonic seconds; undefined without messages.
        spans: open spans of its traced messages.
    """

    def __init__(self) -> None:
        self.records = 0
        self.bytes = 0
        self.oldest = 0.0
        self.spans: list[TraceSpan] = []
        self._undecoded: dict[TopicPartition, list[Message]] = {}
        self._undecoded_records = 0
        self._undecoded_bytes = 0

    def add(self, key: TopicPartition, messages: Sequence[Message], now: float) -> None:
        """Add messages of a partition, in offset order, fetched at ``now``."""
        if not self.records:
            self.oldest = now
        size = sum(len(message.value or b"") for message in messages)
        self.records += len(messages)
        self.bytes += size
        self._undecoded.setdefault(key, []).extend(messages)
        self._undecoded_records += len(messages)
        self._undecoded_bytes += size

    @property
    def decode_now(self) -> bool:
        """Whether so much is undecoded that it should not wait for the write."""
        return self._undecoded_records >= DECODE_RECORDS or self._undecoded_bytes >= DECODE_BYTES

    def undecoded(self) -> dict[TopicPartition, list[Message]]:
        """Remove and return the undecoded messages, by partition."""
        handed, self._undecoded = self._undecoded, {}
        self._undecoded_records = self._undecoded_bytes = 0
        return handed


class BatchContent:
    """The rows of a batch, by topic, for the metrics.

    Attributes:
        rows: topic → rows.
        received: topic → receipt of the oldest by its collector, ns; a partition's first row is taken for its oldest.
    """

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.received: dict[str, int] = {}

    def add(self, chunk: BatchChunk) -> None:
        """Count the rows of ``chunk``."""
        topic = chunk.partition.topic
        self.rows[topic] += chunk.rows.num_rows
        if topic in _AGED:
            first = chunk.rows.column("received_time")[0].value
            self.received[topic] = min(self.received.get(topic, first), first)

    def stored(self, now: int) -> None:
        """Update the metrics: the batch is stored and committed at ``now`` (ns)."""
        for topic, rows in self.rows.items():
            metrics.SINK_ROWS.labels(topic).inc(rows)
        for topic, received in self.received.items():
            metrics.SINK_AGE.labels(topic).observe((now - received) / 1e9)
