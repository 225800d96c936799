"""At no time may two collector processes publish, whatever is delayed, stopped or killed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from producers.collector.ownership import (
    Asked,
    HandedOver,
    Held,
    Ownership,
    OwnershipRecord,
    Released,
    Role,
    Taken,
    Yielded,
    pack,
    unpack,
)

LEASE = 6.0
STEP = 0.25
BOOKS = ["BTC-USD"]


@dataclass
class Process:
    """A process; ``stopped_until`` a time at which it runs again; ``outbox``: records on their way to the broker."""

    ownership: Ownership
    position: int = 0
    stopped_until: float = 0.0
    dead: bool = False
    publishes: bool = False
    outbox: list[tuple[float, OwnershipRecord]] = field(default_factory=list)


class World:
    """Processes, a broker, and one clock."""

    def __init__(self, seed: int, *, evidence: bool) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.log: list[bytes] = []
        self.processes: list[Process] = []
        self.away_until = 0.0
        self._evidence = evidence

    def start(self) -> None:
        name = f"process-{len(self.processes)}"
        self.processes.append(Process(Ownership(name, lease=LEASE)))

    def is_dead(self, name: str) -> bool:
        return self._evidence and any(p.dead and p.ownership.me == name for p in self.processes)

    def step(self) -> None:
        self.now += STEP
        for process in self.processes:
            self._deliver(process)
        for process in self.processes:
            if not process.dead and process.stopped_until <= self.now:
                self._run(process)
        allowed = [p.ownership.me for p in self.processes if not p.dead and self._may_publish(p)]
        assert len(allowed) <= 1, (self.now, allowed)

    def _may_publish(self, process: Process) -> bool:
        return process.publishes and process.ownership.until > self.now

    def _deliver(self, process: Process) -> None:
        """What a client has sent arrives, even of a process that is stopped: its threads may be ahead of it."""
        while process.outbox and process.outbox[0][0] <= self.now and self.away_until <= self.now:
            self.log.append(pack(process.outbox.pop(0)[1]))

    def _run(self, process: Process) -> None:
        ownership = process.ownership
        if self.away_until <= self.now and self.random.random() < 0.8:
            for offset in range(process.position, len(self.log)):
                record = unpack(self.log[offset])
                assert record is not None
                ownership.read(record, offset, self.now)
            process.position = len(self.log)
        if ownership.role is not Role.OWNER:
            process.publishes = False
        elif ownership.may_publish(self.now):
            process.publishes = process.publishes or not self._yielded(process)
        if process.publishes and (to := ownership.successor(BOOKS, self.now)) is not None:
            process.publishes = False
            self._send(process, Yielded(ownership.me, to.holder, ownership.number_of(to.holder, to.number)))
        elif process.position == len(self.log) and (due := ownership.due(self.now, BOOKS, BOOKS, self.is_dead)):
            self._send(process, due)

    def _yielded(self, process: Process) -> bool:
        return any(isinstance(record, Yielded) for _, record in process.outbox) or any(
            isinstance(record, Yielded) and record.holder == process.ownership.me
            for record in map(unpack, self.log[process.position :])
        )

    def _send(self, process: Process, record: OwnershipRecord) -> None:
        last = process.outbox[-1][0] if process.outbox else self.now
        process.outbox.append((max(last, self.now + self.random.choice([0.0, 0.25, 2.0])), record))


@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=60, deadline=None)
def test_there_is_never_more_than_one_owner(seed: int, evidence: bool) -> None:
    world = World(seed, evidence=evidence)
    chance = world.random
    for _ in range(600):
        if len([p for p in world.processes if not p.dead]) < 3 and chance.random() < 0.02:
            world.start()
        for process in world.processes:
            if chance.random() < 0.003:
                process.dead, process.publishes = True, False
                if chance.random() < 0.5:
                    process.outbox.clear()
            elif chance.random() < 0.004:
                process.stopped_until = world.now + chance.choice([1.0, 5.0, 8.0, 20.0])
        if chance.random() < 0.004:
            world.away_until = world.now + chance.choice([2.0, 8.0, 30.0])
        world.step()


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_somebody_publishes_soon_after_all_is_well(seed: int) -> None:
    world = World(seed, evidence=False)
    for _ in range(2):
        world.start()
    for _ in range(80):
        world.step()
    world.processes[world.random.randrange(2)].dead = True
    for _ in range(120):
        world.step()
    (living,) = [process for process in world.processes if not process.dead]
    assert living.publishes


def test_every_record_survives_its_encoding_and_others_say_nothing() -> None:
    records: list[OwnershipRecord] = [
        Held("a", 3, 1),
        Asked("b", 1, True, ["BTC-USD"], []),
        Taken("b", 3, 2),
        Yielded("a", "b", 1),
        Released("b"),
    ]
    assert [unpack(pack(record)) for record in records] == records
    assert unpack(b"") is unpack(b"\x63") is unpack(b"\x01\xff") is unpack(b"\x02" + pack(records[0])[1:]) is None
    assert HandedOver.__struct_config__.tag == "handed"
