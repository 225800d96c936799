"""Faust transport on librdkafka's consumer, with one event per fetch.

Stock Faust spends four tasks on each record; with one event per fetch it is forty times faster, while agents, flow
control, generation checks and the commit timer remain Faust's own. Agents receive a
:data:`~stream_processors.engine.deliveries.Bundle`: a batch per partition, each acknowledged separately.

Faust's driver runs aiokafka's consumer in a thread with its own loop, so that heartbeats continue while agents block
theirs, and each call costs several turns of both. librdkafka sends heartbeats by itself: here the consumer
(:class:`alphapulse.kafka.NativeConsumer`) passes its records to the app's own loop.

Faults of faust-streaming 0.15 that this works around, each with a test:

* Offsets between two messages are recorded by ``_add_gap`` as acknowledged *including* the second message itself, and
  a partition whose first message is followed by a gap never commits again. Commits follow :class:`Deliveries` instead.
* ``fetch_max_wait_ms`` is fixed at 1500, so that on a broker that answers one fetch at a time idle partitions stall a
  busy one; and the group's timeouts are not ours. The consumer comes from :mod:`alphapulse.kafka`.
* Topics are assigned round-robin over all of them, so that a worker could have an instrument's trades but not its
  book. By range, partition n of every topic belongs to the same worker.
* An offset is recorded as committed even if the commit was refused, and is then never committed again.
* A refused commit (the group is being rebalanced) crashes the worker unless the refusal is worded in one certain way.
* Reading always resumes at the commit after a rebalance. Here the application chooses (:class:`RebalanceListener`),
  and everything before is committed even if no record follows.
* A stream acknowledges an event even if the agent raised in the middle of it: agents read ``noack()`` and acknowledge.
* While the agents' queues are full, it sleeps for whole seconds before it checks for room again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final, Protocol

from aiokafka import ConsumerRebalanceListener
from aiokafka.errors import CommitFailedError, ConsumerStoppedError, IllegalStateError, KafkaError, ProducerClosed
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport import base, consumer, producer
from faust.types import TP, ConsumerMessage, Message

from alphapulse import logs
from alphapulse.config import KafkaSettings
from alphapulse.kafka import NativeConsumer, NativeProducer, native_consumer, native_producer
from stream_processors.engine.deliveries import Batch, Bundle, Deliveries

COALESCE_MS: Final = 20.0
"""Minimum time between two handovers of records of all topics, so that a few hundred records a second need fewer loop
turns: a record waits 10 ms in the mean, the first after a pause not at all."""
LINGER_MS: Final = 2
"""Maximum delay of an output record to share a batch with others of its partition."""

Offsets = Mapping[TP, int]


class RebalanceListener(Protocol):
    """Callbacks from the transport to the application."""

    async def positions(self, committed: Mapping[TP, int | None], generation: int) -> Offsets:
        """Prepare all partitions of this worker and return where to resume reading.

        Called after each rebalance, before anything is fetched. ``committed`` has every assigned partition, with None
        where the group has no commit. A partition left out is read from its commit, else from its oldest record.
        Everything before the returned position counts as processed and will be committed.
        """
        ...

    async def before_commit(self) -> None:
        """Wait until the broker has acknowledged all results of the acknowledged batches."""
        ...

    async def before_leaving(self) -> None:
        """Partitions are about to be revoked; nothing is being processed."""
        ...


class Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Reports a rebalance to Faust's app in the order that it expects."""

    def __init__(self, told: BatchConsumer) -> None:
        self._told = told

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Let the app hand over (called by the reader)."""
        self._told.app.on_rebalance_start()
        await self._told.on_partitions_revoked({TP(*partition) for partition in revoked})

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Let the app take over (called by the reader)."""
        generation = self._told.reader.generation
        self._told.app.consumer_generation_id = generation
        await self._told.on_partitions_assigned({TP(*partition) for partition in assigned}, generation)


