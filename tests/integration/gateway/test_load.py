"""The load program against a gateway, as a user runs it."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from pathlib import Path

import pytest

from alphapulse.config import KafkaSettings
from tests.conftest import ROOT
from tests.fixtures import market
from tests.integration.gateway.conftest import BOUND, Feed, running_gateway

pytestmark = pytest.mark.unmeasured

WORDS = re.compile(r"(\S+) messages/s")


async def test_clients_receive_what_the_gateway_is_given(tmp_path: Path, kafka: KafkaSettings, feed: Feed) -> None:
    await feed.put(market.depth(sequence=1, received_time=time.time_ns()))
    async with running_gateway(tmp_path, kafka) as gateway:
        url = (await gateway.announced())["url"]
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.load", url, "--clients", "20", "--silent", "2", "--processes", "2"),
            *("--path", "/ws/v1", "--seconds", "2", "--every", "1"),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        told = asyncio.create_task(program.communicate())
        sequence = 1
        async with asyncio.timeout(BOUND):
            while not told.done():
                sequence += 1
                bids = ((100, sequence), (99, 6))
                await feed.put(market.depth(bids, sequence=sequence, received_time=time.time_ns()))
                await asyncio.sleep(0.01)
    out, errors = await told
    assert program.returncode == 0, errors.decode()
    first, *lines = out.decode().splitlines()
    assert first == "20 clients, 2 silent, 8 feeds of book each"
    assert all(float(WORDS.search(line)[1].replace(",", "")) > 20 for line in lines), lines  # type: ignore[index]
    assert "closed" not in out.decode()


async def test_a_gateway_without_instruments_is_told(tmp_path: Path, kafka: KafkaSettings) -> None:
    async with running_gateway(tmp_path, kafka) as gateway:
        url = (await gateway.announced())["url"]
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.load", url), cwd=ROOT, stderr=asyncio.subprocess.PIPE
        )
        _, errors = await program.communicate()
    assert (program.returncode, errors.decode().strip()) == (1, f"{url} has no instruments yet")
