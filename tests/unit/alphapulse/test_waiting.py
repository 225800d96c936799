"""Waiting for what a service stands on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from alphapulse import waiting
from alphapulse.config import OpsSettings, Settings
from alphapulse.errors import BrokerError, BrokerUnavailable
from alphapulse.service import Service, Stopped
from alphapulse.waiting import until_available


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service("waiter", Settings(data_dir=tmp_path, ops=OpsSettings()))


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, none of them waited for."""
    made: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        made.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    return made


async def test_what_is_there_is_not_waited_for(service: Service, pauses: list[float]) -> None:
    async def attempt() -> int:
        return 7

    assert await until_available(service, attempt, BrokerUnavailable) == 7
    assert pauses == []


async def test_it_is_tried_again_until_it_comes_at_growing_bounded_pauses(
    service: Service, pauses: list[float]
) -> None:
    reasons: list[str] = []

    async def attempt() -> str:
        reasons.append(service.waiting)
        if len(reasons) < 8:
            raise BrokerUnavailable(f"away {len(reasons)}")
        return "here"

    assert await until_available(service, attempt, BrokerUnavailable) == "here"
    assert reasons == ["", *(f"away {n}" for n in range(1, 8))]
    assert service.waiting == ""
    assert pauses == sorted(pauses)
    assert 0 < pauses[0] < pauses[-1] == waiting.MOST_PAUSE_SECONDS <= 2


async def test_another_error_ends_it(service: Service) -> None:
    async def attempt() -> None:
        raise BrokerError("wrong password")

    with pytest.raises(BrokerError, match="wrong password"):
        await until_available(service, attempt, BrokerUnavailable)


async def test_a_stop_ends_an_attempt(service: Service) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def attempt() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    work = asyncio.create_task(until_available(service, attempt, BrokerUnavailable))
    await begun.wait()
    service.stopping.set()
    with pytest.raises(Stopped):
        await work
    assert cancelled.is_set()


async def test_a_stop_ends_a_pause(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    pausing = asyncio.Event()

    async def pause(_: float) -> None:
        pausing.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "sleep", pause)

    async def attempt() -> None:
        raise BrokerUnavailable("away")

    work = asyncio.create_task(until_available(service, attempt, BrokerUnavailable))
    await pausing.wait()
    service.stopping.set()
    with pytest.raises(Stopped):
        await work


async def test_its_own_cancellation_cancels_the_attempt(service: Service) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def attempt() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    work = asyncio.create_task(until_available(service, attempt, BrokerUnavailable))
    await begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert cancelled.is_set()
