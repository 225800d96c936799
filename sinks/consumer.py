"""The loop of every sink: read, decode, submit, plan, write, commit; and what happens when partitions move.

At least once from the broker, exactly once in the target. An offset is committed when everything before it has been
stored (``Target.write``) and every refused record before it lies in ``dlq``. A target that cannot tell by itself what
it holds past a commit (a database) gets a write-ahead plan: the span about to be written is committed as metadata of
the *old* offset first. Whoever owns the partition after a crash reads the plan, submits exactly that span again and
lets the target settle it (``recovering``) before it reads on.

Concurrency: the rebalance callbacks run in a task of aiokafka's beside the loop, and the group hears no heartbeat of
ours while they do. So the one that brings an assignment only leaves a note, and the loop begins it. Whoever touches
positions or target holds ``_turn``. ``_generation`` counts beginnings and ends of assignments: messages fetched across
a change of it are put back (the reader seeks).

Fencing: the broker refuses commits of a process that has lost its partitions without noticing. A refusal means that
everything since the last commit belongs to someone else now; it is forgotten, and the next assignment begins anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord

from alphapulse import logs
from alphapulse.errors import BrokerError
from alphapulse.kafka import LossWatch, committed
from sinks.contract import Abandoned, Chunk, Commit, Span, Target
from sinks.progress import Progress
from sinks.refusals import Reader

Messages = list[ConsumerRecord[bytes, bytes]]

SLICE_RECORDS: Final = 2_000
"""Decoded in one go: about 20 ms during which the event loop does nothing else."""
POLL_SECONDS: Final = 0.2
"""The longest the loop waits for messages before it looks at the clock again."""
REVOKE_SECONDS: Final = 5.0
"""How long a write may go on when its partitions are about to be taken away."""


class SinkConsumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """Feeds one target.

    Args:
        consumer: not yet subscribed.
        target: opened.
        reader: decodes.
        name: of the service.
        clock: monotonic seconds.

    Attributes:
        records: messages committed, refused ones included.
        batches: writes committed.
        duplicates_skipped: messages that came a second time and were left out.
        lost: offsets the broker dropped before they were read.
        last_commit_time: nanoseconds since the Unix epoch; 0 before the first.
        assigned: told when partitions come (True) and go (False).
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        target: Target,
        reader: Reader,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._consumer = consumer
        self._target = target
        self._reader = reader
        self._name = name
        self._log = logs.get(name)
        self._clock = clock
        self._losses = LossWatch()
        self._turn = asyncio.Lock()
        self._give_up = asyncio.Event()
        self._generation = 0
        self._given: set[TopicPartition] | None = None
        self._partitions: dict[TopicPartition, Progress] = {}
        self._fault: BaseException | None = None
        self._flush_asked: list[asyncio.Future[None]] = []
        self._pending_records = 0
        self._pending_bytes = 0
        self._oldest = 0.0
        self._newest = 0.0
        self.records = 0
        self.batches = 0
        self.duplicates_skipped = 0
        self.lost = 0
        self.last_commit_time = 0
        self.assigned: Callable[[bool], None] = lambda _: None

    # --- the loop ------------------------------------------------------------------------------------------

    async def run(self, topics: Iterable[str], stopping: asyncio.Event) -> None:
        """Consume ``topics`` until ``stopping`` is set; then write and commit what is there.

        Raises:
            AlphaPulseError: the target, the broker or the registry cannot be used any more.
        """
        self._consumer.subscribe(list(topics), listener=self)
        give_up = asyncio.create_task(self._give_up_when(stopping))
        try:
            while not stopping.is_set():
                await self._step()
            async with self._turn:
                await self._flush()
        finally:
            give_up.cancel()
            for asked in self._flush_asked:
                asked.cancel()

    async def _give_up_when(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        await asyncio.sleep(REVOKE_SECONDS)
        self._give_up.set()

    async def flush(self) -> None:
        """Return when everything that had been fetched at the time of the call is written and committed."""
        asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flush_asked.append(asked)
        await asked

    async def _step(self) -> None:
        async with self._turn:
            self._raise_fault()
            if self._given is not None:
                await self._begin(self._given)
        wanted = [key for key, progress in self._partitions.items() if progress.incomplete]
        generation = self._generation
        try:
            got: dict[TopicPartition, Messages] = await self._consumer.getmany(
                *wanted, timeout_ms=self._patience(), max_records=SLICE_RECORDS
            )
        except KafkaError as error:
            raise BrokerError(f"cannot read from the broker: {error}") from error
        async with self._turn:
            self._raise_fault()
            for key, messages in got.items():
                await self._take(key, messages, generation)
            if self._due(idle=not any(got.values())):
                await self._flush()

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _patience(self) -> int:
        """Milliseconds to wait for messages: no longer than until a write is due."""
        seconds = POLL_SECONDS
        limits = self._target.limits
        if self._pending_records:
            seconds = min(seconds, self._oldest + limits.seconds - self._clock())
            if limits.idle_seconds is not None:
                seconds = min(seconds, self._newest + limits.idle_seconds - self._clock())
        if self._flush_asked:
            seconds = 0.0
        return max(int(seconds * 1000), 1)

    def _due(self, *, idle: bool) -> bool:
        recovering = [progress for progress in self._partitions.values() if progress.recovering]
        if recovering:
            return not any(progress.incomplete for progress in recovering)
        if self._flush_asked:
            return True
        if not self._pending_records:
            return False
        limits, now = self._target.limits, self._clock()
        return (
            self._target.full
            or self._pending_records >= limits.records
            or self._pending_bytes >= limits.bytes
            or now - self._oldest >= limits.seconds
            or (idle and limits.idle_seconds is not None and now - self._newest >= limits.idle_seconds)
        )

    async def _take(self, key: TopicPartition, messages: Messages, generation: int) -> None:
        progress = self._partitions.get(key)
        if progress is None:
            return  # revoked meanwhile: the next owner reads them
        jumped = messages[0].offset > progress.next
        if generation != self._generation or (jumped and not await self._dropped(key, progress.next)):
            self._consumer.seek(key, progress.next)
            return
        await self._count_losses(key, messages, progress)
        taken, seen, beyond = progress.take(messages)
        self.duplicates_skipped += seen
        if beyond:
            self._consumer.seek(key, progress.next)
        if not taken:
            return
        offsets, records = await self._reader.read(taken)
        if records:
            await self._target.submit(Chunk(key, self._reader.kind(key.topic), offsets, records))
        if not self._pending_records:
            self._oldest = self._clock()
        self._newest = self._clock()
        self._pending_records += len(taken)
        self._pending_bytes += sum(len(message.value or b"") for message in taken)

    async def _dropped(self, key: TopicPartition, offset: int) -> bool:
        """Tell whether the broker no longer has ``offset`` (or messages merely came out of order)."""
        return (await self._beginnings({key}))[key] > offset

    async def _beginnings(self, partitions: set[TopicPartition]) -> dict[TopicPartition, int]:
        try:
            found: dict[TopicPartition, int] = await self._consumer.beginning_offsets(list(partitions))
        except KafkaError as error:
            raise BrokerError(f"cannot ask the broker where partitions begin: {error}") from error
        return found

    async def _count_losses(self, key: TopicPartition, messages: Messages, progress: Progress) -> None:
        self._losses.expect(key, progress.next)
        fresh = [message for message in messages if message.offset >= progress.next]
        for offsets in (await self._losses.check(self._consumer, {key: fresh})).values():
            self.lost += len(offsets)
            await self._reader.lost(key, offsets)

    # --- write and commit ----------------------------------------------------------------------------------

    async def _flush(self) -> None:
        """Write and commit what was submitted. Afterwards nothing is pending, done or given back."""
        recovering = any(progress.recovering for progress in self._partitions.values())
        if recovering and any(progress.incomplete for progress in self._partitions.values()):
            await self._forget()
            return
        spans = [
            Span(key, *span)
            for key, progress in sorted(self._partitions.items())
            if (progress.recovering or not recovering) and (span := progress.span) is not None
        ]
        asked = list(self._flush_asked)
        if spans and not await self._write(spans, recovering=recovering):
            return
        if recovering:
            # Only the planned spans were there; whoever asked for everything has to wait for the rest.
            return
        del self._flush_asked[: len(asked)]
        for future in asked:
            if not future.done():
                future.set_result(None)

    async def _write(self, spans: list[Span], *, recovering: bool) -> bool:
        await self._reader.acknowledged()
        plan = None if recovering else self._target.plan(spans)
        ahead = {
            span.partition: (span.first, plan[span.partition] if plan is not None else "")
            for span in spans
            # Without any commit a target could not tell what a first write left behind from rows long forgotten.
            if plan is not None or not self._partitions[span.partition].known
        }
        if not await self._commit(ahead):
            return False
        try:
            await self._target.write(spans, recovering=recovering, give_up=self._give_up)
        except Abandoned:
            self._log.warning("gave up a write; its records will be read again", spans=len(spans))
            await self._forget()
            return False
        if not await self._commit({span.partition: (span.last + 1, "") for span in spans}, undo=spans):
            return False
        for span in spans:
            progress = self._partitions[span.partition]
            self.records += progress.messages
            progress.commit()
        self.batches += 1
        self.last_commit_time = time.time_ns()
        self._pending_records = self._pending_bytes = 0
        return True

    async def _commit(self, offsets: Mapping[TopicPartition, tuple[int, str]], undo: Iterable[Span] = ()) -> bool:
        """Commit; on refusal undo, forget everything and return False."""
        if not offsets:
            return True
        try:
            await self._consumer.commit({key: OffsetAndMetadata(*value) for key, value in offsets.items()})
        except (CommitFailedError, IllegalStateError) as error:
            self._log.warning(
                "commit refused, the partitions are moving; records will be read again", reason=str(error)
            )
            if spans := list(undo):
                await self._target.rollback(spans)
            await self._forget()
            return False
        except KafkaError as error:
            raise BrokerError(f"cannot commit offsets: {error}") from error
        return True

    async def _forget(self) -> None:
        """Drop everything since the last commit; nothing is ours until the next assignment."""
        await self._target.discard(list(self._partitions))
        self._partitions = {}
        self._generation += 1
        self._pending_records = self._pending_bytes = 0

    # --- partitions come and go ----------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Write what is there, as long as that does not take too long (called by the consumer)."""
        timer = asyncio.get_running_loop().call_later(REVOKE_SECONDS, self._give_up.set)
        try:
            async with self._turn:
                if self._fault is None and self._partitions:
                    await self._flush()
                await self._forget()
                self._given = None
                self.assigned(False)
        except Exception as error:  # noqa: BLE001 aiokafka would only log it; the loop raises it
            self._fault = error
        finally:
            timer.cancel()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Leave a note for the loop (called by the consumer)."""
        self._give_up.clear()
        self._given = set(assigned)

    async def _begin(self, ours: set[TopicPartition]) -> None:
        self._given = None
        self._generation += 1
        await self._target.survey(ours)
        found = await committed(self._consumer, ours)
        if not await self._commit({key: (commit.offset, commit.metadata) for key, commit in found.items()}):
            return
        commits = {
            key: Commit(found[key].offset, found[key].metadata) if key in found else None for key in sorted(ours)
        }
        planned = await self._target.assign(commits)
        try:
            ends = await self._consumer.end_offsets(list(planned)) if planned else {}
        except KafkaError as error:
            raise BrokerError(f"cannot ask the broker for the ends of partitions: {error}") from error
        new = ours - found.keys()
        starts = await self._beginnings(new) if new else {}
        self._partitions = {}
        for key, commit in commits.items():
            offset = commit.offset if commit is not None else starts[key]
            # A log that ends before the plan does has been cut by its broker: nothing more will come for the plan.
            last = min(planned.get(key, -1), ends.get(key, 0) - 1)
            self._partitions[key] = Progress(offset, offset, last if last >= offset else None, known=commit is not None)
            self._consumer.seek(key, offset)
        self._log.info("assigned", partitions=len(commits), planned=len(planned))
        self.assigned(True)

    # --- figures -------------------------------------------------------------------------------------------

    @property
    def lag(self) -> int:
        """Records that are known to be on the broker and not committed by this process."""
        behind = 0
        for key, progress in self._partitions.items():
            end = self._consumer.highwater(key) if key in self._consumer.assignment() else None
            if end is not None:
                behind += max(end - progress.committed, 0)
        return behind

    def status(self) -> dict[str, Any]:
        """Return the figures of ``/status``."""
        return {
            "records": self.records,
            "batches": self.batches,
            "pending": self._pending_records,
            "lag": self.lag,
            "partitions": len(self._partitions),
            "duplicates_skipped": self.duplicates_skipped,
            "lost": self.lost,
            "dead_letters": self._reader.refused,
            "last_commit_time": self.last_commit_time,
            **self._target.status(),
        }
