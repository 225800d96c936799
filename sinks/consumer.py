"""Main loop of a sink: read, decode, submit, seal, write, commit; and rebalances.

At least once from the broker, exactly once in the target. An offset is committed when everything before it has been
stored (``SinkTarget.write``) and every refused record before it is in ``dlq``. A target that cannot tell which rows
past a commit it holds (a database) gets a write-ahead plan: the span about to be written is first committed as
metadata of the *old* offset. After a crash the partition's next owner reads the plan, submits exactly that span again
and lets the target settle it (``recovering``) before it reads on.

Cost: a sink pays per request and batch, not per record. Fetches are few and large (:func:`sinks.runner.consume`),
messages are kept undecoded until the batch is due and decoded together by topic (:mod:`sinks.buffer`), and the loop
sleeps until there is work.

Concurrency: a batch is written in a task (``_writing``) while the loop reads the next one; there is never a second
write, so commits are in order. When the next batch is also full, reading stops. The rebalance callbacks run in a task
of aiokafka's, which sends no heartbeats meanwhile. So the callback for an assignment only sets a flag, and the loop
handles it. Code that changes positions, or the current batch, holds ``_turn`` and with it handles the end of a write
(``_settle``). ``_generation`` counts beginnings and ends of assignments: messages fetched across a change of it are
put back (by a seek).

Fencing: the broker refuses commits of a process that has lost its partitions without noticing. After a refusal
everything since the last commit belongs to another process; it is dropped, and the next assignment starts anew.

Stop: what the broker has at the time of the request is read, written and committed first, within ``drain_seconds``,
even if the partitions are lost meanwhile and come back; ``unread`` counts what is left.
"""

from __future__ import annotations

import asyncio
import math
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from alphapulse import logs, metrics
from alphapulse.errors import BrokerError
from alphapulse.kafka import LossWatch, committed
from alphapulse.tracing import Tracer, TraceSpan
from sinks.buffer import BatchContent, FetchBuffer, Message
from sinks.contract import Abandoned, Commit, SinkTarget, Span
from sinks.decoder import RecordDecoder
from sinks.progress import Progress
from sinks.traces import WriteTraces, stored

Messages = list[Message]

