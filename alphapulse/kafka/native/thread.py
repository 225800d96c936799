"""Thread of a librdkafka consumer: polls, runs commands, hands results to an event loop.

confluent-kafka allows one thread at a time in a consumer, callbacks included; other threads spin until the poll ends.
So every operation on the consumer is a command to this thread, run between two polls. Records go to the loop per poll,
with one wake-up for all polls that the loop has not handled yet.

librdkafka reports a rebalance to a callback within a poll. The callback lets the loop run the asynchronous listener and
runs commands until it ends: a listener commits, and reads commits, before its partitions are revoked.
"""

from __future__ import annotations

import asyncio
import queue
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, Protocol, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError
from confluent_kafka import OFFSET_BEGINNING, OFFSET_STORED, Consumer, KafkaException
from confluent_kafka import KafkaError as Fault
from confluent_kafka import TopicPartition as Place

from alphapulse.kafka.native.configuration import LOGGER
from alphapulse.kafka.native.connecting import Reach
from alphapulse.kafka.native.errors import commit_error, fault_of, translate
from alphapulse.kafka.native.lanes import Chunk, Lane, Lanes
from alphapulse.kafka.native.record import Record

POLL_SECONDS: Final = 0.02
"""Maximum wait of a command during idle polls, if there was a command recently."""
IDLE_POLL_SECONDS: Final = 0.1
"""The same otherwise, and for commits, which nothing waits for. A turn costs 0.1 ms: 50 a second are half a per cent of
a core, in each idle client."""
LATELY_SECONDS: Final = 0.5
"""How long after a command others are likely: an application begins, seeks and ends with several."""
BURST_RECORDS: Final = 1_000
"""Maximum records handed over at once: about two milliseconds in which the event loop is blocked."""
COALESCED_RECORDS: Final = 100
"""With this many records available the thread continues at once."""
PATIENCE_SECONDS: Final = 1.0
"""How long the queues may be full before their partitions are held, so that rebalances are noticed."""
WATERMARK_SECONDS: Final = 1.0
"""Interval of end offset updates for idle partitions."""

T = TypeVar("T")
Command = Callable[[Consumer], T]

_GENERATION: Final = struct.Struct("=7si")
_MAGIC: Final = b"CGMDv2:"
"""Prefix of librdkafka's serialized group metadata; the generation follows."""


class ThreadOwner(Protocol):
    """Callbacks of the thread, always in the event loop."""

    lanes: Lanes[Record]

    def arrived(self) -> None:
        """Records are available in :meth:`ConsumerThread.handed_over`."""

    def failed(self, error: BaseException) -> None:
        """The broker refuses something; the thread continues."""

    def ended(self, error: BaseException) -> None:
        """The thread has ended."""

    async def group_revoked(self) -> None:
        """All partitions are about to be revoked."""

    async def group_assigned(self, partitions: set[TopicPartition], generation: int) -> Lanes[Record]:
        """These partitions are assigned to this consumer; return their lanes."""
        ...


