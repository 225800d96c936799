"""Worker: Faust's agents, the partitions' state, and the publisher."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faust.types import TP

from alphapulse import metrics, topics, tracing
from alphapulse.clock import Clock
from alphapulse.config import KafkaSettings, Settings
from alphapulse.errors import BrokerError, RecordRefused
from alphapulse.instruments import instrument_key
from alphapulse.kafka import tell_loss
from alphapulse.kafka.client import unusable
from alphapulse.kafka.tail import ends_of
from alphapulse.service import Service
from schemas.codec import Codec
from schemas.records import Depth, Event, L2Update, Record, Trade
from schemas.refusals import lost_records, refuse
from stream_processors.engine.app import ProcessorsApp, add_agent
from stream_processors.engine.deliveries import Batch
from stream_processors.engine.ownership import RESTORE_CLIENT, OwnedPartition, Ownership
from stream_processors.engine.publisher import Outputs
from stream_processors.engine.traces import RecordTraces, Traced
from stream_processors.processing.arbitrage import ArbitrageRules
from stream_processors.processing.instrument import SERVICE, Rules
from stream_processors.processing.partition import Partition

SLICE = 200
"""Records applied before the event loop gets a turn."""

TICK_SECONDS = 0.1

DEPTH_GRID_NS = 2_000_000
"""Due books are published at multiples of this time, so that close ones are published together."""

STOP_SECONDS = 10.0
"""Shorter than the service's grace period."""

LEAST_DRAIN_SECONDS = 1.0
"""Time to read at least the ends of the inputs, so that unread records can be counted."""
DRAIN_POLL_SECONDS = 0.02
FAR_NS = 3_600_000_000_000

CUTS = 5
CUT_SECONDS = 0.5

Apply = Callable[[Partition, int, Any, int, list[Record]], None]

INPUTS: dict[str, tuple[type[Record], Apply]] = {
    topics.L2: (L2Update, Partition.apply_l2),
    topics.TRADES: (Trade, Partition.apply_trade),
    topics.DEPTH: (Depth, Partition.apply_depth),
}

TOPICS = (
    *INPUTS,
    topics.CANDLES,
    topics.STATS,
    topics.ARBITRAGE,
    topics.EVENTS,
    topics.DEAD_LETTERS,
    topics.PROCESSORS_STATE,
)
"""All topics that a worker reads or writes."""


