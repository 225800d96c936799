"""producers.replay.rest"""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from producers.replay.rest import RestDesk

KEY = ("/api/v3/depth", "BTCUSDT")
OTHER = ("/api/v3/depth", "ETHUSDT")


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_request_waits_for_the_timeline_to_reach_its_answer() -> None:
    desk = RestDesk()
    request = asyncio.create_task(desk.ask(KEY))
    await settle()
    assert desk.waits(KEY)
    assert not desk.waits(OTHER)
    desk.give(OTHER, b"other")
    await settle()
    assert not request.done()
    desk.give(KEY, b"mine")
    assert await request == b"mine"
    assert desk.answered == 1


async def test_an_answer_nobody_asked_for_is_latched_the_latest_counts_and_serves_once() -> None:
    desk = RestDesk()
    desk.give(KEY, b"old")
    desk.give(KEY, b"new")
    assert desk.latched == 1
    assert await desk.ask(KEY) == b"new"
    desk.end()
    assert await desk.ask(KEY) is None


async def test_who_waits_longest_is_answered_first() -> None:
    desk = RestDesk()
    requests = [asyncio.create_task(desk.ask(KEY)) for _ in range(2)]
    await settle()
    desk.give(KEY, b"1")
    desk.give(KEY, b"2")
    assert await asyncio.gather(*requests) == [b"1", b"2"]


async def test_at_the_end_all_who_wait_learn_that_nothing_comes() -> None:
    desk = RestDesk()
    desk.give(OTHER, b"left")
    request = asyncio.create_task(desk.ask(KEY))
    await settle()
    desk.end()
    assert await request is None
    assert await desk.ask(OTHER) == b"left"


async def test_the_timeline_waits_for_a_request_no_longer_than_told() -> None:
    desk = RestDesk()
    assert not await desk.wait(KEY, 0.01)
    waiting = asyncio.create_task(desk.wait(KEY, 60.0))
    await settle()
    other = asyncio.create_task(desk.ask(OTHER))
    await settle()
    assert not waiting.done()
    request = asyncio.create_task(desk.ask(KEY))
    assert await waiting
    desk.end()
    assert await other is None
    assert await request is None


async def test_a_request_whose_client_left_takes_no_answer_with_it() -> None:
    desk = RestDesk()
    request = asyncio.create_task(desk.ask(KEY))
    await settle()
    request.cancel()
    desk.give(KEY, b"answer")  # before the cancelled task gets to run
    with pytest.raises(asyncio.CancelledError):
        await request
    assert not desk.waits(KEY)
    assert await desk.ask(KEY) == b"answer"


async def test_an_answer_on_its_way_to_a_client_that_left_is_kept() -> None:
    desk = RestDesk()
    request = asyncio.create_task(desk.ask(KEY))
    await settle()
    desk.give(KEY, b"answer")
    request.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await request
    assert desk.answered == 0
    assert await desk.ask(KEY) == b"answer"
    assert desk.answered == 1
