"""Ownership of partitions: takeover, checkpoints, handover.

:mod:`stream_processors.checkpoints.checkpoint` describes the checkpoints. A partition that stays with this worker over
a rebalance keeps its state in memory, unless a generation was missed in between: then another worker may have
processed it.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiokafka import TopicPartition
from faust.types import TP

from alphapulse import logs, metrics, topics
from alphapulse.config import Settings
from alphapulse.errors import BrokerError, RecordRefused
from alphapulse.kafka.tail import TailReader, tail_reader
from schemas.checkpoints import Positions, Unreadable
from schemas.codec import Codec
from schemas.records import ArbitrageOpportunity, Depth, Event, Record
from stream_processors.checkpoints.checkpoint import CheckpointLedger, Restored, interpret
from stream_processors.engine.publisher import Outputs
from stream_processors.processing.arbitrage import ArbitrageRules
from stream_processors.processing.instrument import SERVICE, Rules
from stream_processors.processing.partition import INPUTS, Partition

CHECK_SECONDS = 0.25
"""Interval of checks for due checkpoints; one due to the bytes read is written at once."""

HANDOVER_SECONDS = 5.0
"""Maximum delay of a rebalance by this worker's last checkpoint."""
RESTORE_CLIENT = "alphapulse-processors-restore"
"""Client id of the reader of state and ends."""
DERIVED = (topics.CANDLES, topics.STATS, topics.ARBITRAGE)
"""Candles, windows and opportunities published by an earlier owner are read back from these topics."""


class OwnedPartition:
    """A partition and the data for its checkpoints.

    Attributes:
        state: state of the partition.
        read_back: topic → one past the newest offset read back at takeover.
        unsaved_bytes: bytes read since the last checkpoint.
    """

    def __init__(self, state: Partition) -> None:
        self.state = state
        self.ledger = CheckpointLedger()
        self.read_back: Positions = {}
        self.unsaved_bytes = 0
        self.saved_at = time.monotonic()

    @property
    def unsaved(self) -> bool:
        """Whether records were applied since the last checkpoint."""
        return self.state.positions != self.ledger.positions

    def due(self, now: float, interval: float, most_bytes: int) -> bool:
        """Return whether a checkpoint is due."""
        return self.unsaved and (self.unsaved_bytes >= most_bytes or now - self.saved_at >= interval)


