"""What a broker must do when members of a consumer group come, go and die: hand over without loss."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from alphapulse.config import KafkaSettings, Settings, environment
from alphapulse.kafka import producer, running
from tests.integration.kafka.conftest import NewTopic
from tests.integration.kafka.reading import until, write

PARTITIONS = 6
ROOT = Path(__file__).resolve().parents[3]


class Member:
    """A group member in a process of its own, and what it told so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.partitions: set[int] = set()
        self.read: set[tuple[int, int]] = set()
        self._listener = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            told = json.loads(line)
            if "assigned" in told:
                self.partitions = set(told["assigned"])
            self.read |= {(partition, offset) for partition, offset in told.get("read", ())}

    async def leave(self) -> None:
        """Let it stop as it should."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert await self.process.wait() == 0
        await self._end()

    async def kill(self) -> None:
        """Kill it where it stands."""
        self.process.kill()
        await self.process.wait()
        await self._end()

    async def _end(self) -> None:
        await self._listener
        self.partitions = set()


class Group:
    """The members that live."""

    def __init__(self, settings: KafkaSettings, topic: str, name: str) -> None:
        self._settings = settings
        self._arguments = (topic, name)
        self.members: list[Member] = []

    async def join(self, implementation: str) -> Member:
        """Start one more member, with a consumer of this implementation."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ALPHAPULSE_")}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.integration.kafka.member",
            *self._arguments,
            implementation,
            cwd=ROOT,
            env={**inherited, **environment(Settings(kafka=self._settings))},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self.members.append(Member(process))
        return self.members[-1]

    async def settled(self, living: list[Member]) -> None:
        """Wait until ``living`` share all partitions, none twice, none without any."""

        def shared() -> bool:
            shares = [member.partitions for member in living]
            return all(shares) and sorted(p for share in shares for p in share) == list(range(PARTITIONS))

        await until(shared, f"{len(living)} members share the partitions")

    def read(self) -> set[tuple[int, int]]:
        """Return what all members together have read, (partition, offset)."""
        return {place for member in self.members for place in member.read}


@asynccontextmanager
async def group_of(settings: KafkaSettings, topic: str, name: str) -> AsyncIterator[Group]:
    """A group whose members end with the test."""
    group = Group(settings, topic, name)
    try:
        yield group
    finally:
        for member in group.members:
            if member.process.returncode is None:
                await member.kill()


async def produce(writer: AIOKafkaProducer, topic: str, count: int) -> None:
    """Produce ``count`` records into each partition."""
    for partition in range(PARTITIONS):
        await write(writer, topic, [b"value"] * count, partition=partition)


@pytest.mark.parametrize(
    "implementations", [("aiokafka",), ("native",), ("aiokafka", "native", "native")], ids="+".join
)
async def test_hands_over_without_loss(
    settings: KafkaSettings, new_topic: NewTopic, group: str, implementations: tuple[str, ...]
) -> None:
    """A second member comes, the first one is killed, a third comes, and leaves as it should.

    Members of both implementations understand one another: releases follow one another without a gap.
    """
    of = cycle(implementations)
    topic = await new_topic(PARTITIONS)
    produced = 0

    async with (
        group_of(settings, topic, group) as members,
        running(producer(settings, client_id="test"), settings) as writer,
    ):

        async def all_is_read() -> None:
            nonlocal produced
            await produce(writer, topic, 200)
            produced += 200
            everything = {(partition, offset) for partition in range(PARTITIONS) for offset in range(produced)}
            await until(lambda: members.read() >= everything, f"all {len(everything)} records read")
            assert members.read() == everything

        first = await members.join(next(of))
        await members.settled([first])
        await all_is_read()

        second = await members.join(next(of))
        await produce(writer, topic, 200)  # read by whoever has the partition by then
        produced += 200
        await members.settled([first, second])
        await all_is_read()

        await first.kill()
        await members.settled([second])
        await all_is_read()

        third = await members.join(next(of))
        await members.settled([second, third])
        await all_is_read()
        assert third.read

        await third.leave()
        await members.settled([second])
        await all_is_read()
