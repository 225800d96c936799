"""Succession of a collector's processes: one publishes, its successor takes over without a gap.

:mod:`producers.collector.ownership` decides who publishes; this module reads and writes its topic, hands over books and
trades (:mod:`producers.feed.continuation`) and moves the gate before the publisher
(:mod:`producers.collector.record_gate`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from alphapulse import kafka, topics
from alphapulse.config import HandoverSettings, KafkaSettings
from alphapulse.errors import BrokerError
from alphapulse.service import Stopped
from producers.collector.catch_up import CatchUp
from producers.collector.collector import Collector
from producers.collector.dedupe import KnownTrades
from producers.collector.holder import Holder
from producers.collector.ownership import (
    Asked,
    HandedOver,
    Ownership,
    OwnershipRecord,
    Released,
    Role,
    Yielded,
    pack,
    unpack,
)
from producers.collector.pool import Pool
from producers.collector.record_gate import RecordGate
from producers.feed.continuation import HandedInstrument, HandedTrades
from producers.feed.protocol import VenueProtocol
from schemas.records import L2Update, Trade

LOOK_SECONDS: Final = 1.0
"""Maximum interval between two decisions; records of the topic cause one at once."""
LEAVING_SECONDS: Final = 0.1
"""The same while the process wants to end."""
FETCH_WAIT_MS: Final = 500
"""How long the broker may hold back an empty answer: the topic is nearly always silent."""
GROUP_BOOKS: Final = 32
GROUP_LEVELS: Final = 20_000
"""Books and levels handed over at once. A book pauses until all of its group are encoded and sent."""
ACKNOWLEDGED_SECONDS: Final = 0.002
"""Poll interval for acknowledgements while books pause."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a collector's ownership is decided.

    Attributes:
        place: the partition of the topic.
        key: prefix of the keys of its records.
    """

    place: TopicPartition
    key: str


def desk_of(venue: str, service: str, partitions: Iterable[int]) -> Desk:
    """Return the desk of the collector ``service`` of ``venue``; ``partitions``: the topic's."""
    key, numbers = f"{venue}|{service}", sorted(partitions)
    return Desk(TopicPartition(topics.COLLECTORS_STATE, DefaultPartitioner()(key.encode(), numbers, numbers)), key)