class Ownership:
    """All partitions of this worker; the transport's listener.

    Attributes:
        partitions: by number.
        tenure: incremented by every rebalance; work begun in an earlier one must stop.
        settled: set while no rebalance is in progress.
        closing: whether the process is stopping: open windows and candles are published as they are.

    Args:
        taken_over: called after each rebalance, when the partitions are ready to be processed.
        publish: publishes records.
        clock: nanoseconds since the Unix epoch, monotonic.
    """

    def __init__(
        self,
        settings: Settings,
        rules: Rules,
        arbitrage: ArbitrageRules,
        codec: Codec,
        outputs: Outputs,
        taken_over: Callable[[], None],
        publish: Callable[[list[Record]], None],
        clock: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._arbitrage = arbitrage
        self._codec = codec
        self._outputs = outputs
        self._log = logs.get(SERVICE)
        self._generation: int | None = None
        self.partitions: dict[int, OwnedPartition] = {}
        self.tenure = 0
        self.settled = asyncio.Event()
        self.closing = False
        self._grown = asyncio.Event()
        self._taken_over = taken_over
        self._publish = publish
        self._clock = clock

    # --- the transport's callbacks (transport.RebalanceListener) ---

    async def positions(self, committed: Mapping[TP, int | None], generation: int) -> Mapping[TP, int]:
        """Take over the assigned partitions; see :class:`~stream_processors.engine.transport.RebalanceListener`."""
        self.tenure += 1
        numbers = {tp.partition for tp in committed}
        consecutive = self._generation is not None and generation - self._generation in (0, 1)
        self.partitions = {n: owned for n, owned in self.partitions.items() if consecutive and n in numbers}
        new = sorted(numbers - self.partitions.keys())
        taken = await self._take_over(new, committed)
        self.partitions.update(taken)
        self._generation = generation
        if new:
            self._log.info("partitions taken over", partitions=new, books=self.books)
        self.settled.set()
        self._taken_over()
        return {
            TP(topic, number): position
            for number, owned in self.partitions.items()
            for topic, position in owned.state.positions.items()
        }

    async def before_commit(self) -> None:
        """Wait until everything published is acknowledged."""
        await self._outputs.flush()

    async def before_leaving(self) -> None:
        """Checkpoint everything, so that the next owners can continue from here."""
        self.tenure += 1
        self.settled.clear()
        if self.closing:
            out: list[Record] = []
            for one in self.partitions.values():
                one.state.flush(self._clock(), out)
            self._publish(out)
        owned = [one for one in self.partitions.values() if self.closing or one.unsaved]
        try:
            async with asyncio.timeout(HANDOVER_SECONDS):
                await self._checkpoint(owned)
                await self._outputs.flush()
        except (BrokerError, TimeoutError) as error:
            # Not essential: the next owner starts from the previous checkpoint.
            self._log.warning("no checkpoint at handover", reason=repr(error))

    @property
    def books(self) -> int:
        """Number of instruments."""
        return sum(len(owned.state.instruments) for owned in self.partitions.values())

    # --- checkpoints ---

    def checkpoint_age(self, now: float) -> float:
        """Return the age in seconds, at ``now`` (monotonic), of the oldest checkpoint that is behind its partition."""
        return max((now - owned.saved_at for owned in self.partitions.values() if owned.unsaved), default=0.0)

    async def run(self) -> None:
        """Write checkpoints when they are due, until cancelled."""
        processors = self._settings.processors
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._grown.wait()
            self._grown.clear()
            now = time.monotonic()
            due = [
                owned
                for owned in self.partitions.values()
                if owned.due(now, processors.checkpoint_interval_s, processors.checkpoint_bytes)
            ]
            await self._checkpoint(due)

    def grown(self, owned: OwnedPartition) -> None:
        """Handle the application of records to ``owned``."""
        if owned.unsaved_bytes >= self._settings.processors.checkpoint_bytes:
            self._grown.set()

    async def _checkpoint(self, due: Collection[OwnedPartition]) -> None:
        """Copy the state of each partition at once, and publish it when everything before is acknowledged."""
        ends = self._outputs.ends
        taken: list[tuple[int, list[tuple[bytes, bytes]]]] = []
        for owned in due:
            number = owned.state.number
            published = owned.read_back | {topic: ends[topic, number] for topic in DERIVED if (topic, number) in ends}
            if owned.state.rereading:
                # The books up to which pairs were judged are needed again if this owner ends, too.
                published.pop(topics.ARBITRAGE, None)
            taken.append((number, owned.ledger.take(owned.state, self._codec, published)))
            owned.unsaved_bytes = 0
            owned.saved_at = time.monotonic()
        if not taken:
            return
        await self._outputs.flush()
        for number, records in taken:
            for key, value in records:
                self._outputs.put_raw(topics.PROCESSORS_STATE, key, value, number)
                metrics.CHECKPOINT_BYTES.inc(len(value))
            metrics.CHECKPOINTS.inc()

    # --- taking over ---

    async def _take_over(
        self, numbers: Collection[int], committed: Mapping[TP, int | None]
    ) -> dict[int, OwnedPartition]:
        if not numbers:
            return {}
        wanted = (*INPUTS, topics.PROCESSORS_STATE, *DERIVED)
        partitions = [TopicPartition(topic, number) for number in numbers for topic in wanted]
        async with tail_reader(self._settings.kafka, partitions, client_id=RESTORE_CLIENT) as reader:
            return await self._read_back(reader, numbers, committed)

    async def _read_back(
        self, reader: TailReader, numbers: Collection[int], committed: Mapping[TP, int | None]
    ) -> dict[int, OwnedPartition]:
        bounds = await reader.held([TopicPartition(topic, number) for number in numbers for topic in INPUTS])
        newest: defaultdict[int, dict[bytes, bytes]] = defaultdict(dict)

        def keep(partition: TopicPartition, records: Sequence[Any]) -> None:
            newest[partition.partition].update((record.key, record.value) for record in records)

        await reader.read(await reader.held([TopicPartition(topics.PROCESSORS_STATE, n) for n in numbers]), keep)
        taken: dict[int, OwnedPartition] = {}
        starts: dict[TopicPartition, int] = {}
        for number in numbers:
            taken[number] = owned = OwnedPartition(Partition(number, self._rules, self._arbitrage))
            held = {topic: bounds[TopicPartition(topic, number)] for topic in INPUTS}
            commits = {topic: committed.get(TP(topic, number)) for topic in INPUTS}
            restored = self._interpret(number, newest[number], held)
            if restored is not None:
                self._restore(owned, restored)
            # Without checkpoint and commit, too: an earlier owner may have been killed after it published and before it
            # wrote either.
            self._set_positions(owned.state, held, commits)
            owned.state.begin_rereading(held[topics.DEPTH].stop, self._clock())
            for topic in DERIVED:
                starts[TopicPartition(topic, number)] = owned.ledger.published.get(topic, 0)
        spans = {
            partition: range(max(starts[partition], held.start), held.stop)
            for partition, held in (await reader.held(starts)).items()
        }
        await reader.read(spans, lambda partition, records: self._note_published(taken, partition, records))
        return taken

    def _interpret(self, number: int, newest: Mapping[bytes, bytes], bounds: Mapping[str, range]) -> Restored | None:
        try:
            restored = interpret(newest)
        except Unreadable as error:
            self._tell(number, f"checkpoint cannot be read: {error}; reading the partition from its oldest record")
            return None
        if restored is None:
            return None
        beyond = {topic: at for topic, at in restored.positions.items() if topic in bounds and at > bounds[topic].stop}
        if beyond:
            self._tell(
                number,
                f"checkpoint ignored: {beyond} are past the ends of the topics, which were recreated",
            )
            return None
        for key, reason in restored.lost.items():
            self._tell(number, f"checkpoint of {key}: {reason}; reading again from further back")
        return restored

    def _restore(self, owned: OwnedPartition, restored: Restored) -> None:
        now = self._clock()
        state = owned.state
        for instrument in restored.instruments.values():
            state.restore_instrument(instrument, now)
        for symbol in restored.symbols.values():
            state.restore_symbol(
                symbol.symbol,
                [self._codec.decode_as(Depth, book) for book in symbol.books],
                [self._codec.decode_as(ArbitrageOpportunity, made) for made in symbol.opportunities],
                symbol.positions,
            )
        state.positions = dict(restored.positions)
        owned.ledger.published = dict(restored.published)

    @staticmethod
    def _set_positions(state: Partition, bounds: Mapping[str, range], commits: Mapping[str, int | None]) -> None:
        """Set the start of each input: the checkpoint's position, else its oldest record."""
        for topic, held in bounds.items():
            state.positions[topic] = state.positions.get(topic, 0) or held.start
            state.muted_until[topic] = min(commits[topic] or 0, held.stop)

    def _note_published(
        self, taken: Mapping[int, OwnedPartition], partition: TopicPartition, records: Sequence[Any]
    ) -> None:
        owned = taken[partition.partition]
        for record in records:
            try:
                owned.state.was_published(self._codec.decode(record.value))
            except RecordRefused as error:
                self._log.warning("published record cannot be read", topic=partition.topic, reason=str(error))
        owned.read_back[partition.topic] = records[-1].offset + 1

    def _tell(self, number: int, message: str) -> None:
        self._log.warning(message, partition=number)
        event = Event(
            time=time.time_ns(),
            service=SERVICE,
            kind="checkpoint",
            severity="WARNING",
            message=message,
            details={"partition": str(number)},
        )
        self._publish([event])