class Worker:
    """One process of the stream processors.

    Attributes:
        ownership: its partitions.
        records: records applied since the start.
        dead_letters: records that could not be decoded, since the start.
        lost: records the broker dropped before they were read, since the start.
        unread: records by topic that were on the broker when the worker was asked to stop, and have not been applied.
    """

    def __init__(self, service: Service, codec: Codec | None = None, clock: Callable[[], int] | None = None) -> None:
        settings = service.settings
        self._service = service
        self._kafka = settings.kafka
        self._bootstrap = settings.kafka.bootstrap
        self._drain_seconds = settings.processors.drain_seconds
        self._log = service.log
        self._codec = codec if codec is not None else Codec()
        self._outputs = Outputs(self._codec)
        self._clock = clock if clock is not None else Clock()
        self.ownership = Ownership(
            settings,
            rules_of(settings),
            arbitrage_rules_of(settings),
            self._codec,
            self._outputs,
            taken_over=self._taken_over,
            publish=self._publish,
            clock=self._clock,
        )
        self._decoders = {topic: self._codec.decoder(kind) for topic, (kind, _) in INPUTS.items()}
        self._processed = {topic: metrics.PROCESSED.labels(topic) for topic in INPUTS}
        self._ages = {topic: metrics.PROCESSING_AGE.labels(topic) for topic in INPUTS}
        self._traces = RecordTraces(service.tracer, self.group) if service.tracer is not None else None
        # Dead letters about to be published → the headers that they keep.
        self._kept: dict[int, tracing.Headers] = {}
        self._depth_alarm = asyncio.Event()
        self._depth_timer: asyncio.TimerHandle | None = None
        self._depth_due = 0
        self.records = 0
        self.dead_letters = 0
        self.lost = 0
        self.unread: Counter[str] = Counter()
        self._worked = False
        self.app = ProcessorsApp(settings, self.ownership)
        add_agent(self.app, tuple(INPUTS), self._process)

    async def run(self) -> None:
        """Process until the service is asked to stop, then to the ends of the inputs at that time.

        Raises:
            BrokerError: the broker cannot be reached or refuses.
            Exception: the failure of a part of the worker.
        """
        service, app = self._service, self.app
        others = asyncio.all_tasks()
        stop = asyncio.create_task(service.stopping.wait())
        starting = asyncio.create_task(app.start())
        tasks: list[asyncio.Task[Any]] = []
        try:
            await asyncio.wait({stop, starting}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                _check_start(starting, service.settings.kafka)
                works = (
                    self._outputs.run(app.client),
                    self.ownership.run(),
                    self._tick(TICK_SECONDS, Partition.tick),
                    self._publish_depths(),
                    app.wait_for_crash(),
                )
                tasks = [asyncio.create_task(work) for work in works]
                # Each of them ends only by a failure.
                await asyncio.wait({stop, *tasks}, return_when=asyncio.FIRST_COMPLETED)
                if not any(task.done() for task in tasks):
                    draining = asyncio.create_task(self._drain())
                    await asyncio.wait({draining, *tasks}, return_when=asyncio.FIRST_COMPLETED)
                    tasks.append(draining)
        finally:
            service.ready = False
            self.ownership.closing = stop.done()
            stopped = await self._stop_app(others)
            for task in (stop, starting, *tasks):
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise self._told(result) from result
        if not stopped:
            raise BrokerError(f"the broker at {self._bootstrap} does not answer; its clients were cancelled")
        if app.crash_reason is not None:
            raise self._told(app.crash_reason) from app.crash_reason

    def _told(self, reason: BaseException) -> BaseException:
        """Return the app's failure as an error for the service: a client that gives up means a lost broker."""
        if isinstance(reason, KafkaError):
            return BrokerError(f"the broker at {self._bootstrap}: {reason!r}")
        return reason

    @property
    def group(self) -> str:
        """Consumer group of the stream processors."""
        return self._service.settings.processors.group

    @property
    def published(self) -> dict[str, int]:
        """Records acknowledged by the broker since the start, by topic."""
        return dict(self._outputs.published)

    def lag(self) -> dict[str, int]:
        """Return topic → records in this worker's partitions not applied yet, as last reported."""
        waiting = dict.fromkeys(INPUTS, 0)
        for (topic, number), end in self.app.ends().items():
            owned = self.ownership.partitions.get(number)
            if owned is not None and topic in waiting:
                waiting[topic] += max(0, end - owned.state.positions.get(topic, 0))
        return waiting

    async def _drain(self) -> None:
        """Read to the current ends of the inputs, then to the end of the resulting ``md.depth``, as time allows.

        A worker that was starved, or stopped as a process, may be about to lose its partitions when it is asked to
        stop: it reads to the end before it learns of that, and its commits are refused. Then it reads again what it is
        assigned next.
        """
        if not self._worked:
            return  # it has no partitions yet, and others may have them
        began = time.monotonic()
        deadline = began + self._drain_seconds
        ends: dict[TopicPartition, int] = {}
        try:
            async with asyncio.timeout(max(self._drain_seconds, LEAST_DRAIN_SECONDS)):
                ends = await self._ends(INPUTS)
            async with asyncio.timeout(deadline - time.monotonic()):
                while not await self._drained(ends):
                    await asyncio.sleep(DRAIN_POLL_SECONDS)
                    await self.ownership.settled.wait()
                    ends |= await self._ends(INPUTS)
        except TimeoutError:
            self._log.warning("no time to read to the end", seconds=self._drain_seconds)
        except BrokerError as error:
            self._log.warning("cannot read to the end", reason=str(error))
        self.unread = self._unread(ends)
        self._log.info("drained", seconds=round(time.monotonic() - began, 3), unread=dict(self.unread))

    async def _drained(self, ends: dict[TopicPartition, int]) -> bool:
        """Read to ``ends``, then to the ends of the results; return whether all of it could be committed."""
        tenure = self.ownership.tenure
        await self._read_to(ends)
        self._tick_all(Partition.tick_depth, self._clock() + FAR_NS)
        await self._outputs.flush()
        ends |= await self._ends((topics.DEPTH,))
        await self._read_to(ends)
        if self.ownership.tenure != tenure or not self.ownership.settled.is_set():
            return False
        await self.app.consumer.commit()
        committed = {topic: self.app.committed(topic) for topic in INPUTS}
        return self.ownership.tenure == tenure and all(
            committed[topic].get(number, 0) >= end
            for (topic, number), end in ends.items()
            if end and number in self.ownership.partitions
        )

    async def _ends(self, wanted: Iterable[str]) -> dict[TopicPartition, int]:
        """Return the current end offsets of this worker's partitions of the topics."""
        partitions = [TopicPartition(topic, number) for number in self.ownership.partitions for topic in wanted]
        if not partitions:
            return {}
        return await ends_of(self._kafka, partitions, client_id=RESTORE_CLIENT)

    async def _read_to(self, ends: Mapping[TopicPartition, int]) -> None:
        while self._unread(ends):  # noqa: ASYNC110 positions change with every slice of records
            await asyncio.sleep(DRAIN_POLL_SECONDS)

    def _unread(self, ends: Mapping[TopicPartition, int]) -> Counter[str]:
        """Return topic → records below ``ends`` not applied, for partitions still assigned to this worker."""
        unread: Counter[str] = Counter()
        for (topic, number), end in ends.items():
            if (owned := self.ownership.partitions.get(number)) is not None:
                unread[topic] += max(end - owned.state.positions.get(topic, 0), 0)
        return +unread

    async def _stop_app(self, others: set[asyncio.Task[Any]]) -> bool:
        """Stop the app; if its clients wait for ever for an unavailable broker, cancel all tasks but ``others``."""
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.app.stop()
        except TimeoutError:
            self._log.error("the clients did not stop; cancelled", seconds=STOP_SECONDS)
            # Faust's supervisors restart after a cancellation: one is not enough.
            for _ in range(CUTS):
                left = asyncio.all_tasks() - others - {asyncio.current_task()}
                for task in left:
                    task.cancel()
                if left:
                    await asyncio.wait(left, timeout=CUT_SECONDS)
            return False
        return True

    def _taken_over(self) -> None:
        self._worked = self._service.ready = True
        # Each book taken over is published once.
        self._depth_alarm.set()

    # --- input ---

    async def _process(self, tp: TP, batch: Batch) -> None:
        """Apply a batch, and acknowledge it unless its partition was revoked meanwhile."""
        tenure = self.ownership.tenure
        owned = self.ownership.partitions.get(tp.partition)
        if owned is None:
            return
        _, apply = INPUTS[tp.topic]
        records = batch.records
        self._check_loss(owned.state, tp.topic, records[0].offset)
        for start in range(0, len(records), SLICE):
            part = records[start : start + SLICE]
            self._apply(owned, tp.topic, part, apply)
            self._expect_depth(owned.state.depth_due())
            await self._outputs.ebb()
            if start + SLICE < len(records):
                await asyncio.sleep(0)
            if self.ownership.tenure != tenure:
                return
        self.ownership.grown(owned)
        batch.acked = True

    def _apply(self, owned: OwnedPartition, topic: str, records: Sequence[Any], apply: Apply) -> None:
        state = owned.state
        out: list[Record] = []
        clock, decode = self._clock, self._decoders[topic]
        traced = self._traces.begin(topic, records) if self._traces is not None else None
        last: Any = None
        for record in records:
            offset = record.offset
            if offset < state.positions.get(topic, 0):
                continue
            try:
                decoded = decode(record.value if record.value is not None else b"")
            except RecordRefused as error:
                if not state.muted(topic, offset):
                    self._refuse(record, error, out)
                    if traced is not None and offset in traced:
                        traced[offset].end(error=str(error))
            else:
                # One clock reading per record: the process may be paused between two, and later books must not count
                # as fresh.
                made = len(out)
                apply(state, offset, decoded, clock(), out)
                if traced is not None:
                    self._note_trace(traced, state, topic, offset, decoded, out[made:])
                last = decoded
            state.positions[topic] = offset + 1
            owned.unsaved_bytes += len(record.value or b"")
        self.records += len(records)
        self._processed[topic].inc(len(records))
        if last is not None:
            self._ages[topic].observe((clock() - last.received_time) / 1e9)
        self._publish(out)

    def _refuse(self, record: Any, error: RecordRefused, out: list[Record]) -> None:
        self.dead_letters += 1
        letter = refuse(record, error, service=SERVICE, time=time.time_ns())
        if record.headers and (kept := tracing.kept(record.headers)) is not None:
            self._kept[id(letter)] = kept
        out.append(letter)

    def _note_trace(
        self, traced: Traced, state: Partition, topic: str, offset: int, record: Record, made: list[Record]
    ) -> None:
        """Note what the record at ``offset`` made, if it is traced; an earlier owner's trace of it is complete."""
        if self._traces is not None and offset in traced and not state.muted(topic, offset):
            self._traces.applied(traced[offset], record, made)

    def _check_loss(self, state: Partition, topic: str, first: int) -> None:
        """Count records dropped by the broker before they were read: without compaction every jump is a loss."""
        expected = state.positions.get(topic)
        if expected is None or first <= expected:
            return
        offsets = range(expected, first)
        self.lost += len(offsets)
        tell_loss(TopicPartition(topic, state.number), offsets)
        self._publish([lost_records(topic, state.number, offsets, service=SERVICE, time=time.time_ns())])

    # --- output ---

    def _publish(self, made: list[Record]) -> None:
        traces = self._traces
        for record in made:
            if isinstance(record, Event) and record.kind == "gap":
                metrics.PROCESSED_GAPS.labels(record.venue).inc()
            span = traces.of(record) if traces is not None else None
            try:
                if span is not None:
                    self._outputs.put(record, span.headers, span.placed)
                else:
                    self._outputs.put(record, self._kept.pop(id(record), None) if self._kept else None)
            except RecordRefused as error:
                # A sum or a scaled price beyond 64 bits: not representable on the wire.
                with tracing.logged(span.headers if span is not None else ()):
                    self._log.error("output record refused", reason=str(error))
                if span is not None:
                    span.end(error=str(error))
                metrics.DEAD_LETTERS.labels(SERVICE, type(error).__name__).inc()
                self._outputs.put(
                    Event(
                        time=time.time_ns(),
                        service=SERVICE,
                        kind="record_refused",
                        severity="ERROR",
                        message=str(error),
                    )
                )

        if traces is not None and traces.waiting:
            traces.settle(self._depth_is_pending)

    def _depth_is_pending(self, venue: str, symbol: str) -> bool:
        key = instrument_key(venue, symbol)
        return any(
            (found := owned.state.instruments.get(key)) is not None and found.depth.pending
            for owned in self.ownership.partitions.values()
        )

    def _expect_depth(self, due: int | None) -> None:
        """Schedule a check at ``due`` (clock, nanoseconds), or earlier, for books whose intervals are over."""
        if due is None:
            return
        due += -due % DEPTH_GRID_NS
        if self._depth_timer is not None:
            if self._depth_due <= due:
                return
            self._depth_timer.cancel()
        self._depth_due = due
        delay = max(0, due - self._clock()) / 1e9
        self._depth_timer = asyncio.get_running_loop().call_later(delay, self._depth_alarm.set)

    async def _publish_depths(self) -> None:
        """Publish the books whose interval is over without a further record; sleep until the next one is due."""
        out: list[Record] = []
        while True:
            await self._depth_alarm.wait()
            self._depth_alarm.clear()
            if self._depth_timer is not None:
                self._depth_timer.cancel()
                self._depth_timer = None
            now = self._clock()
            states = [owned.state for owned in self.ownership.partitions.values()]
            for state in states:
                state.tick_depth(now, out)
            self._publish(out)
            out.clear()
            dues = (state.depth_due() for state in states)
            self._expect_depth(min((due for due in dues if due is not None), default=None))

    async def _tick(self, seconds: float, tick: Callable[[Partition, int, list[Record]], None]) -> None:
        """Publish what is due in every partition, repeatedly."""
        while True:
            await asyncio.sleep(seconds)
            self._tick_all(tick, self._clock())

    def _tick_all(self, tick: Callable[[Partition, int, list[Record]], None], now: int) -> None:
        out: list[Record] = []
        for owned in self.ownership.partitions.values():
            tick(owned.state, now, out)
        self._publish(out)


def _check_start(starting: asyncio.Task[None], settings: KafkaSettings) -> None:
    try:
        starting.result()
    except KafkaError as error:
        raise unusable(settings, error) from error


def rules_of(settings: Settings) -> Rules:
    """Return the processing rules of instruments."""
    processors = settings.processors
    return Rules(
        depth_levels=processors.depth_levels,
        depth_interval=processors.depth_interval_ms * 1_000_000,
        stats_interval=processors.stats_interval_s * 1_000_000_000,
        candle_intervals=tuple(seconds * 1_000_000_000 for seconds in sorted(processors.candle_intervals_s)),
        candle_lateness=int(processors.candle_lateness_s * 1_000_000_000),
    )


def arbitrage_rules_of(settings: Settings) -> ArbitrageRules:
    """Return the arbitrage rules."""
    return ArbitrageRules(
        fees={name: venue.taker_fee_basis_points for name, venue in settings.venues.items()},
        least_basis_points=Decimal(str(settings.processors.arbitrage_min_net_basis_points)),
        max_book_age=settings.freshness.max_book_age_ms * 1_000_000,
    )
