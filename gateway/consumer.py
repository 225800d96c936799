"""Consumer of the gateway: reads the tail of each topic, then every new record, into the hub.

The gateway is a view: it is in no group and commits nothing. At start it reads enough of each partition's tail to know
the latest state; after that it reads each record once. Until it has caught up, records only update the state: there
are no clients yet, so old records are never sent as new ones.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from alphapulse import metrics, topics
from alphapulse.config import KafkaSettings
from alphapulse.errors import AlphaPulseError, BrokerError, RecordRefused
from alphapulse.kafka import LossWatch, connection, running, tail
from alphapulse.tracing import Tracer
from gateway.fanout import Hub
from gateway.health.hops import Hops
from gateway.health.incidents import Incidents
from gateway.traces import DeliveryTraces
from schemas.codec import Codec
from schemas.records import TOPIC_OF
from schemas.refusal_sender import RefusalSender
from schemas.refusals import Consumed

TAIL: Final[Mapping[str, int]] = {
    topics.DEPTH: 5_000,
    topics.TRADES: 2_000,
    topics.STATS: 1_000,
    topics.CANDLES: 1_000,
    topics.ARBITRAGE: 2_000,
    topics.EVENTS: 500,
}
"""Records read per partition at start. Large for depth: a quiet instrument shares its partition with busy ones. The
embedded broker keeps hardly more, so there it is nearly the whole log (about a second)."""

_KIND: Final = {topic: record for record, topic in TOPIC_OF.items()}

BATCH_RECORDS: Final = 500
"""Decoding this many takes about 10 ms, the longest that the loop may delay clients."""
POLL_MS: Final = 200


async def partitions_of(settings: KafkaSettings, names: Collection[str]) -> list[TopicPartition]:
    """Return all partitions of the topics ``names``.

    Raises:
        BrokerError: a topic does not exist (a consumer would wait for it, or create it), or no broker answers.
    """
    async with running(AIOKafkaAdminClient(**connection(settings)), settings) as admin:
        try:
            if missing := sorted(set(names) - set(await admin.list_topics())):
                raise BrokerError(
                    f"the broker at {settings.bootstrap} has no topic {', '.join(missing)}; "
                    "create it with: alphapulse topics create"
                )
            described = await admin.describe_topics(sorted(names))
        except KafkaError as error:
            raise BrokerError(f"cannot read the topics of the broker at {settings.bootstrap}: {error}") from error
    return sorted(
        TopicPartition(topic["topic"], partition["partition"])
        for topic in described
        for partition in topic["partitions"]
    )


class Reader:
    """Reads all partitions of the topics in ``TAIL`` into a hub.

    Once every partition has been read to the end it had at start, the hub goes live, for good.

    Args:
        consumer: of the topics' partitions.
        codec: decodes records.
        hub: takes them.
        refusals: sends dead letters.
        tracer: None: tracing is off.
        hops: takes the records' latencies.
        incidents: takes the venues' events and epochs.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        codec: Codec,
        hub: Hub,
        refusals: RefusalSender,
        tracer: Tracer | None = None,
        *,
        hops: Hops | None = None,
        incidents: Incidents | None = None,
    ) -> None:
        self._hops = hops if hops is not None else Hops()
        self._incidents = incidents if incidents is not None else Incidents()
        self._traces = DeliveryTraces(tracer, hub) if tracer is not None else None
        self._consumer = consumer
        self._hub = hub
        self._refusals = refusals
        self._decoders = {topic: codec.decoder(_KIND[topic]) for topic in TAIL}
        self._losses = LossWatch()
        self._next: dict[TopicPartition, int] = {}
        self._behind: dict[TopicPartition, int] = {}
        self._outcomes = {
            (topic, outcome): metrics.GATEWAY_RECORDS.labels(topic=topic, outcome=outcome)
            for topic in TAIL
            for outcome in ("taken", "seen", "refused")
        }

    @property
    def lag(self) -> int:
        """Unread records on the broker, according to the last fetches."""
        return sum(self.lag_of(topic) for topic in TAIL)

    def lag_of(self, topic: str) -> int:
        """Return the same for one topic."""
        read = ((key, position) for key, position in self._next.items() if key.topic == topic)
        return sum(max(self._end(key) - position, 0) for key, position in read)

    @property
    def positions(self) -> Mapping[TopicPartition, int]:
        """Offset of the next record to read, by partition."""
        return self._next

    def ends(self) -> dict[TopicPartition, int]:
        """Return the end offset of each partition, according to the last fetches (or the start)."""
        return {partition: self._end(partition) for partition in self._next}

    def _end(self, partition: TopicPartition) -> int:
        return max(self._consumer.highwater(partition) or 0, self._behind.get(partition, 0))

    async def begin(self, partitions: Sequence[TopicPartition]) -> None:
        """Assign ``partitions`` and seek ``TAIL`` records back from their ends.

        Raises:
            BrokerError: the broker does not answer.
        """
        try:
            self._consumer.assign(partitions)
        except KafkaError as error:
            raise BrokerError(f"cannot read the offsets of the topics' partitions: {error}") from error
        held = await tail.held_offsets(self._consumer, partitions)
        for partition, offsets in held.items():
            first = tail.last(offsets, TAIL[partition.topic]).start
            self._consumer.seek(partition, first)
            self._losses.expect(partition, first)
            self._next[partition] = first
        self._behind = {partition: offsets.stop for partition, offsets in held.items()}
        self._look_whether_live()

    async def step(self) -> int:
        """Read available records, waiting at most ``POLL_MS``; return their number.

        Raises:
            BrokerError: the broker refuses a fetch, or a dead letter.
        """
        try:
            batches = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH_RECORDS)
        except KafkaError as error:
            raise BrokerError(f"cannot read from the broker: {error}") from error
        if not batches:
            return 0
        lost = await self._losses.check(self._consumer, batches)
        for topic in {partition.topic for partition in lost}:
            self._hub.lost(topic)
        refused: list[tuple[Consumed, AlphaPulseError]] = []
        for partition, records in batches.items():
            self._take(partition.topic, records, refused)
            self._next[partition] = records[-1].offset + 1
        if not self._hub.live:
            self._look_whether_live()
        for partition, offsets in lost.items():
            # Only a warning: the gateway is a view, and the next records bring it up to date.
            await self._refusals.lost(partition, offsets, severity="WARNING")
        for consumed, reason in refused:
            await self._refusals.refuse(consumed, reason)
        if lost or refused:
            await self._refusals.acknowledged()
        return sum(len(records) for records in batches.values())

    def _look_whether_live(self) -> None:
        """Remove partitions that have been read to their ends; when none is left, the hub goes live."""
        self._behind = {
            partition: end for partition, end in self._behind.items() if self._next[partition] < self._end(partition)
        }
        self._hub.live = not self._behind

    def _take(self, topic: str, records: Sequence[Any], refused: list[tuple[Consumed, AlphaPulseError]]) -> None:
        taken = seen = 0
        decode = self._decoders[topic]
        already = len(refused)
        now = self._hub.clock()
        # Records of before the start were delivered by another gateway, if at all.
        traces = self._traces if self._hub.live else None
        read = time.time_ns()
        live, wanted = self._hub.live, False
        for number, consumed in enumerate(records):
            try:
                record = decode(consumed.value or b"")
            except RecordRefused as error:
                refused.append((consumed, error))
                self._hub.lost(topic)
                continue
            if not self._hub.apply(record, now, consumed.value or b""):
                seen += 1
                continue
            taken += 1
            self._incidents.apply(record)
            if live:
                self._hops.read(records, number, record, read)
                wanted = wanted or (not number and self._hub.audience(record) > 0)
            if traces is not None and consumed.headers:
                traces.delivered(consumed, record, read)
        if wanted:
            self._hub.when_written(partial(self._sent, read))
        self._outcomes[topic, "taken"].inc(taken)
        self._outcomes[topic, "seen"].inc(seen)
        self._outcomes[topic, "refused"].inc(len(refused) - already)

    def _sent(self, read: int) -> None:
        self._hops.sent(read, time.time_ns())
