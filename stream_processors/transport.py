"""Faust's transport, carrying a whole fetched batch of a partition in one event.

Stock Faust spends four tasks on each record; with one event per fetched batch it is forty times quicker, while agents,
flow control, generation checks and the commit timer stay Faust's own. What an agent gets is a
:class:`~stream_processors.deliveries.Batch`.

Faults of faust-streaming 0.15 this works around, each with a test:

* Offsets between two messages are recorded by ``_add_gap`` as acknowledged *including* the second message itself, and
  a partition whose first message is followed by a gap never commits again. Commits follow :class:`Deliveries` instead.
* ``fetch_max_wait_ms`` is fixed at 1500, so that on a broker that answers one fetch at a time idle partitions stall
  a busy one; and the group's timings are not ours. The consumer comes from :mod:`alphapulse.kafka`.
* Topics are shared out round-robin over all of them, so that a worker could have an instrument's trades but not its
  book. By range, partition n of every topic belongs to the same worker.
* An offset is noted as committed even if the commit was refused, and is then never committed again.
* A refused commit (the group is being rebalanced) crashes the worker unless the refusal is worded in one certain way.
* Where to go on after a rebalance is always the commit. Here the application says where (:class:`Listener`), and what
  lies before that is committed even if no record follows.
* A stream acknowledges an event even if the agent raised in the middle of it: agents read ``noack()`` and acknowledge.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from time import monotonic
from typing import Any, ClassVar, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message

from alphapulse import logs
from alphapulse.config import KafkaSettings
from alphapulse.kafka import consumer as kafka_consumer
from alphapulse.kafka import producer as kafka_producer
from stream_processors.deliveries import Batch, Deliveries

Offsets = Mapping[TP, int]


class Listener(Protocol):
    """What the transport asks of the application."""

    async def positions(self, committed: Mapping[TP, int | None], generation: int) -> Offsets:
        """Make ready for all partitions of this worker and return where to read on.

        Called after each rebalance, before anything is fetched. ``committed`` has every assigned partition, with None
        where the group has no commit. A partition left out is read from its commit, else from its oldest record.
        What lies before the place returned is done with and will be committed.
        """
        ...

    async def before_commit(self) -> None:
        """Return once all that the acknowledged batches led to is safe with the broker."""
        ...

    async def before_leaving(self) -> None:
        """Partitions are about to be given up; nothing is being processed."""
        ...


class BatchThread(driver.AIOKafkaConsumerThread):
    """The thread in which aiokafka's consumer lives."""

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        conf = self.app.conf
        return kafka_consumer(
            transport.settings,
            group_id=conf.id,
            client_id=conf.broker_client_id,
            max_poll_records=conf.broker_max_poll_records,
        )

    async def _commit(self, offsets: Offsets) -> bool:
        """Commit; False if the group refuses because it is being rebalanced, so the partitions may be another's."""
        reader = self._ensure_consumer()
        assignment = self.assignment()
        wanted = {
            TopicPartition(*tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items() if tp in assignment
        }
        now = monotonic()
        try:
            await reader.commit(wanted)
        except (CommitFailedError, IllegalStateError) as error:
            logs.get("processors").info("commit refused: the group is being rebalanced", reason=str(error))
            return False
        except KafkaError as error:
            if not error.retriable:
                raise
            logs.get("processors").warning("commit failed; it will be tried again", reason=repr(error))
            return False
        self.tp_last_committed_at.update(dict.fromkeys(offsets, now))
        return True


class BatchConsumer(driver.Consumer):
    """Faust's consumer with whole batches as messages and commits by :class:`Deliveries`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._deliveries: defaultdict[TP, Deliveries] = defaultdict(Deliveries)
        self._seeking = asyncio.Lock()
        self._sought = False
        super().__init__(*args, **kwargs)

    @property
    def listener(self) -> Listener:
        """The application."""
        transport: Any = self.transport
        found: Listener = transport.listener
        return found

    def _new_consumer_thread(self) -> BatchThread:
        return BatchThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
        """Fetch, and yield one message per partition that has records."""
        records, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            # What came while the flow was stopped is dropped. Normally the seek that ends a rebalance is still to
            # come; if it is over, these records came behind it and must be fetched again.
            if self._sought:
                await self.perform_seek()
            return
        for tp, fetched in records.items():
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            if active is None or tp in active or tp in self._buffered_partitions:
                tp = tp if isinstance(tp, TP) else TP(*tp)
                batch = Batch(fetched)
                self._deliveries[tp].add(batch)
                yield tp, self._message(tp, batch)

    def _message(self, tp: TP, batch: Any) -> ConsumerMessage:
        last = batch.records[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            last.timestamp_type,
            [],
            None,
            batch,
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def ack(self, message: Any) -> bool:
        """Note that the agent is done with a batch."""
        if message.value.acked:
            return False
        message.acked = True
        message.value.acked = True
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

    async def perform_seek(self) -> None:
        """Go where the application says, else to the commits."""
        async with self._seeking:
            self._deliveries.clear()
            await super().perform_seek()
            generation = self.app.consumer_generation_id
            assigned = self.assignment()
            committed = {tp: self._committed_offset[tp] for tp in assigned}
            positions = await self.listener.positions(committed, generation)
            if self.app.consumer_generation_id == generation:
                starts = {tp: offset for tp, offset in positions.items() if tp in assigned}
                await self.seek_wait(starts)
                for tp, offset in starts.items():
                    # Ahead of the commit if the owner before did not live to commit what it had kept, or could not
                    # for a rebalance. Nothing may ever come behind it, and the lag would stay.
                    if offset > (committed[tp] or 0):
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

    async def on_stop(self) -> None:
        """Let the application hand over, then commit and leave the group."""
        try:
            await self.listener.before_leaving()
        finally:
            # Whatever went wrong: the consumer's thread would keep the process alive.
            await super().on_stop()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing: Faust's stall detector takes quiet partitions for stalled ones; lag is in ``/status``."""


class OurProducer(driver.Producer):
    """Faust's producer service around a producer of :mod:`alphapulse.kafka`."""

    def _new_producer(self, transactional_id: str | None = None) -> AIOKafkaProducer:
        transport: Any = self.transport
        return kafka_producer(transport.settings, client_id=self.app.conf.broker_client_id)

    @property
    def client(self) -> AIOKafkaProducer:
        """The running producer."""
        return self._ensure_producer()


class BatchTransport(driver.Transport):
    """Faust's Kafka transport with :class:`BatchConsumer`.

    Args:
        settings: the broker.
        listener: the application.
    """

    Consumer: ClassVar[type[BatchConsumer]] = BatchConsumer
    Producer: ClassVar[type[OurProducer]] = OurProducer

    def __init__(self, *args: Any, settings: KafkaSettings, listener: Listener, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings = settings
        self.listener = listener
