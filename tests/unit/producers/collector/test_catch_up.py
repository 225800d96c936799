"""An owner hands over when it has read what its venue had sent, or when it is hopeless."""

from __future__ import annotations

import asyncio

import pytest

from producers.collector.catch_up import PATIENCE_SECONDS, TRY_SECONDS, CatchUp


class Reader:
    """A connection whose answers a test gives."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def catch_up(self, seconds: float) -> bool:
        assert seconds == TRY_SECONDS
        self.asked += 1
        self.answer = asyncio.get_running_loop().create_future()
        return await self.answer


class Stage:
    def __init__(self) -> None:
        self.now = 1000.0
        self.readers = [Reader(), Reader()]
        self.catch_up = CatchUp(lambda: self.readers, lambda: self.now)

    async def turn(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def answer(self, *answers: bool) -> None:
        await self.turn()
        for reader, answer in zip(self.readers, answers, strict=True):
            reader.answer.set_result(answer)
        await self.turn()


async def test_every_connection_has_to_have_answered_since_the_successor_was_prepared() -> None:
    stage = Stage()
    assert not stage.catch_up.has_succeeded("new")
    await stage.turn()
    assert not stage.catch_up.has_succeeded("new")
    assert [reader.asked for reader in stage.readers] == [1, 1]
    await stage.answer(True, True)
    assert stage.catch_up.under_way is None
    assert stage.catch_up.has_succeeded("new")


async def test_one_connection_that_is_late_is_asked_again_with_all_others() -> None:
    stage = Stage()
    assert not stage.catch_up.has_succeeded("new")
    await stage.answer(True, False)
    assert not stage.catch_up.has_succeeded("new")
    await stage.answer(True, True)
    assert stage.catch_up.has_succeeded("new")
    assert [reader.asked for reader in stage.readers] == [2, 2]


@pytest.mark.parametrize("stopped", [False, True])
async def test_what_was_read_for_another_successor_says_nothing(stopped: bool) -> None:
    stage = Stage()
    assert not stage.catch_up.has_succeeded("first")
    await stage.answer(True, True)
    if stopped:
        stage.catch_up.stop()
    assert not stage.catch_up.has_succeeded("first" if stopped else "second")
    await stage.turn()
    assert [reader.asked for reader in stage.readers] == [2, 2]


async def test_an_owner_that_never_catches_up_gives_way_after_a_minute() -> None:
    stage = Stage()
    assert not stage.catch_up.has_succeeded("new")
    await stage.answer(False, False)
    stage.now += PATIENCE_SECONDS
    assert not stage.catch_up.has_succeeded("new")
    stage.now += 0.1
    assert stage.catch_up.has_succeeded("new")
    trying = stage.catch_up.under_way
    stage.catch_up.stop()
    await stage.turn()
    assert trying is not None
    assert trying.cancelled()