READ_RECORDS: Final = 2_000
"""Maximum messages taken from the client at once: parsing them blocks the event loop for about 10 ms."""
POLL_SECONDS: Final = 1.0
"""Maximum sleep of the loop; events wake it earlier."""
REVOKE_SECONDS: Final = 5.0
"""Maximum duration of a write when its partitions are about to be revoked."""
LAST_WRITE_SECONDS: Final = 3.0
"""Maximum duration of a write after the drain time."""


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A sealed batch, being written.

    Attributes:
        messages: number of messages, including refused ones.
        ahead: committed before the write, by partition: offset and plan.
        asked: resolved when it is committed.
        content: its rows.
        oldest: when its first message was fetched, monotonic seconds.
        traces: open spans of its traced messages.
    """

    spans: list[Span]
    messages: int
    ahead: dict[TopicPartition, tuple[int, str]]
    recovering: bool
    asked: list[asyncio.Future[None]]
    content: BatchContent
    oldest: float
    traces: list[TraceSpan]


class SinkConsumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """Consumer loop for one target.

    Args:
        consumer: not yet subscribed.
        target: opened.
        decoder: converts messages to rows.
        name: name of the service.
        clock: monotonic seconds.
        tracer: None: tracing is off.
        group: consumer group, for traces.

    Attributes:
        records: messages committed, including refused ones.
        batches: writes committed.
        duplicates_skipped: repeated messages that were skipped.
        lost: offsets that the broker dropped before they were read.
        last_commit_time: nanoseconds since the Unix epoch; 0 before the first.
        unread: messages by topic that the broker had when the loop was asked to stop and that are not committed.
        assigned: called when partitions are assigned (True) and revoked (False).
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        target: SinkTarget,
        decoder: RecordDecoder,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        tracer: Tracer | None = None,
        group: str | None = None,
    ) -> None:
        self._traces = WriteTraces(tracer, group) if tracer is not None else None
        self._consumer = consumer
        self._target = target
        self._decoder = decoder
        self._name = name
        self._log = logs.get(name)
        self._clock = clock
        self._losses = LossWatch()
        self._turn = asyncio.Lock()
        self._wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._give_up = asyncio.Event()
        self._generation = 0
        self._topics: list[str] = []
        self._given: set[TopicPartition] | None = None
        self._owner = False
        self._partitions: dict[TopicPartition, Progress] = {}
        self._fault: BaseException | None = None
        self._flush_asked: list[asyncio.Future[None]] = []
        self._buffer = FetchBuffer()
        self._content = BatchContent()
        self._last_seal = -math.inf
        self._sealed: _Sealed | None = None
        self._writing: asyncio.Task[bool] | None = None
        self.records = 0
        self.batches = 0
        self.duplicates_skipped = 0
        self.lost = 0
        self.last_commit_time = 0
        self.unread: Counter[str] = Counter()
        self.assigned: Callable[[bool], None] = lambda _: None

    # --- the loop ------------------------------------------------------------------------------------------

    async def run(self, topics: Iterable[str], stopping: asyncio.Event, *, drain_seconds: float = 0.0) -> None:
        """Consume ``topics`` until ``stopping`` is set; then read to their ends at that time, write and commit.

        Args:
            drain_seconds: reading stops after this time, the last write ``LAST_WRITE_SECONDS`` later.

        Raises:
            AlphaPulseError: the target, the broker or the registry cannot be used.
        """
        self._topics = list(topics)
        self._consumer.subscribe(self._topics, listener=self)
        waking = asyncio.create_task(self._wake_when(stopping))
        try:
            while not stopping.is_set():
                await self._step(self._clock() + POLL_SECONDS)
            await self._finish(drain_seconds)
        finally:
            waking.cancel()
            if self._writing is not None:
                # The loop ends with an error: the next owner repeats whatever the write has not done.
                self._writing.cancel()
                await asyncio.gather(self._writing, return_exceptions=True)
            for asked in (*self._flush_asked, *(self._sealed.asked if self._sealed is not None else ())):
                asked.cancel()

    async def _wake_when(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._rouse()

    def _rouse(self) -> None:
        """Wake the loop."""
        if not self._wake.done():
            self._wake.set_result(None)

    async def flush(self) -> None:
        """Wait until everything fetched before the call is written and committed."""
        asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flush_asked.append(asked)
        self._rouse()
        await asked

    async def _step(self, until: float) -> None:
        """Do what is due, then read; wait at most until ``until`` (monotonic seconds)."""
        if self._wake.done():
            self._wake = asyncio.get_running_loop().create_future()
        async with self._turn:
            self._raise_fault()
            if self._writing is not None and self._writing.done():
                await self._settle()
            if self._given is not None:
                await self._begin(self._given)
            if self._writing is None and self._due():
                await self._start_write()
        generation = self._generation
        got = await self._read(until)
        if not got:
            return
        async with self._turn:
            self._raise_fault()
            for key, messages in got.items():
                await self._take(key, messages, generation)
            if self._buffer.decode_now:
                await self._decode()

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault

    async def _read(self, until: float) -> dict[TopicPartition, Messages]:
        """Return available messages; wait for them until ``until``, until a write is due or the loop is woken."""
        if self._writing is not None and self._full():
            await asyncio.wait({self._wake}, timeout=max(until - self._clock(), 0.0))
            return {}
        wanted = [key for key, progress in self._partitions.items() if progress.incomplete]
        reading = asyncio.ensure_future(
            self._consumer.getmany(*wanted, timeout_ms=self._patience(until), max_records=READ_RECORDS)
        )
        try:
            # Its own timeout does not apply while it waits for the end of a rebalance.
            patience = max(until - self._clock(), 0.0) + POLL_SECONDS
            await asyncio.wait({reading, self._wake}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                # Cancelled while waiting it has taken nothing.
                reading.cancel()
                await asyncio.wait({reading})
                if reading.cancelled():
                    return {}
            got: dict[TopicPartition, Messages] = reading.result()
        except KafkaError as error:
            raise BrokerError(f"cannot read from the broker: {error}") from error
        finally:
            reading.cancel()
        return got

    def _patience(self, until: float) -> int:
        """Milliseconds to wait for messages."""
        if self._buffer.records and self._writing is None and not self._recovering():
            until = min(until, self._buffer.oldest + self._target.limits.seconds)
        return max(int((until - self._clock()) * 1000), 1)

    def _recovering(self) -> bool:
        return any(progress.recovering for progress in self._partitions.values())

    def _full(self) -> bool:
        limits = self._target.limits
        return self._target.full or self._buffer.records >= limits.records or self._buffer.bytes >= limits.bytes

    def _due(self) -> bool:
        if self._recovering():
            return not any(progress.incomplete for progress in self._partitions.values())
        if self._flush_asked:
            return True
        if not self._buffer.records:
            return False
        limits, now = self._target.limits, self._clock()
        if self._full() or now - self._buffer.oldest >= limits.seconds:
            return True
        return limits.idle_seconds is not None and now - self._last_seal >= limits.idle_seconds

    async def _take(self, key: TopicPartition, messages: Messages, generation: int) -> None:
        progress = self._partitions.get(key)
        if progress is None:
            return  # revoked meanwhile; the next owner reads them
        jumped = messages[0].offset > progress.next
        if generation != self._generation or (jumped and not await self._dropped(key, progress.next)):
            self._consumer.seek(key, progress.next)
            return
        await self._count_losses(key, messages, progress)
        taken, seen, beyond = progress.take(messages)
        self.duplicates_skipped += seen
        if beyond:
            self._consumer.seek(key, progress.next)
        if taken:
            self._buffer.add(key, taken, self._clock())
            if self._traces is not None:
                self._traces.read(taken, self._buffer.spans)

    async def _dropped(self, key: TopicPartition, offset: int) -> bool:
        """Return whether the broker no longer has ``offset`` (or messages only came out of order)."""
        return (await self._beginnings({key}))[key] > offset

    async def _beginnings(self, partitions: set[TopicPartition]) -> dict[TopicPartition, int]:
        try:
            found: dict[TopicPartition, int] = await self._consumer.beginning_offsets(list(partitions))
        except KafkaError as error:
            raise BrokerError(f"cannot read the oldest offsets of partitions: {error}") from error
        return found

    async def _ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        try:
            found: dict[TopicPartition, int] = await self._consumer.end_offsets(list(partitions)) if partitions else {}
        except KafkaError as error:
            raise BrokerError(f"cannot read the end offsets of partitions: {error}") from error
        return found

    async def _count_losses(self, key: TopicPartition, messages: Messages, progress: Progress) -> None:
        self._losses.expect(key, progress.next)
        fresh = messages[bisect_left(messages, progress.next, key=attrgetter("offset")) :]
        for offsets in (await self._losses.check(self._consumer, {key: fresh})).values():
            self.lost += len(offsets)
            await self._decoder.refusals.lost(key, offsets)

    async def _decode(self) -> None:
        """Decode and submit undecoded messages."""
        for chunk in await self._decoder.chunks(self._buffer.undecoded()):
            await self._target.submit(chunk)
            self._content.add(chunk)

    # --- write and commit ----------------------------------------------------------------------------------

    async def _start_write(self) -> None:
        """Seal the batch, if any, and start its write and commit; no other write may be in progress."""
        recovering = self._recovering()
        if recovering and any(progress.incomplete for progress in self._partitions.values()):
            return
        await self._decode()
        # Before the planned partitions are sealed, only they are read.
        spans = [Span(key, *span) for key, progress in sorted(self._partitions.items()) if (span := progress.span)]
        asked = []
        if not recovering:
            # Otherwise only the planned spans are in the batch: a flush of everything waits for the next one.
            asked, self._flush_asked = self._flush_asked, []
        if not spans:
            _answer(asked)
            return
        plan = self._target.seal(spans)
        ahead: dict[TopicPartition, tuple[int, str]] = {}
        if plan is not None and not recovering:
            ahead = {span.partition: (span.first, plan[span.partition]) for span in spans}
        else:
            # Without any commit a target could not distinguish the rows of a first write from old ones.
            ahead = {span.partition: (span.first, "") for span in spans if not self._partitions[span.partition].known}
        messages = sum(self._partitions[span.partition].seal() for span in spans)
        content, oldest, traces = self._content, self._buffer.oldest, self._buffer.spans
        self._content, self._buffer = BatchContent(), FetchBuffer()
        self._last_seal = self._clock()
        self._sealed = _Sealed(spans, messages, ahead, recovering, asked, content, oldest, traces)
        self._writing = asyncio.create_task(self._write(self._sealed))
        self._writing.add_done_callback(lambda _: self._rouse())

    async def _write(self, batch: _Sealed) -> bool:
        """Write and commit a batch; return whether it succeeded."""
        await self._decoder.refusals.acknowledged()
        if not await self._commit(batch.ahead):
            return False
        try:
            with metrics.SINK_WRITE_SECONDS.time():
                await self._target.write(batch.spans, recovering=batch.recovering, give_up=self._give_up)
        except Abandoned:
            self._log.warning("gave up a write; its records will be read again", spans=len(batch.spans))
            return False
        if await self._commit({span.partition: (span.last + 1, "") for span in batch.spans}):
            return True
        await self._target.rollback(batch.spans)
        return False

    async def _commit(self, offsets: Mapping[TopicPartition, tuple[int, str]]) -> bool:
        """Commit; return False if it is refused because the partitions belong to another process."""
        if not offsets:
            return True
        try:
            await self._consumer.commit({key: OffsetAndMetadata(*value) for key, value in offsets.items()})
        except (CommitFailedError, IllegalStateError) as error:
            self._log.warning(
                "commit refused, the partitions are moving; records will be read again", reason=str(error)
            )
            return False
        except KafkaError as error:
            raise BrokerError(f"cannot commit offsets: {error}") from error
        return True

    async def _settle(self) -> None:
        """Wait for the write in progress, if any, and handle its result."""
        writing, batch = self._writing, self._sealed
        if writing is None or batch is None:
            return
        # The caller may be cancelled, the write must not be.
        await asyncio.wait({writing})
        self._writing = None
        succeeded = writing.result()
        self._sealed = None
        if not succeeded:
            self._flush_asked = batch.asked + self._flush_asked
            await self._forget()
            return
        for span in batch.spans:
            self._partitions[span.partition].commit()
        self.records += batch.messages
        self.batches += 1
        self.last_commit_time = time.time_ns()
        metrics.SINK_BATCH_RECORDS.observe(batch.messages)
        batch.content.stored(self.last_commit_time)
        stored(batch.traces, batch.messages, self.last_commit_time)
        _answer(batch.asked)

    async def _forget(self) -> None:
        """Drop everything since the last commit; no partition is ours until the next assignment."""
        await self._target.discard(list(self._partitions))
        self._owner = False
        self._partitions = {}
        self._generation += 1
        self._content, self._buffer = BatchContent(), FetchBuffer()

    # --- partitions come and go ----------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Write the current batches, within a time limit (called by the consumer)."""
        timer = asyncio.get_running_loop().call_later(REVOKE_SECONDS, self._give_up.set)
        try:
            async with self._turn:
                if self._fault is None:
                    await self._write_all()
                await self._forget()
                self._given = None
                self.assigned(False)
        except Exception as error:  # noqa: BLE001 aiokafka would only log it; the loop raises it
            self._fault = error
            self._rouse()
        finally:
            timer.cancel()

    async def _write_all(self) -> None:
        """Write everything submitted."""
        await self._settle()
        await self._start_write()
        await self._settle()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Set a flag for the loop (called by the consumer)."""
        self._give_up.clear()
        self._given = set(assigned)
        self._rouse()

    async def _begin(self, ours: set[TopicPartition]) -> None:
        self._given = None
        self._generation += 1
        await self._target.survey(ours)
        found = await committed(self._consumer, ours)
        if not await self._commit({key: (commit.offset, commit.metadata) for key, commit in found.items()}):
            await self._forget()
            return
        commits = {
            key: Commit(found[key].offset, found[key].metadata) if key in found else None for key in sorted(ours)
        }
        planned = await self._target.assign(commits)
        ends = await self._ends(planned)
        new = ours - found.keys()
        starts = await self._beginnings(new) if new else {}
        self._partitions = {}
        for key, commit in commits.items():
            offset = commit.offset if commit is not None else starts[key]
            # A log that ends before the plan does has been truncated: the rest of the plan will never come.
            last = min(planned.get(key, -1), ends.get(key, 0) - 1)
            self._partitions[key] = Progress(offset, offset, last if last >= offset else None, known=commit is not None)
            self._consumer.seek(key, offset)
        self._owner = True
        self._log.info("assigned", partitions=len(commits), planned=len(planned))
        self.assigned(True)

    # --- the end -------------------------------------------------------------------------------------------

    async def _finish(self, drain_seconds: float) -> None:
        """Read to the topics' ends at this time, write and commit; record what is left of our partitions."""
        deadline = self._clock() + drain_seconds
        timer = asyncio.get_running_loop().call_later(drain_seconds + LAST_WRITE_SECONDS, self._give_up.set)
        owned = dict(self._partitions)
        try:
            ends = await self._ends_now(max(drain_seconds, 1.0))
            while True:
                while self._clock() < deadline and self._draining(ends):
                    await self._step(deadline)
                    owned |= self._partitions
                async with self._turn:
                    self._raise_fault()
                    await self._write_all()
                if self._clock() >= deadline or not self._draining(ends):
                    break
        finally:
            timer.cancel()
        # Partitions taken over by another member are not counted.
        for key, progress in (self._partitions if self._owner else owned).items():
            self.unread[key.topic] += max(ends.get(key, 0) - progress.committed, 0)
        self.unread = +self.unread

    def _draining(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Return whether a partition of ours is not read to its entry in ``ends``, or we wait to get them back."""
        if not self._owner:
            return self._given is not None or self._generation > 0
        return any(progress.next < ends.get(key, 0) for key, progress in self._partitions.items())

    async def _ends_now(self, seconds: float) -> dict[TopicPartition, int]:
        """Return the ends of all topics' partitions, or the last known ends of ours if the broker does not answer."""
        partitions = [
            TopicPartition(topic, number)
            for topic in self._topics
            for number in self._consumer.partitions_for_topic(topic) or ()
        ]
        try:
            async with asyncio.timeout(seconds):
                return await self._ends(partitions)
        except (BrokerError, TimeoutError) as error:
            self._log.warning("cannot read the end offsets of partitions", reason=str(error) or "no answer")
        assignment = self._consumer.assignment()
        seen = {key: self._consumer.highwater(key) for key in self._partitions if key in assignment}
        return {key: end for key, end in seen.items() if end is not None}

    # --- figures -------------------------------------------------------------------------------------------

    @property
    def lag(self) -> int:
        """Records known to be on the broker and not committed by this process."""
        return sum(self.lag_of(topic) for topic in {key.topic for key in self._partitions})

    def lag_of(self, topic: str) -> int:
        """Return the same for one topic."""
        behind = 0
        assignment = self._consumer.assignment()
        for key, progress in self._partitions.items():
            end = self._consumer.highwater(key) if key.topic == topic and key in assignment else None
            if end is not None:
                behind += max(end - progress.committed, 0)
        return behind

    @property
    def unwritten_seconds(self) -> float:
        """How long ago the oldest message was fetched that is not committed yet; 0: all are."""
        if self._sealed is not None:
            return max(self._clock() - self._sealed.oldest, 0.0)
        return max(self._clock() - self._buffer.oldest, 0.0) if self._buffer.records else 0.0

    def status(self) -> dict[str, Any]:
        """Return the fields of ``/status``."""
        return {
            "records": self.records,
            "batches": self.batches,
            "pending": self._buffer.records + (self._sealed.messages if self._sealed is not None else 0),
            "lag": self.lag,
            "partitions": len(self._partitions),
            "duplicates_skipped": self.duplicates_skipped,
            "lost": self.lost,
            "dead_letters": self._decoder.refusals.refused,
            "last_commit_time": self.last_commit_time,
            **self._target.status(),
        }


def _answer(asked: Iterable[asyncio.Future[None]]) -> None:
    for future in asked:
        if not future.done():
            future.set_result(None)