class BatchConsumer(consumer.Consumer):
    """Faust's consumer with whole batches as messages and commits by :class:`Deliveries`."""

    consumer_stopped_errors: ClassVar[tuple[type[BaseException], ...]] = (ConsumerStoppedError,)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._deliveries: defaultdict[TP, Deliveries] = defaultdict(Deliveries)
        self._seeking = asyncio.Lock()
        self._sought = False
        self._reader: NativeConsumer | None = None
        super().__init__(*args, **kwargs)

    @property
    def listener(self) -> RebalanceListener:
        """The application's callbacks."""
        transport: Any = self.transport
        found: RebalanceListener = transport.listener
        return found

    @property
    def reader(self) -> NativeConsumer:
        """The consumer.

        Raises:
            ConsumerStoppedError: it was not started.
        """
        if self._reader is None:
            raise ConsumerStoppedError
        return self._reader

    # --- life ---

    async def on_start(self) -> None:
        """Connect."""
        conf = self.app.conf
        transport: Any = self.transport
        self._reader = native_consumer(
            transport.settings,
            group_id=conf.id,
            client_id=conf.broker_client_id,
            max_poll_records=conf.broker_max_poll_records,
            coalesce_ms=COALESCE_MS,
        )
        await self._reader.start()

    async def on_stop(self) -> None:
        """Let the application hand over, then commit and leave the group."""
        try:
            await self.listener.before_leaving()
        finally:
            try:
                await super().on_stop()
            finally:
                if self._reader is not None:
                    await self._reader.stop()

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe to ``topics`` as a member of the group."""
        self.reader.subscribe(sorted(topics), listener=Rebalances(self))

    # --- records ---

    async def _drain_messages(self, fetcher: Any) -> None:
        """Deliver fetched records until the consumer, or its fetcher, is stopped."""
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):  # noqa: SLF001
                async for tp, message in self.getmany(timeout=1.0):
                    await self._deliver(tp, message)
                # Yield, so that records available at once do not starve the agents.
                await asyncio.sleep(0)
        except (asyncio.CancelledError, ConsumerStoppedError):
            if not self.app.should_stop:
                raise

    async def _deliver(self, tp: TP, message: Message) -> None:
        """Pass ``message`` to the agents of its topic; drop it if the flow is stopped while they have no room."""
        if self.app.flow_control.is_active() and not self._stuffed(tp):
            await self.callback(message)
        else:
            # As Faust delivers each message; it takes four tasks.
            await self.wait_first(self.callback(message), self.suspend_flow.wait())

    def _stuffed(self, tp: TP) -> bool:
        """Return whether some agent has no room for another batch of ``tp``."""
        topics: Any = self.app.topics
        return any(channel.queue.full() for channel in topics._tp_index.get(tp, ()))  # noqa: SLF001

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
        """Fetch, and yield all records in one message, under the name of one of the partitions."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # it takes asyncio's events, too
            if self.should_stop:
                return
        # Faust changes this set in place: it is read again for each result.
        records = await self.reader.take(self._active_partitions, timeout)
        if not records or self.should_stop:
            return
        if not self.flow_active:
            # Records fetched while the flow was stopped are dropped. Normally the seek that ends a rebalance is still
            # to come; if it is over, these records were read after it and must be fetched again.
            if self._sought:
                await self.perform_seek()
            return
        bundle: Bundle = []
        for partition, fetched in records.items():
            tp, batch = TP(*partition), Batch(fetched)
            self._deliveries[tp].add(batch)
            bundle.append((tp, batch))
        tp = bundle[0][0]
        # With the current generation: a whole rebalance may have passed while no record arrived.
        yield tp, self._message(tp, bundle)

    def on_buffer_drop(self, tp: TP) -> None:
        """Handle new room in an agent's queue: check at once for waiting records."""
        super().on_buffer_drop(tp)
        self.reader.look()

    def _message(self, tp: TP, bundle: Any) -> ConsumerMessage:
        last = bundle[0][1].records[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            last.timestamp_type,
            [],
            None,
            bundle,
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def ack(self, message: Any) -> bool:
        """Handle the agent's acknowledgement of a message; its batches are acknowledged individually."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: :class:`Deliveries` knows no gaps."""

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in self._deliveries if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        return self._deliveries[tp].committable()

    async def _commit_offsets(self, offsets: Offsets, start_new_transaction: bool = True) -> bool:
        await self.listener.before_commit()
        assignment = self.assignment()
        mine = {tp: offset for tp, offset in offsets.items() if tp in assignment}
        if not mine or not await self._commit(mine):
            return False
        self._committed_offset.update(mine)
        return True

    async def _commit(self, offsets: Offsets) -> bool:
        """Commit; False if the group refuses in a rebalance: the partitions may belong to another member."""
        wanted = {TopicPartition(*tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items()}
        try:
            await self.reader.commit(wanted)
        except (CommitFailedError, IllegalStateError) as error:
            logs.get("processors").info("commit refused: the group is being rebalanced", reason=str(error))
            return False
        except KafkaError as error:
            if not error.retriable:
                raise
            logs.get("processors").warning("commit failed; it will be retried", reason=repr(error))
            return False
        return True

    # --- positions ---

    async def perform_seek(self) -> None:
        """Seek to the application's position, else to the commit, else to the oldest record."""
        async with self._seeking:
            self._deliveries.clear()
            generation = self.app.consumer_generation_id
            assigned = self.assignment()
            found = await self.reader.committed_with_metadata(assigned)
            committed: dict[TP, int | None] = {tp: found[tp].offset if tp in found else None for tp in assigned}
            self._committed_offset.update(committed)
            oldest = await self.reader.beginning_offsets([tp for tp in assigned if tp not in found])
            positions = await self.listener.positions(committed, generation)
            if self.app.consumer_generation_id != generation:
                return
            await self.seek_wait(
                {
                    tp: positions[tp] if tp in positions else found[tp].offset if tp in found else oldest[tp]
                    for tp in assigned
                }
            )
            for tp, offset in positions.items():
                # Ahead of the commit if the previous owner could not commit what it had saved, because it was killed or
                # during a rebalance. If no record ever follows, the lag would remain.
                if tp in assigned and offset > (committed[tp] or 0):
                    self._deliveries[tp].begin(offset)
            self._sought = True

    def stop_flow(self) -> None:
        """Stop delivering."""
        super().stop_flow()
        self._sought = False

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let Faust stop the flow, then let the application hand over."""
        await super().on_partitions_revoked(revoked)
        await self.listener.before_leaving()
        await self.commit()

    async def seek_wait(self, partitions: Offsets) -> None:
        """Seek to these offsets, without partitions that are no longer assigned."""
        assigned = self.assignment()
        for tp, offset in partitions.items():
            if tp in assigned:
                await self._seek(tp, offset)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek to the group's commits; return them."""
        found = await self.reader.committed_with_metadata(self.assignment())
        commits = {TP(*partition): commit.offset for partition, commit in found.items()}
        await self.seek_wait(commits)
        return commits

    async def seek_to_beginning(self, *partitions: TP) -> None:
        """Seek to the oldest records."""
        await self.seek_wait(await self.earliest_offsets(*partitions))

    async def _seek(self, partition: TP, offset: int) -> None:
        self.reader.seek(TopicPartition(*partition), offset)

    async def position(self, tp: TP) -> int:
        """Return the offset of the next record."""
        return await self.reader.position(TopicPartition(*tp))

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the oldest offset of each partition."""
        return await self.reader.beginning_offsets(partitions)

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the end of each partition."""
        return await self.reader.end_offsets(partitions)

    def assignment(self) -> set[TP]:
        """Return the partitions of this worker; Faust may ask before there is a consumer."""
        return {TP(*partition) for partition in self._reader.assignment()} if self._reader is not None else set()

    def highwater(self, tp: TP) -> int | None:  # type: ignore[override]
        """Return the end of a partition, as last reported; None: not yet."""
        return self.reader.highwater(TopicPartition(*tp))

    def topic_partitions(self, topic: str) -> int | None:
        """Return the number of partitions of ``topic`` assigned to this worker; None: none yet."""
        return sum(tp.topic == topic for tp in self.assignment()) or None

    # --- what is Faust's for things that this app does not do ---

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        raise NotImplementedError

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        raise NotImplementedError

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    async def create_topic(self, *_: Any, **__: Any) -> None:
        """Refuse: topics are created beforehand."""
        raise NotImplementedError

    def key_partition(self, *_: Any, **__: Any) -> int | None:
        """Refuse: the producer chooses partitions."""
        raise NotImplementedError

    async def verify_all_partitions_active(self) -> None:
        """Do nothing: Faust's stall detector reports quiet partitions as stalled; lag is in ``/status``."""


class NoBuffer(producer.ProducerBuffer):
    """Faust's buffer of table messages: there are none, so batches need not wait for it."""

    async def wait_until_ebb(self) -> None:
        """Wait for nothing."""


class OurProducer(producer.Producer):
    """Faust's producer service around a producer of :mod:`alphapulse.kafka`."""

    _client: NativeProducer | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.buffer = NoBuffer(loop=self.loop, beacon=self.beacon)
        self.buffer.app = self.app

    async def on_start(self) -> None:
        """Connect."""
        transport: Any = self.transport
        client_id = self.app.conf.broker_client_id
        self._client = native_producer(transport.settings, client_id=client_id, linger_ms=LINGER_MS)
        await self._client.start()

    async def on_stop(self) -> None:
        """Deliver the remaining records."""
        if self._client is not None:
            await self._client.stop()

    async def flush(self) -> None:
        """Wait until everything sent is acknowledged."""
        if self._client is not None:
            await self._client.flush()

    @property
    def client(self) -> NativeProducer:
        """The running producer.

        Raises:
            ProducerClosed: it was not started.
        """
        if self._client is None:
            raise ProducerClosed
        return self._client


class BatchTransport(base.Transport):
    """Faust's Kafka transport with :class:`BatchConsumer`.

    Args:
        settings: the broker.
        listener: the application.
    """

    Consumer: ClassVar[type[BatchConsumer]] = BatchConsumer
    Producer: ClassVar[type[OurProducer]] = OurProducer

    def __init__(self, *args: Any, settings: KafkaSettings, listener: RebalanceListener, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings = settings
        self.listener = listener
