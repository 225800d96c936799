"""Consumer on librdkafka with the part of aiokafka's interface that we use.

The reason for a second client: a fetch costs aiokafka close to a millisecond of Python, whatever it brings, so low
latency at a few hundred records a second takes a quarter of a core; librdkafka takes a tenth of that. Its guarantees
are those of aiokafka in our configuration: ``tests/integration/kafka`` tests both.

* It starts at the group's commit, else at the oldest record, and commits when told. An offset that the broker no
  longer has is answered with a silent jump to the oldest record: :class:`alphapulse.kafka.LossWatch` counts.
* Before a rebalance ``on_partitions_revoked`` is awaited, with the empty set before the first assignment; the
  partitions are still assigned and can be committed. After it ``on_partitions_assigned``: a seek there sets the start
  position before anything is fetched.
* Errors are aiokafka's classes. An unavailable broker is waited for, without raising and without a busy loop.

One difference: confluent-kafka 2.16 commits metadata with the zero byte that ends it in C. So it may be 4095 bytes
long, not 4096; :func:`alphapulse.kafka.committed` removes the byte, other programs see it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, TypeVar

from aiokafka import ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from aiokafka.errors import ConsumerStoppedError, IllegalStateError, KafkaTimeoutError
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException
from confluent_kafka import TopicPartition as Place

from alphapulse import logs
from alphapulse.kafka.native.connecting import connect
from alphapulse.kafka.native.errors import UNREACHABLE, checked, fault_of, translate
from alphapulse.kafka.native.lanes import Lane, Lanes
from alphapulse.kafka.native.record import Record
from alphapulse.kafka.native.thread import ConsumerThread

SLICE_SECONDS: Final = 5.0
"""Maximum time for which one attempt of a request keeps the thread from polling. librdkafka treats a connection without
a response within the timeout as dead and closes it, even if the broker is only busy."""
RETRY_SECONDS: Final = 0.1
STOP_SECONDS: Final = 5.0
"""Timeout for leaving the group; without a broker librdkafka takes this long."""

T = TypeVar("T")


class NativeConsumer:
    """Kafka consumer on librdkafka; see the module's documentation.

    Args:
        properties: for librdkafka, from :func:`alphapulse.kafka.native.configuration.consumer`.
        group_id: None for a reader without shared partitions and commits.
        request_timeout_ms: timeout for a response of the broker.
        max_poll_records: maximum records per :meth:`getmany`; None: no limit.
        coalesce_ms: minimum time between two handovers of records, unless many wait.
    """

    def __init__(
        self,
        properties: dict[str, Any],
        *,
        group_id: str | None,
        request_timeout_ms: int,
        max_poll_records: int | None = None,
        coalesce_ms: float = 0.0,
    ) -> None:
        self._properties = properties
        self.group_id = group_id
        self._timeout = request_timeout_ms / 1000
        self._most = max_poll_records
        self._coalesce = coalesce_ms / 1000
        self._log = logs.get("kafka")
        self.lanes: Lanes[Record] = Lanes()
        self._topics: list[str] | None = None
        self._listener: ConsumerRebalanceListener | None = None
        self._thread: ConsumerThread | None = None
        self._stopped = False
        self._begun = False
        self._revoked = False
        self._generation = -1
        self._error: BaseException | None = None
        self._ended: BaseException | None = None
        self._changed = asyncio.Event()
        self._waiting: set[asyncio.Future[None]] = set()
        self._committing = asyncio.Lock()

    # --- life ---

    async def start(self) -> None:
        """Connect; with a subscription, also wait for the group's assignment.

        Raises:
            KafkaError: no broker can be reached, or it refuses.
        """
        if self._thread is not None or self._stopped:
            raise IllegalStateError("a consumer can be started only once")
        self._thread = ConsumerThread(
            self._properties, self, grouped=self.group_id is not None, coalesce_seconds=self._coalesce
        )
        self._thread.start()
        await connect(self._ask_for_topics, self._thread.reach, self._properties["bootstrap.servers"], self._timeout)
        if self._topics is not None:
            await self._begin_subscription(self._thread, self._topics)
            while self.group_id is not None and self._generation < 0:
                await self._change()

    async def stop(self) -> None:
        """Leave the group and close the connections. Records not committed will be read again."""
        if self._stopped:
            return
        self._stopped = True
        self.ended(ConsumerStoppedError())
        if self._thread is not None and not await self._thread.stop(STOP_SECONDS):
            self._log.warning("a consumer did not close in time", client=self._properties["client.id"])

    # --- what is read ---

    def subscribe(self, topics: Iterable[str], listener: ConsumerRebalanceListener | None = None) -> None:
        """Share the partitions of ``topics`` with the group; without a group, read all of them.

        Raises:
            IllegalStateError: the consumer is stopped.
        """
        self._check_open()
        self._topics = list(topics)
        self._listener = listener
        if self._thread is not None:
            if self.group_id is None:
                raise IllegalStateError("without a group, topics are subscribed to before the start")
            self._thread.subscribe(self._topics)

    async def _begin_subscription(self, thread: ConsumerThread, topics: list[str]) -> None:
        if self.group_id is not None:
            thread.subscribe(topics)
            return
        found = [TopicPartition(topic, number) for topic in topics for number in await self.partitions_for(topic)]
        self.assign(found)

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Assign ``partitions``, each from its seek before the first :meth:`getmany`, else from its oldest record.

        Raises:
            IllegalStateError: the consumer is in a group, or stopped.
        """
        self._check_open()
        if self.group_id is not None:
            raise IllegalStateError("the partitions of a group's member are assigned by the group")
        self.lanes = Lanes(partitions)
        self._begun = False

    def assignment(self) -> set[TopicPartition]:
        """Return the assigned partitions."""
        return self.lanes.partitions()

    @property
    def generation(self) -> int:
        """The group's generation of the assignment; -1 before the first."""
        return self._generation

    def _lane(self, partition: TopicPartition) -> Lane[Record]:
        lane = self.lanes.get(partition)
        if lane is None:
            raise IllegalStateError(f"No current assignment for partition {partition}")
        return lane

    # --- records ---

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: float = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[Record]]:
        """Return the next records by partition; wait at most ``timeout_ms`` for the first.

        Args:
            partitions: only from these; none: from all assigned.
            timeout_ms: milliseconds.
            max_records: maximum in total; by default the consumer's own limit.

        Raises:
            ConsumerStoppedError: the consumer is stopped, or was not started.
            KafkaError: the broker refuses.
        """
        return await self.take(partitions or None, timeout_ms / 1000, max_records)

    async def take(
        self, wanted: Collection[TopicPartition] | None, seconds: float, most: int | None = None
    ) -> dict[TopicPartition, list[Record]]:
        """Like :meth:`getmany`, with the partitions as a collection and the time in seconds."""
        thread = self._running()
        self._begin_reading(thread)
        most = most if most is not None else self._most
        found = self._take(thread, wanted, most)
        if found or seconds <= 0:
            return found
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not found and (left := end - loop.time()) > 0:
            arrival: asyncio.Future[None] = loop.create_future()
            self._waiting.add(arrival)
            timer = loop.call_later(left, _release, arrival)
            try:
                await arrival
            finally:
                timer.cancel()
                self._waiting.discard(arrival)
            self._begin_reading(thread)
            found = self._take(thread, wanted, most)
        return found

    def _take(
        self, thread: ConsumerThread, wanted: Collection[TopicPartition] | None, most: int | None
    ) -> dict[TopicPartition, list[Record]]:
        self._raise_error()
        found = self.lanes.take(wanted, most)
        if found:
            thread.taken()
        return found

    def coalesce(self, milliseconds: float) -> None:
        """Set the minimum time between two handovers of records, from the next one on."""
        self._coalesce = milliseconds / 1000
        if self._thread is not None:
            self._thread.coalesce_seconds = self._coalesce

    def look(self) -> None:
        """Wake callers of :meth:`take`: the wanted partitions have changed."""
        self._wake()

    def _begin_reading(self, thread: ConsumerThread) -> None:
        """Start reading the assignment: late, so that a seek only sets the start position."""
        if not self._begun and self.group_id is None and len(self.lanes):
            self._begun = True
            thread.assign(self.lanes)

    # --- positions ---

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Continue at ``offset``; earlier fetched records are dropped.

        Raises:
            ValueError: the offset is negative.
            IllegalStateError: the partition is not assigned.
        """
        if offset < 0:
            raise ValueError(f"offset: expected 0 or more, found {offset}")
        lane = self._lane(partition)
        self.lanes.seek(lane, offset)
        if self._thread is not None:
            self._thread.seek(lane, offset)

    async def position(self, partition: TopicPartition) -> int:
        """Return the offset of the next record to be handed out.

        Raises:
            IllegalStateError: the partition is not assigned.
            KafkaError: the broker does not return it.
        """
        lane = self._lane(partition)
        if lane.position is None and self.group_id is not None:
            commit = (await self.committed_with_metadata([partition])).get(partition)
            if commit is not None and lane.position is None:
                return int(commit.offset)
        if lane.position is None:
            oldest = (await self.beginning_offsets([partition]))[partition]
            return oldest if lane.position is None else lane.position
        return lane.position

    def pause(self, *partitions: TopicPartition) -> None:
        """Return no records of ``partitions`` until they are resumed."""
        for lane in [self._lane(partition) for partition in partitions]:
            lane.paused = True
            if self._thread is not None:
                self._thread.pause(lane)

    def resume(self, *partitions: TopicPartition) -> None:
        """Return records of ``partitions`` again."""
        for lane in [self._lane(partition) for partition in partitions]:
            lane.paused = False
        # Waiting callers may take queued records.
        self._wake()

    def paused(self) -> set[TopicPartition]:
        """Return the partitions that are paused."""
        return {lane.partition for lane in self.lanes if lane.paused}

    def highwater(self, partition: TopicPartition) -> int | None:
        """Return the end offset of ``partition`` as last reported by the broker; None: not yet.

        Raises:
            IllegalStateError: the partition is not assigned.
        """
        return self._lane(partition).highwater

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the oldest offset of each of ``partitions`` on the broker.

        Raises:
            KafkaError: the broker does not return them.
        """
        return await self._offsets(partitions, OFFSET_BEGINNING)

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return one past the newest offset of each of ``partitions``.

        Raises:
            KafkaError: the broker does not return them.
        """
        return await self._offsets(partitions, OFFSET_END)

    async def _offsets(self, partitions: Iterable[TopicPartition], which: int) -> dict[TopicPartition, int]:
        # As timestamps, these two are the protocol's values for the ends of the log.
        wanted = [Place(partition.topic, partition.partition, which) for partition in partitions]
        if not wanted:
            return {}
        found = await self._request(
            lambda consumer: checked(consumer.offsets_for_times(wanted, timeout=SLICE_SECONDS)),
            f"the {'ends' if which == OFFSET_END else 'beginnings'} of partitions",
        )
        return {TopicPartition(place.topic, place.partition): place.offset for place in found}

    # --- topics ---

    async def topics(self) -> set[str]:
        """Return the names of all topics.

        Raises:
            KafkaError: the broker does not return them.
        """
        return set((await self._request(_topics, "the topics")).topics)

    async def partitions_for(self, topic: str) -> list[int]:
        """Return the partitions of ``topic``, none if there is no such topic.

        Raises:
            KafkaError: the broker does not return them.
        """
        told = await self._request(_topics, "the topics")
        return sorted(told.topics[topic].partitions) if topic in told.topics else []

    async def _ask_for_topics(self, seconds: float) -> None:
        await self._running().call(lambda consumer: consumer.list_topics(timeout=seconds))

    # --- commits ---

    async def commit(
        self, offsets: Mapping[TopicPartition, int | tuple[int, str] | OffsetAndMetadata] | None = None
    ) -> None:
        """Commit ``offsets``, with or without metadata; by default the offsets after all records returned.

        Raises:
            IllegalStateError: a partition is not assigned, or there is no group.
            CommitFailedError: the group refuses, because of a rebalance.
            KafkaError: the coordinator does not answer, or refuses.
        """
        if self.group_id is None:
            raise IllegalStateError("a reader without a group cannot commit")
        if offsets is None:
            offsets = {lane.partition: lane.position for lane in self.lanes if lane.position is not None}
        places = [_commit_place(partition, offset) for partition, offset in offsets.items()]
        for partition in offsets:
            self._lane(partition)
        if not places:
            return
        thread = self._running()
        async with self._committing:
            try:
                async with asyncio.timeout(self._timeout):
                    await thread.commit(places)
            except TimeoutError:
                raise KafkaTimeoutError(f"the coordinator did not answer a commit for {self._timeout:g} s") from None

    async def committed(self, partition: TopicPartition) -> int | None:
        """Return the offset of the group's last commit, None if there is none.

        Raises:
            KafkaError: the coordinator does not return it.
        """
        found = (await self.committed_with_metadata([partition])).get(partition)
        return None if found is None else int(found.offset)

    async def committed_with_metadata(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        """Return the group's last commits; a partition without one is left out.

        Raises:
            IllegalStateError: there is no group.
            KafkaError: the coordinator does not return them.
        """
        if self.group_id is None:
            raise IllegalStateError("a reader without a group has no commits")
        wanted = [Place(partition.topic, partition.partition) for partition in partitions]
        if not wanted:
            return {}
        found = await self._request(
            lambda consumer: checked(consumer.committed(wanted, timeout=SLICE_SECONDS)), "the commits of a group"
        )
        return {
            TopicPartition(place.topic, place.partition): OffsetAndMetadata(place.offset, place.metadata or "")
            for place in found
            if place.offset >= 0
        }

    async def _request(self, command: Callable[[Consumer], T], what: str) -> T:
        """Run ``command``, which waits at most ``SLICE_SECONDS`` for the broker, until it succeeds."""
        thread = self._running()
        end = self._now() + self._timeout
        while True:
            try:
                return await thread.call(command)
            except KafkaException as error:
                reason = translate(fault_of(error))
                if not (reason.retriable or fault_of(error).code() in UNREACHABLE):
                    raise reason from error
                if self._now() >= end:
                    raise KafkaTimeoutError(f"cannot learn {what}: {reason}") from error
            await asyncio.sleep(RETRY_SECONDS)

    # --- callbacks of the thread (thread.ThreadOwner) ---

    def arrived(self) -> None:
        """Queue polled records, and wake waiting callers."""
        if self._thread is None:
            return
        for chunks in self._thread.handed_over():
            self.lanes.put(chunks)
        self._wake()

    def failed(self, error: BaseException) -> None:
        """Raise the error in the next take."""
        self._error = error
        self._wake()

    def ended(self, error: BaseException) -> None:
        """Raise the error in all later calls."""
        if self._ended is None:
            self._ended = error
        self._wake()

    async def group_revoked(self) -> None:
        """Await the listener, then drop the partitions."""
        await self._hear("on_partitions_revoked", self.assignment())
        self._revoked = True
        self.lanes = Lanes()

    async def group_assigned(self, partitions: set[TopicPartition], generation: int) -> Lanes[Record]:
        """Apply the group's assignment; see :class:`alphapulse.kafka.native.thread.ThreadOwner`."""
        if not self._revoked:
            await self._hear("on_partitions_revoked", self.assignment())
        self._revoked = False
        self.lanes = Lanes(partitions)
        self._generation = generation
        await self._hear("on_partitions_assigned", self.assignment())
        self._wake()
        return self.lanes

    async def _hear(self, method: str, partitions: set[TopicPartition]) -> None:
        if self._listener is None:
            return
        try:
            await getattr(self._listener, method)(partitions)
        except Exception:  # noqa: BLE001
            # As aiokafka does: the listener's failure is the application's, the group must continue.
            self._log.exception("a rebalance listener failed", listener=type(self._listener).__name__, method=method)

    def _wake(self) -> None:
        self._changed.set()
        for waiting in self._waiting:
            _release(waiting)

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
        self._raise_error()

    def _raise_error(self) -> None:
        if self._ended is not None:
            raise self._ended
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _check_open(self) -> None:
        if self._stopped:
            raise IllegalStateError("the consumer is stopped")

    def _running(self) -> ConsumerThread:
        if self._thread is None:
            raise ConsumerStoppedError
        if self._ended is not None:
            raise self._ended
        return self._thread

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _topics(consumer: Consumer) -> Any:
    return consumer.list_topics(timeout=SLICE_SECONDS)


def _release(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _commit_place(partition: TopicPartition, offset: int | tuple[int, str] | OffsetAndMetadata) -> Place:
    number, metadata = (offset, "") if isinstance(offset, int) else offset
    if not metadata:
        # Empty metadata would be committed as a zero byte.
        return Place(partition.topic, partition.partition, number)
    return Place(partition.topic, partition.partition, number, metadata)