class ConsumerThread:
    """Thread that runs a consumer.

    Args:
        properties: for librdkafka.
        owner: receives the callbacks.
        grouped: whether the consumer is in a group.
        coalesce_seconds: minimum time between two wake-ups of the loop, unless many records wait.

    Attributes:
        reach: whether librdkafka reported that no broker can be used.
    """

    def __init__(
        self, properties: dict[str, Any], owner: ThreadOwner, *, grouped: bool, coalesce_seconds: float = 0.0
    ) -> None:
        self._properties = properties
        self._owner = owner
        self._grouped = grouped
        self.coalesce_seconds = coalesce_seconds
        self._loop = asyncio.get_running_loop()
        self._commands: queue.SimpleQueue[Callable[[Consumer], None] | None] = queue.SimpleQueue()
        self._finished = asyncio.Event()
        self._closing = False
        self._rebalancing = False
        self._lanes: Lanes[Record] = Lanes()
        self._held: set[Lane[Record]] = set()
        self._seeks: dict[Lane[Record], tuple[int, int]] = {}
        self._committing: _Commit | None = None
        self._out: queue.SimpleQueue[dict[Lane[Record], Chunk[Record]]] = queue.SimpleQueue()
        self._signalled = False
        self._waiting_for_room = False
        self._next_watermarks = 0.0
        self._idle_from = 0.0
        self.reach = Reach()
        self._thread = threading.Thread(target=self._run, name=f"poll {properties['client.id']}", daemon=True)

    # --- the loop's side ---

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def stop(self, seconds: float) -> bool:
        """Leave the group and close the consumer; return False if that takes longer than ``seconds``.

        Then the thread continues to close by itself; it does not keep the process alive.
        """
        self._closing = True
        self._commands.put(None)
        try:
            async with asyncio.timeout(seconds):
                await self._finished.wait()
        except TimeoutError:
            return False
        self._thread.join()
        return True

    def post(self, command: Command[object]) -> None:
        """Run ``command`` in the thread as soon as possible, ignoring its result."""
        self._idle_from = time.monotonic() + LATELY_SECONDS
        self._commands.put(lambda consumer: self._attempt(command, consumer))

    async def call(self, command: Command[T]) -> T:
        """Run ``command`` in the thread and return its result.

        Raises:
            KafkaException: librdkafka refuses.
            ConsumerStoppedError: the consumer is stopped.
        """
        if self._closing:
            raise ConsumerStoppedError
        self._idle_from = time.monotonic() + LATELY_SECONDS
        result: asyncio.Future[T] = self._loop.create_future()

        def run(consumer: Consumer | None) -> None:
            if consumer is None:
                self._tell(_fail, result, ConsumerStoppedError())
                return
            try:
                found = command(consumer)
            except Exception as error:  # noqa: BLE001 it is the caller's
                self._tell(_fail, result, error)
            else:
                self._tell(_fulfil, result, found)

        self._commands.put(run)
        return await result

    async def commit(self, places: Sequence[Place]) -> None:
        """Commit; one commit at a time.

        Raises:
            KafkaError: the coordinator refuses or does not answer; see :func:`errors.commit_error`.
        """
        if self._closing:
            raise ConsumerStoppedError
        commit = _Commit(list(places), self._loop.create_future())
        self._commands.put(lambda consumer: self._commit(consumer, commit))
        await commit.result

    def assign(self, lanes: Lanes[Record]) -> None:
        """Read ``lanes`` without a group; a lane without a position from its oldest record."""
        self.post(lambda consumer: self._take_over(consumer, lanes, OFFSET_BEGINNING))

    def seek(self, lane: Lane[Record], offset: int) -> None:
        """Continue polling ``lane`` at ``offset``, in its current generation."""
        generation = lane.generation
        self.post(lambda _: self._seeks.__setitem__(lane, (generation, offset)))

    def handed_over(self) -> Iterable[dict[Lane[Record], Chunk[Record]]]:
        """Yield the records polled since the last call."""
        # First the flag, then the records: records that arrive in between are reported again.
        self._signalled = False
        while not self._out.empty():
            yield self._out.get_nowait()

    def taken(self) -> None:
        """Records were taken: wake the thread if it waits for room."""
        if self._waiting_for_room:
            self._commands.put(_nothing)

    # --- the thread ---

    def _run(self) -> None:
        consumer: Consumer | None = None
        try:
            consumer = self._open()
            while not self._closing:
                self._turn(consumer)
        except BaseException as error:  # noqa: BLE001 a thread's end must be reported
            self._tell(self._owner.ended, _as_kafka_error(error))
        finally:
            self._end(consumer)

    def _open(self) -> Consumer:
        callbacks = {"error_cb": self._on_error, "on_commit": self._on_commit}
        return Consumer(self._properties | callbacks, logger=LOGGER)

    def _turn(self, consumer: Consumer) -> None:
        while True:
            try:
                command = self._commands.get_nowait()
            except queue.Empty:
                break
            if command is None:
                return
            command(consumer)
        if self._seeks:
            self._seek(consumer)
        lanes = self._lanes
        if self._held:
            self._release(consumer)
        if lanes.full():
            self._hold(consumer, lambda lane: lane.skipped or lane.paused)
            if lanes.full() and not self._room(consumer):
                self._hold(consumer, lambda lane: lane.records > 0)
        idle = not (self._committing or self._seeks or self._held) and time.monotonic() >= self._idle_from
        first = consumer.poll(IDLE_POLL_SECONDS if idle else POLL_SECONDS)
        if first is not None:
            messages = [first, *consumer.consume(BURST_RECORDS, 0)]
            self._hand_over(consumer, messages)
            if self.coalesce_seconds and len(messages) < COALESCED_RECORDS:
                # The first record after a pause waits for nothing; what follows within this time is handed over
                # together. Asleep, not within librdkafka: there each fetch and each partition would wake this thread.
                time.sleep(self.coalesce_seconds)
        if (now := time.monotonic()) >= self._next_watermarks:
            self._next_watermarks = now + WATERMARK_SECONDS
            self._note_watermarks(consumer, lanes)

    def _end(self, consumer: Consumer | None) -> None:
        self._closing = True
        try:
            if consumer is not None:
                consumer.close()
        finally:
            if self._committing is not None:
                self._tell(_fail, self._committing.result, ConsumerStoppedError())
            while not self._commands.empty():
                command = self._commands.get_nowait()
                if command is not None:
                    command(None)  # type: ignore[arg-type]
            self._tell(self._finished.set)

    def _tell(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            # The loop was closed while the consumer ran: no receiver is left.
            self._closing = True

    # --- records ---

    def _hand_over(self, consumer: Consumer, messages: list[Any]) -> None:
        chunks: dict[Lane[Record], Chunk[Record]] = {}
        named = self._lanes.named
        for message in messages:
            fault = message.error()
            if fault is not None:
                self._on_fault(fault)
                continue
            topic, partition = message.topic(), message.partition()
            lane = named(topic, partition)
            if lane is None or (self._seeks and lane in self._seeks):
                continue
            record = Record(topic, partition, message)
            if record.offset < lane.expected and self._astray(consumer, lane, record.offset):
                continue
            lane.expected = record.offset + 1
            chunk = chunks.get(lane)
            if chunk is None:
                chunk = chunks[lane] = Chunk(lane.applied)
            chunk.records.append(record)
            chunk.bytes += len(message)
        if not chunks:
            return
        for lane, chunk in chunks.items():
            self._lanes.offer(lane, chunk)
        self._note_watermarks(consumer, chunks)
        self._out.put(chunks)
        if not self._signalled:
            self._signalled = True
            self._tell(self._owner.arrived)

    @staticmethod
    def _note_watermarks(consumer: Consumer, lanes: Iterable[Lane[Record]]) -> None:
        for lane in lanes:
            _, end = consumer.get_watermark_offsets(_place(lane), cached=True)
            if end >= 0:
                lane.highwater = end

    def _room(self, consumer: Consumer) -> bool:
        """Run commands until there is room in the queues; return False if there is none for too long."""
        end = time.monotonic() + PATIENCE_SECONDS
        self._waiting_for_room = True
        try:
            while self._lanes.full():
                command = self._commands.get(timeout=max(0.0, end - time.monotonic()))
                if command is None:
                    break
                command(consumer)
                if self._seeks:
                    self._seek(consumer)
        except queue.Empty:
            return False
        finally:
            self._waiting_for_room = False
        return True

    def _hold(self, consumer: Consumer, which: Callable[[Lane[Record]], bool]) -> None:
        """Stop librdkafka from fetching the partitions for which ``which`` is true."""
        lanes = [lane for lane in self._lanes if not lane.held and which(lane)]
        if lanes:
            consumer.pause([_place(lane) for lane in lanes])
            self._held.update(lanes)
            for lane in lanes:
                lane.held = True

    def _release(self, consumer: Consumer) -> None:
        """Let librdkafka fetch the held partitions that have room again."""
        lanes = [lane for lane in self._held if self._lanes.roomy(lane)]
        if lanes:
            consumer.resume([_place(lane) for lane in lanes])
            self._held.difference_update(lanes)
            for lane in lanes:
                lane.held = False

    def pause(self, lane: Lane[Record]) -> None:
        """Hold a partition paused by the application (called by the loop); it is released automatically."""
        self.post(lambda consumer: self._hold(consumer, lambda one: one is lane))

    # --- positions ---

    def _seek(self, consumer: Consumer) -> None:
        """Apply requested seeks; partitions that librdkafka does not fetch yet are retried in the next turn."""
        for lane, (generation, offset) in list(self._seeks.items()):
            if self._lanes.get(lane.partition) is not lane:
                # Not started, so its position will be used at the start; or revoked.
                del self._seeks[lane]
                continue
            try:
                consumer.seek(_place(lane, offset))
            except KafkaException as error:
                if fault_of(error).code() not in _NOT_YET:
                    raise
            else:
                lane.applied = generation
                lane.expected = offset
                del self._seeks[lane]

    def _astray(self, consumer: Consumer, lane: Lane[Record], offset: int) -> bool:
        """Handle a record of an offset before the expected one; return whether librdkafka went back by itself.

        librdkafka 2.16 does so after a seek during its request for the oldest offset, the start of a partition without
        a commit: it ignores the outdated answer, but asks again half a second later, and reads from there
        (``rd_kafka_toppar_handle_Offset``). The seek is repeated. A topic that ends before the expected offset was
        deleted and created anew: its records are read.
        """
        _, end = consumer.get_watermark_offsets(_place(lane), cached=True)
        if end < lane.expected:
            return False
        LOGGER.info("%s [%d]: expected offset %d, found %d: seeking again", *lane.partition, lane.expected, offset)
        self._seeks[lane] = (lane.applied, lane.expected)
        return True

    def _take_over(self, consumer: Consumer, lanes: Lanes[Record], otherwise: int) -> None:
        """Read ``lanes`` from their positions; without one from ``otherwise``."""
        places = []
        for lane in lanes:
            lane.applied = lane.generation
            lane.expected = lane.position or 0
            places.append(_place(lane, otherwise if lane.position is None else lane.position))
        self._lanes = lanes
        self._held.clear()
        self._seeks.clear()
        consumer.assign(places)
        # librdkafka remembers the pauses of an earlier assignment.
        consumer.resume(places)
        self._hold(consumer, lambda lane: lane.paused)

    def subscribe(self, topics: list[str]) -> None:
        """Join the group (called by the loop)."""
        self.post(lambda consumer: consumer.subscribe(topics, on_assign=self._on_assign, on_revoke=self._on_revoke))

    # --- rebalances ---

    def _on_assign(self, consumer: Consumer, places: Sequence[Place]) -> None:
        if self._closing:
            return
        partitions = {TopicPartition(place.topic, place.partition) for place in places}
        generation = generation_of(consumer)
        lanes = self._listen(consumer, lambda: self._owner.group_assigned(partitions, generation))
        if lanes is not None:
            self._take_over(consumer, lanes, OFFSET_STORED)

    def _on_revoke(self, consumer: Consumer, _: Sequence[Place]) -> None:
        if not self._closing:
            self._listen(consumer, self._owner.group_revoked)
        self._lanes = Lanes()
        self._held.clear()
        self._seeks.clear()
        if not self._closing:
            consumer.unassign()

    def _listen(self, consumer: Consumer, listener: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """Let the loop run ``listener`` and return its result; meanwhile run commands. None: the consumer closes."""
        self._rebalancing = True
        try:
            if self._committing is not None:
                # Its result would come with the next poll, and the listener may wait for it.
                commit, self._committing = self._committing, None
                self._commit_now(consumer, commit)
            ended: list[asyncio.Task[T]] = []

            def end(task: asyncio.Task[T]) -> None:
                ended.append(task)
                self._commands.put(_nothing)

            started: list[asyncio.Task[T]] = []

            def begin() -> None:
                started.append(self._loop.create_task(listener()))
                started[0].add_done_callback(end)

            self._tell(begin)
            while not ended:
                try:
                    command = self._commands.get(timeout=PATIENCE_SECONDS)
                except queue.Empty:
                    command = _nothing
                if command is None or self._closing:
                    self._tell(lambda: started and started[0].cancel())
                    return None
                command(consumer)
            return None if ended[0].cancelled() else ended[0].result()
        finally:
            self._rebalancing = False

    # --- commits ---

    def _commit(self, consumer: Consumer | None, commit: _Commit) -> None:
        if consumer is None:
            self._tell(_fail, commit.result, ConsumerStoppedError())
        elif self._rebalancing:
            self._commit_now(consumer, commit)
        else:
            try:
                consumer.commit(offsets=commit.places, asynchronous=True)
            except KafkaException as error:
                self._tell(_fail, commit.result, commit_error(fault_of(error)))
            else:
                self._committing = commit

    def _commit_now(self, consumer: Consumer, commit: _Commit) -> None:
        """Commit synchronously: within a callback polling returns no result."""
        try:
            answer = consumer.commit(offsets=commit.places, asynchronous=False)
        except KafkaException as error:
            self._tell(_fail, commit.result, commit_error(fault_of(error)))
        else:
            self._answer(commit, None, answer)

    def _on_commit(self, fault: Fault | None, places: Sequence[Place]) -> None:
        commit = self._committing
        # Synchronous commits are reported here a second time, and one may have been given up.
        if commit is not None and (not places or _named(places) == _named(commit.places)):
            self._committing = None
            self._answer(commit, fault, places)

    def _answer(self, commit: _Commit, fault: Fault | None, places: Sequence[Place]) -> None:
        faults = [fault, *(place.error for place in places)]
        found = next((one for one in faults if one is not None), None)
        if found is None:
            self._tell(_fulfil, commit.result, None)
        else:
            self._tell(_fail, commit.result, commit_error(found))

    # --- errors ---

    def _attempt(self, command: Command[object], consumer: Consumer | None) -> None:
        if consumer is None:
            return
        try:
            command(consumer)
        except KafkaException as error:
            self._on_fault(fault_of(error))

    def _on_error(self, fault: Fault) -> None:
        """Record an error of a connection or of the client (called by librdkafka within a poll)."""
        self.reach(fault)
        if fault.fatal():
            self._tell(self._owner.failed, translate(fault))

    def _on_fault(self, fault: Fault) -> None:
        """Handle an error returned instead of a record."""
        error = translate(fault)
        if not self._grouped and fault.code() in _OF_GROUPS:
            # librdkafka looks up the coordinator of a group without members, and may not be allowed to.
            LOGGER.debug("%s [%s] %s", fault.name(), self._properties["client.id"], fault.str())
        elif error.retriable or fault.code() in _PASSING:
            LOGGER.warning("%s [%s] %s", fault.name(), self._properties["client.id"], fault.str())
        else:
            self._tell(self._owner.failed, error)


class _Commit:
    """A commit in flight."""

    __slots__ = ("places", "result")

    def __init__(self, places: list[Place], result: asyncio.Future[None]) -> None:
        self.places = places
        self.result = result


_PASSING: Final = frozenset({Fault._MAX_POLL_EXCEEDED, Fault._TIMED_OUT, Fault._FAIL})  # noqa: SLF001
_NOT_YET: Final = frozenset({Fault._STATE, Fault._PREV_IN_PROGRESS, Fault._UNKNOWN_PARTITION})  # noqa: SLF001
_OF_GROUPS: Final = frozenset(
    {
        Fault.GROUP_AUTHORIZATION_FAILED,
        Fault.COORDINATOR_NOT_AVAILABLE,
        Fault.COORDINATOR_LOAD_IN_PROGRESS,
        Fault.NOT_COORDINATOR,
        Fault.INVALID_GROUP_ID,
    }
)


def generation_of(consumer: Consumer) -> int:
    """Return the generation of ``consumer``'s group; -1: none.

    Raises:
        KafkaError: librdkafka returns it in an unknown format.
    """
    told: bytes = consumer.consumer_group_metadata()
    if len(told) < _GENERATION.size or not told.startswith(_MAGIC):
        raise KafkaError(f"librdkafka's group metadata have an unknown format: {told[:16]!r}")
    generation: int = _GENERATION.unpack_from(told)[1]
    return generation


def _place(lane: Lane[Record], offset: int = 0) -> Place:
    return Place(lane.partition.topic, lane.partition.partition, offset)


def _named(places: Sequence[Place]) -> set[tuple[str, int, int]]:
    return {(place.topic, place.partition, place.offset) for place in places}


def _nothing(_: Consumer) -> None:
    """Do nothing: only wakes the thread."""


def _fulfil(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _as_kafka_error(error: BaseException) -> BaseException:
    return translate(fault_of(error)) if isinstance(error, KafkaException) else error
