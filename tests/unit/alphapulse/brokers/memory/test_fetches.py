"""Fetches that wait: for bytes, for time, for records that are deleted; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchResponse_v11

from alphapulse.brokers.memory.fetches import Fetches
from alphapulse.brokers.memory.log import PartitionLog
from alphapulse.brokers.memory.wire import Fetch
from tests.fixtures.virtual_time import run
from tests.unit.alphapulse.brokers.memory.batches import batch

GATHER = 0.002
Told = dict[int, tuple[int, int, int]]


class Scene:
    """A topic of three partitions."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.logs = [PartitionLog(10_000) for _ in range(3)]
        self.fetches = Fetches(lambda topic: self.logs if topic == "topic" else (), self.loop, GATHER)

    def append(self, number: int, size: int = 100) -> None:
        sent = batch([bytes(size)])
        self.logs[number].append(sent)
        self.fetches.appended(self.logs[number], len(sent))

    async def fetch(self, *places: tuple[int, int], wait: int = 500, least: int = 1, most: int = 1 << 20) -> Told:
        """Return partition → error, end, bytes."""
        request = Fetch(wait, least, most, [("topic", [(number, offset, 1 << 20) for number, offset in places])])
        answer = self.fetches.fetch(request)
        body = await answer if isinstance(answer, asyncio.Future) else answer
        ((_, partitions),) = FetchResponse_v11.decode(b"".join(body)).topics
        return {told[0]: (told[1], told[2], len(told[7])) for told in partitions}

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        self.loop.call_later(seconds, act)


def in_scene(play: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    async def acted() -> None:
        scene = Scene()
        await play(scene)
        assert len(scene.fetches) == 0

    run(acted())


def test_what_is_there_is_answered_at_once() -> None:
    async def play(scene: Scene) -> None:
        scene.append(1)
        told = await scene.fetch((0, 0), (1, 0))
        assert scene.loop.time() == 0
        assert told[0] == (0, 0, 0)
        assert told[1][:2] == (0, 1)
        assert told[1][2] > 100

    in_scene(play)


def test_nothing_is_answered_when_the_time_is_over() -> None:
    async def play(scene: Scene) -> None:
        assert await scene.fetch((0, 0), (2, 0), wait=500) == {0: (0, 0, 0), 2: (0, 0, 0)}
        assert scene.loop.time() == pytest.approx(0.5)
        assert await scene.fetch((0, 0), wait=0) == {0: (0, 0, 0)}
        assert scene.loop.time() == pytest.approx(0.5)

    in_scene(play)


def test_what_comes_is_answered_with_what_comes_shortly_after_it() -> None:
    async def play(scene: Scene) -> None:
        scene.later(0.1, lambda: scene.append(1))
        scene.later(0.1 + GATHER / 2, lambda: scene.append(0))
        told = await scene.fetch((0, 0), (1, 0))
        assert scene.loop.time() == pytest.approx(0.1 + GATHER)
        assert (told[0][1], told[1][1]) == (1, 1)

    in_scene(play)


def test_other_partitions_do_not_matter() -> None:
    async def play(scene: Scene) -> None:
        scene.later(0.1, lambda: scene.append(2))
        assert await scene.fetch((0, 0), wait=300) == {0: (0, 0, 0)}
        assert scene.loop.time() == pytest.approx(0.3)

    in_scene(play)


def test_waits_for_as_many_bytes_as_were_asked_for_over_all_partitions() -> None:
    async def play(scene: Scene) -> None:
        for number in range(6):
            scene.later(0.1 * (number + 1), lambda number=number: scene.append(number % 2, 1_000))  # type: ignore[misc]
        told = await scene.fetch((0, 0), (1, 0), wait=5_000, least=3_500)
        assert scene.loop.time() == pytest.approx(0.4 + GATHER)
        assert told[0][2] + told[1][2] > 3_500
        # Too few in all the time: what there is.
        told = await scene.fetch((0, 2), (1, 2), wait=1_000, least=100_000)
        assert scene.loop.time() == pytest.approx(1.4 + GATHER)
        assert told[0][2] > 1_000

    in_scene(play)


@pytest.mark.parametrize(("place", "error"), [((0, 2), 1), ((0, -1), 1), ((7, 0), 3)])
def test_a_place_that_is_none_is_told_at_once(place: tuple[int, int], error: int) -> None:
    async def play(scene: Scene) -> None:
        scene.append(0)
        assert (await scene.fetch(place, (1, 0)))[place[0]][0] == error
        assert scene.loop.time() == 0

    in_scene(play)


def test_who_waits_for_records_that_are_deleted_hears_of_it() -> None:
    async def play(scene: Scene) -> None:
        scene.append(0)

        def delete() -> None:
            scene.append(0)
            scene.logs[0].delete_before(2)
            scene.fetches.moved(scene.logs[0])

        scene.later(0.1, delete)
        told = await scene.fetch((0, 1), least=100_000)
        assert scene.loop.time() == pytest.approx(0.1)
        assert told == {0: (1, 2, 0)}

    in_scene(play)


def test_an_answer_is_bounded_and_its_first_batch_is_not() -> None:
    async def play(scene: Scene) -> None:
        for number in range(3):
            scene.append(number, 1_000)
        told = await scene.fetch((0, 0), (1, 0), (2, 0), most=100)
        assert [told[number][2] > 0 for number in range(3)] == [True, False, False]
        told = await scene.fetch((0, 0), (1, 0), (2, 0), most=2_500)
        assert [told[number][2] > 0 for number in range(3)] == [True, True, False]

    in_scene(play)


def test_a_fetch_whose_client_is_gone_is_forgotten() -> None:
    async def play(scene: Scene) -> None:
        waiting = asyncio.create_task(scene.fetch((0, 0), wait=60_000))
        await asyncio.sleep(1)
        assert len(scene.fetches) == 1
        waiting.cancel()
        await asyncio.wait([waiting])
        scene.append(0)

    in_scene(play)
