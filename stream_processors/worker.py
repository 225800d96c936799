"""The worker: agents on one side, outputs on the other, partitions in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from faust.types import TP

from alphapulse import metrics, topics
from alphapulse.errors import RecordRefused
from alphapulse.service import Service
from schemas.codec import Codec
from schemas.records import DeadLetter, L2Update, Record
from stream_processors.app import ProcessorsApp, add_agents
from stream_processors.instrument import SERVICE, Rules
from stream_processors.outputs import Outputs
from stream_processors.partition import InstrumentPartition

SLICE = 200
"""Records applied before the event loop has its turn."""

Apply = Callable[[InstrumentPartition, int, Any, int, list[Record]], None]


class Worker:
    """One process of the stream processors."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._settings = service.settings
        self._log = service.log
        self._codec = Codec()
        self._outputs = Outputs(self._codec)
        self._rules = rules(self._settings)
        self.partitions: dict[int, InstrumentPartition] = {}
        self._tenure = 0
        self.records = 0
        self.dead_letters = 0
        self._app = ProcessorsApp(self._settings, self)
        add_agents(self._app, {topics.L2: self._on_l2})

    async def run(self) -> None:
        """Process until the service is asked to stop."""
        service, app = self._service, self._app
        starting = asyncio.create_task(app.start())
        stop = asyncio.create_task(service.stopping.wait())
        tasks: list[asyncio.Task[None]] = []
        try:
            await asyncio.wait({starting, stop}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                tasks.append(asyncio.create_task(self._outputs.run(app.client)))
                tasks.append(asyncio.create_task(self._tick()))
                crashed = asyncio.create_task(app.wait_for_crash())
                await asyncio.wait({stop, crashed, *tasks}, return_when=asyncio.FIRST_COMPLETED)
                crashed.cancel()
        finally:
            stop.cancel()
            await app.stop()
            for task in tasks:
                task.cancel()
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()
        if app.crash_reason is not None:
            raise app.crash_reason

    # --- input ---

    async def _on_l2(self, event: Any) -> None:
        await self._process(event, L2Update, InstrumentPartition.apply_l2)

    async def _process(self, event: Any, kind: type[Any], apply: Apply) -> None:
        tp, batch = event.message.tp, event.message.value
        tenure = self._tenure
        partition = self.partitions.get(tp.partition)
        if partition is None:
            return
        records = batch.records
        out: list[Record] = []
        for start in range(0, len(records), SLICE):
            now = time.monotonic_ns()
            for record in records[start : start + SLICE]:
                offset = record.offset
                if offset < partition.positions.get(tp.topic, 0):
                    continue
                try:
                    decoded = self._codec.decode_as(kind, record.value)
                except RecordRefused as error:
                    out.append(self._refuse(record, error))
                else:
                    apply(partition, offset, decoded, now, out)
                partition.positions[tp.topic] = offset + 1
            self.records += len(records)
            for made in out:
                self._outputs.put(made)
            out.clear()
            await self._outputs.ebb()
            await asyncio.sleep(0)
            if self._tenure != tenure:
                return
        event.message.ack(self._app.consumer)

    def _refuse(self, record: Any, error: RecordRefused) -> DeadLetter:
        self.dead_letters += 1
        metrics.DEAD_LETTERS.labels(SERVICE, type(error).__name__).inc()
        return DeadLetter(
            time=time.time_ns(),
            service=SERVICE,
            source=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            value=record.value or b"",
            error=type(error).__name__,
            reason=str(error),
        )

    # --- what the transport asks (transport.Listener) ---

    async def positions(self, committed: Mapping[TP, int | None], generation: int) -> Mapping[TP, int]:
        self._tenure += 1
        for tp in committed:
            self.partitions.setdefault(tp.partition, InstrumentPartition(tp.partition, self._rules))
        self._service.ready = True
        return {}

    async def before_commit(self) -> None:
        await self._outputs.flush()

    async def before_leaving(self) -> None:
        self._tenure += 1

    async def _tick(self) -> None:
        out: list[Record] = []
        while True:
            await asyncio.sleep(0.01)
            now = time.monotonic_ns()
            for partition in self.partitions.values():
                partition.tick(now, out)
            for made in out:
                self._outputs.put(made)
            out.clear()


def rules(settings: Any) -> Rules:
    """Return the rules in ``settings``."""
    processors = settings.processors
    return Rules(depth_levels=processors.depth_levels, depth_interval=processors.depth_interval_ms * 1_000_000)