class Succession:
    """This process's part in the succession of one collector.

    Args:
        client: producer of the records; shared with the publisher.
        settings: the broker.
        handover: lease and patience.
        desk: see :class:`Desk`.
        holder: this process.
        gate: before the publisher.
        known: reads back the last published trades.
        log: the service's.
    """

    def __init__(
        self,
        client: kafka.NativeProducer,
        settings: KafkaSettings,
        handover: HandoverSettings,
        desk: Desk,
        holder: Holder,
        gate: RecordGate,
        known: Callable[[], Awaitable[KnownTrades]],
        log: Any,
    ) -> None:
        self.ownership = Ownership(holder.name, lease=handover.lease_s)
        self._client = client
        self._settings = settings
        self._handover = handover
        self._desk = desk
        self._holder = holder
        self._gate = gate
        self._known = known
        self._log = log
        self._consumer = kafka.native_consumer(
            settings, group_id=None, client_id=f"{holder.name}-succession", fetch_max_wait_ms=FETCH_WAIT_MS
        )
        self._consumer.assign([desk.place])
        self._loop = asyncio.get_running_loop()
        self._collector: Collector | None = None
        self._failure: BrokerError | None = None
        self._publishing = False
        self._expiry: asyncio.TimerHandle | None = None
        self._expires = 0.0
        self._handed: list[HandedOver] = []
        self._continued: set[str] = set()
        self._continuing: set[asyncio.Task[None]] = set()
        self._catch_up = CatchUp(lambda: self._pool.shards, self._loop.time)

    @property
    def _pool(self) -> Pool:
        assert self._collector is not None  # noqa: S101 given to run()
        return self._collector.pool

    # --- life ---

    async def begin(self, stopping: asyncio.Event) -> None:
        """Read the topic to its end; become the owner at once if there is none, or it is known to be dead.

        Raises:
            Stopped: ``stopping`` was set before.
            BrokerError: the broker refuses.
        """
        try:
            await self._consumer.start()
        except KafkaError as error:
            raise BrokerError(f"cannot read {topics.COLLECTORS_STATE}: {error!r}") from error
        ownership = self.ownership
        self._send(ownership.introduction(self._loop.time()))
        while not ownership.has_read_itself:
            await self._read_unless(stopping)
        while ownership.vacant(self._loop.time(), self._holder.is_dead):
            if (record := ownership.take(self._loop.time(), self._holder.is_dead)) is not None:
                self._send(record)
            await self._read_unless(stopping)
        if self._publishing:
            self._holder.clean_up()

    async def turn(self, stopping: asyncio.Event) -> None:
        """Wait until this process is the owner, or ``stopping`` is set: the venue accepts no second connection.

        Raises:
            BrokerError: the broker refuses.
        """
        stop = asyncio.create_task(stopping.wait())
        try:
            while not self._publishing and not stop.done():
                if (record := self._due()) is not None:
                    self._send(record)
                await self._read_or(stop)
        finally:
            stop.cancel()

    async def run(self, collector: Collector, stopping: asyncio.Event, leave: asyncio.Event) -> None:
        """Take part until ``stopping`` is set, then hand over if there is a successor, and set ``leave``.

        Raises:
            BrokerError: the broker refuses.
        """
        self._collector = collector
        stop = asyncio.create_task(stopping.wait())
        leave_by = float("inf")
        try:
            while True:
                await self._read_or(stop)
                now = self._loop.time()
                if stop.done():
                    leave_by = min(leave_by, now + self._handover.wait_s)
                self._continue_handed()
                await self._take_up_right()
                if await self._hand_over_to(stopping=stop.done(), last=now >= leave_by):
                    continue
                if stop.done() and (now >= leave_by or self._may_leave(now)):
                    break
                if (record := self._due()) is not None:
                    self._send(record)
        finally:
            stop.cancel()
            for task in self._continuing:
                task.cancel()
            self._catch_up.stop()
        self.ownership.leave()
        leave.set()

    async def end(self) -> None:
        """Say that this process has ended: all its records are acknowledged."""
        if self.ownership.role is Role.OWNER:
            self._send(Released(self.ownership.me))
        elif (record := self._due()) is not None:
            self._send(record)
        await self.close()
        self._holder.close()

    async def close(self) -> None:
        """Close the consumer."""
        if self._expiry is not None:
            self._expiry.cancel()
        await self._consumer.stop()

    @property
    def publishes(self) -> bool:
        """Whether this process publishes everything that it collects."""
        return self._publishing

    @property
    def told(self) -> str:
        """What this process waits for; empty: it publishes, or stands by after it has published."""
        if self.ownership.role is not Role.NEWCOMER:
            return ""
        owner = self.ownership.owner
        return f"{owner} publishes; waits for its turn" if owner is not None else "waits for its turn"

    def status(self) -> dict[str, Any]:
        """Return name and role of this process, the owner, and other processes that may take over, for ``/status``."""
        ownership = self.ownership
        return {
            "process": ownership.me,
            "role": ownership.role.value,
            "owner": ownership.owner,
            "others": ownership.company(self._loop.time()),
        }

    def _may_leave(self, now: float) -> bool:
        if self.ownership.role is Role.OWNER:
            return not self.ownership.company(now)
        return self.ownership.role is Role.NEWCOMER or self.ownership.owner is None or self.ownership.owner_works

    # --- the topic ---

    async def _read_or(self, stop: asyncio.Task[Any]) -> None:
        """Read what comes until the next record is due, or ``stop`` is done."""
        pause = min(self.ownership.next_due(self._loop.time()), LEAVING_SECONDS if stop.done() else LOOK_SECONDS)
        reading = asyncio.create_task(self._read(pause))
        events: set[asyncio.Task[Any]] = {reading} if stop.done() else {reading, stop}
        if (trying := self._catch_up.under_way) is not None:
            events.add(trying)
        await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            reading.cancel()
            await asyncio.wait({reading})
        if not reading.cancelled():
            reading.result()

    async def _read_unless(self, stopping: asyncio.Event) -> None:
        if stopping.is_set():
            raise Stopped
        await self._read(LOOK_SECONDS)

    async def _read(self, seconds: float) -> None:
        try:
            found = await self._consumer.take(None, seconds)
        except KafkaError as error:
            raise BrokerError(f"cannot read {topics.COLLECTORS_STATE}: {error!r}") from error
        if self._failure is not None:
            raise self._failure
        now = self._loop.time()
        for message in found.get(self._desk.place, ()):
            key = (message.key or b"").decode("utf-8", "replace")
            if key != self._desk.key and not key.startswith(f"{self._desk.key}|"):
                continue
            record = unpack(message.value or b"")
            if record is None:
                continue
            if isinstance(record, HandedOver) and self.ownership.may_continue(record, now):
                self._handed.append(record)
            self.ownership.read(record, message.offset, now)
        self._follow_right()

    def _due(self) -> OwnershipRecord | None:
        ownership = self.ownership
        symbols: set[str] = set()
        good: list[str] = []
        if ownership.role is not Role.OWNER and self._collector is not None:
            symbols = self._collector.symbols
            good = self._good_books()
        return ownership.due(self._loop.time(), symbols, good, self._holder.is_dead)

    def _good_books(self) -> list[str]:
        pool = self._pool
        return [s for s in pool.symbols() if (found := pool.book_of(s)) is not None and found[1].published]

    def _send(self, record: OwnershipRecord) -> None:
        key = self._desk.key
        if isinstance(record, Asked):
            key = f"{key}|ask"
        elif isinstance(record, HandedOver):
            key = f"{key}|book|{record.instrument.symbol}"
        place = self._desk.place
        try:
            sent = self._client.send(
                place.topic, pack(record), key=key.encode(), partition=place.partition, told=self._sent
            )
        except KafkaError as error:
            raise BrokerError(f"cannot write {place.topic}: {error!r}") from error
        if not sent:
            raise BrokerError(f"cannot write {place.topic}: the client's queue is full")

    def _sent(self, error: KafkaError | None, _: float) -> None:
        if error is not None and self._failure is None:
            self._failure = BrokerError(f"the broker did not accept a record to {topics.COLLECTORS_STATE}: {error!r}")

    # --- the right to publish ---

    def _follow_right(self) -> None:
        """Open or close the gate as the ownership says; taking over is :meth:`_take_up_right`."""
        ownership, now = self.ownership, self._loop.time()
        if ownership.role is not Role.OWNER:
            if self._publishing:
                self._publishing = False
                self._gate.close()
                self._log.warning("lost the right to publish", owner=ownership.owner)
            return
        if not ownership.may_publish(now):
            return
        if not self._publishing and self._collector is None:
            self._publishing = True
            self._gate.open()
        if ownership.until > self._expires:
            self._expires = ownership.until
            if self._expiry is not None:
                self._expiry.cancel()
            self._expiry = self._loop.call_at(self._expires, self._expire)
            for symbol in self._gate.renew():
                self._begin_anew(symbol)

    def _renew(self) -> None:
        """Renew the right, if that is due, while something long is under way."""
        if self.ownership.role is Role.OWNER and (record := self._due()) is not None:
            self._send(record)

    def _expire(self) -> None:
        self._gate.expire()
        self._log.warning("right to publish not renewed in time; no book begins an epoch until it is")

    async def _take_up_right(self) -> None:
        """Publish everything, if this process has become the owner: continued books go on, others begin anew."""
        if self._publishing or not self.ownership.may_publish(self._loop.time()):
            return
        collector, pool, gate = self._collector, self._pool, self._gate
        assert collector is not None  # noqa: S101 given to run()
        if self._continuing:
            await asyncio.wait(self._continuing)
        rest = pool.symbols() - self._continued
        known = await self._known() if rest else KnownTrades({})
        for symbol in sorted(rest):
            gate.open_for((symbol,))
            self._begin_anew(symbol)
            self._continue_trades(symbol, known.take(symbol))
            await gate.room()
            self._renew()
            await asyncio.sleep(0)
        gate.open()
        self._publishing = True
        self._holder.clean_up()
        told = f"took over: {len(self._continued)} books continued, {len(rest)} begun anew"
        self._continued = set()
        collector.event_log.event("took_over", "INFO", told)
        collector.tell_state()

    def _begin_anew(self, symbol: str) -> None:
        if self._collector is None or (found := self._pool.book_of(symbol)) is None:
            return
        outputs: list[L2Update] = []
        found[1].begin_anew(outputs, self._collector.clock())
        for output in outputs:
            self._gate.publish(output)

    def _continue_trades(self, symbol: str, published: HandedTrades | Sequence[int]) -> None:
        """Publish what was held back of ``symbol`` and is not ``published``."""
        collector = self._collector
        assert collector is not None  # noqa: S101 given to run()
        held, others = self._gate.take_held(symbol)
        found = self._pool.trades_of(symbol)
        if found is not None:
            shard, stream = found
            if isinstance(published, HandedTrades):
                stream.continue_from(published)
            else:
                stream.continue_after(published)
            outputs: list[Trade] = []
            for trade in held:
                if missing := stream.again(outputs, trade):
                    collector.event_log.note(shard.protocol.trade_gap(shard.protocol.instruments[symbol], missing))
            for output in outputs:
                self._gate.publish(output)
        for other in others:
            self._gate.publish(other)

    # --- taking over ---

    def _continue_handed(self) -> None:
        """Begin to continue the instruments handed over since the last call."""
        handed, self._handed = self._handed, []
        if not handed or self._publishing:
            return
        collector = self._collector
        assert collector is not None  # noqa: S101 given to run()
        by_protocol: dict[VenueProtocol | None, list[HandedInstrument]] = {}
        for record in handed:
            found = self._pool.book_of(record.instrument.symbol)
            by_protocol.setdefault(found[0].protocol if found else None, []).append(record.instrument)
        for instruments in by_protocol.values():
            task = collector.spawn(self._continue(instruments))
            self._continuing.add(task)
            task.add_done_callback(self._continuing.discard)

    async def _continue(self, instruments: Sequence[HandedInstrument]) -> None:
        """Continue instruments of one connection as soon as it has read what the predecessor had."""
        waiting = []
        for instrument in instruments:
            found = self._pool.book_of(instrument.symbol)
            if found is None or not found[1].published or found[1].has_reached(instrument.book):
                self._continue_one(instrument)
            else:
                waiting.append((instrument, found[0]))
        if waiting:
            await waiting[0][1].catch_up()
        for instrument, _ in waiting:
            self._continue_one(instrument)

    def _continue_one(self, instrument: HandedInstrument) -> None:
        collector = self._collector
        assert collector is not None  # noqa: S101 given to run()
        symbol = instrument.symbol
        self._gate.open_for((symbol,))
        self._continued.add(symbol)
        found = self._pool.book_of(symbol)
        if found is None:
            return  # its predecessor ended it
        outputs: list[L2Update] = []
        found[1].continue_from(outputs, instrument.book, collector.clock())
        for output in outputs:
            self._gate.publish(output)
        self._continue_trades(symbol, instrument.trades)

    # --- handing over ---

    async def _hand_over_to(self, *, stopping: bool, last: bool) -> bool:
        """Hand over if there is a successor; return whether that was done.

        ``stopping``: this process has to go, so that a standby process may take over, too. ``last``: now or never.
        """
        ownership, now = self.ownership, self._loop.time()
        if not self._publishing or not ownership.company(now):
            return False
        successor = ownership.successor(self._good_books(), now, any_process=stopping, any_books=last)
        if successor is None or not (last or self._catch_up.has_succeeded(successor.holder)):
            return False
        self._catch_up.stop()
        await self._hand_over(successor)
        return True

    async def _hand_over(self, to: Asked) -> None:
        collector, gate, pool = self._collector, self._gate, self._pool
        assert collector is not None  # noqa: S101 given to run()
        began, handed = self._loop.time(), 0
        for group in self._groups(to):
            outputs: list[L2Update] = []
            instruments: list[HandedInstrument] = []
            for symbol in group:
                found, trades = pool.book_of(symbol), pool.trades_of(symbol)
                if found is None or trades is None:
                    continue
                if symbol not in to.symbols:
                    found[1].end(outputs, collector.clock())
                instruments.append(HandedInstrument(symbol, found[1].handed_over(), trades[1].handed_over()))
            for output in outputs:
                gate.publish(output)
            gate.close_for(group)
            await self._acknowledged()
            await self._read(0)
            number = self.ownership.number_of(to.holder, to.number)
            for instrument in instruments:
                self._send(HandedOver(self.ownership.me, to.holder, number, instrument))
            handed += len(instruments)
            self._renew()
            await asyncio.sleep(0)
        gate.close()
        self._publishing = False
        await self._acknowledged()
        self._send(Yielded(self.ownership.me, to.holder, self.ownership.number_of(to.holder, to.number)))
        seconds = self._loop.time() - began
        collector.event_log.event(
            "handed_over", "INFO", f"{handed} instruments handed over to {to.holder} in {seconds:.3f} s"
        )
        while self.ownership.owner == self.ownership.me:
            await self._read(LOOK_SECONDS)

    def _groups(self, to: Asked) -> Iterable[list[str]]:
        group: list[str] = []
        levels = 0
        for symbol in sorted(self._pool.symbols()):
            found = self._pool.book_of(symbol)
            if found is not None:
                levels += len(found[1].book.bids) + len(found[1].book.asks)
            group.append(symbol)
            if len(group) >= GROUP_BOOKS or levels >= GROUP_LEVELS:
                yield group
                group, levels = [], 0
        if group:
            yield group

    async def _acknowledged(self) -> None:
        """Wait until everything published so far is on the broker."""
        taken = self._gate.taken
        while self._gate.confirmed() < taken:
            if self._gate.failed.is_set():
                await self._gate.room()  # raises the failure
            await asyncio.sleep(ACKNOWLEDGED_SECONDS)
