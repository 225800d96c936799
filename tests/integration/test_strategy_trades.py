"""The strategy on trades of docs/strategy.md, as it is saved and typed there: killed, restarted, tested, looked at."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from alphapulse.config import KafkaSettings
from alphapulse.kafka import committed, consumer, producer, running
from schemas.codec import Codec
from schemas.records import Trade, key_of
from tests.documents import ROOT
from tests.documents.blocks import Block, blocks
from tests.fixtures import market

pytestmark = pytest.mark.unmeasured

BOUND = 60
DOCUMENT = "docs/strategy.md"
SECOND = 10**9
START = 1_800_000_000 * SECOND
GROUP, ALERTS = "strategy-vwap", "strategy.vwap"


def of_this_test() -> list[Block]:
    """Return the blocks of the document that this test runs: the program, its start, its test, and the lag."""
    return [
        block
        for block in blocks(ROOT / DOCUMENT)
        if block.marker is not None and "tests/integration/test_strategy_trades.py" in block.marker.tests
    ]


def trades(seconds: Sequence[int], price: int) -> list[Trade]:
    """Return trades of two instruments at each second, of ``price`` / 100; the second one never moves."""
    times = [START + second * SECOND for second in seconds]
    return [
        market.trade(f"{symbol}-{time}", symbol=symbol, price=wanted, received_time=time)
        for time in times
        for symbol, wanted in (("BTC-USD", price), ("ETH-USD", 5_000))
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder like the demo's, with the programs saved under the names that the document gives them."""
    program, _, test, lag = of_this_test()
    for name, block in (("vwap.py", program), ("test_vwap.py", test), ("lag.py", lag)):
        assert block.language == "python"
        (tmp_path / name).write_text(block.text, encoding="utf-8")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


@asynccontextmanager
async def started(command: str, kafka: KafkaSettings, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run ``command`` in ``folder``; it is killed at the end."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-e", "-c", f"exec {command}"),
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith(("ALPHAPULSE_", "PYTEST_"))}
        | {"ALPHAPULSE_KAFKA__BOOTSTRAP": kafka.bootstrap, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def lines(process: asyncio.subprocess.Process, count: int) -> list[str]:
    assert process.stdout is not None
    async with asyncio.timeout(BOUND):
        return [(await process.stdout.readline()).decode().strip() for _ in range(count)]


async def publish(kafka: KafkaSettings, records: Sequence[Trade]) -> None:
    codec = Codec()
    async with running(producer(kafka, client_id="test"), kafka) as writer:
        for record in records:
            await writer.send_and_wait("md.trades", codec.encode(record), key=key_of(record))


async def alerts(kafka: KafkaSettings) -> list[dict[str, str]]:
    """Return all that is on the strategy's topic, in the order of the trades."""
    partitions = [TopicPartition(ALERTS, number) for number in range(12)]
    found: list[dict[str, str]] = []
    reader = consumer(kafka, group_id=None, client_id="test")
    reader.assign(partitions)
    async with running(reader, kafka):
        ends = await reader.end_offsets(partitions)
        while any([await reader.position(one) < ends[one] for one in partitions]):
            for messages in (await reader.getmany(timeout_ms=100)).values():
                found += [json.loads(message.value) for message in messages]
    return sorted(found, key=lambda alert: int(alert["offset"]))


async def commits(kafka: KafkaSettings, at: TopicPartition) -> tuple[int, int]:
    """Return where the group reads on, and up to where it has judged."""
    reader = consumer(kafka, group_id=GROUP, client_id="test")
    async with running(reader, kafka):
        found = (await committed(reader, [at])).get(at, OffsetAndMetadata(-1, "-1"))
    return found.offset, int(found.metadata)


async def test_alerts_are_neither_lost_nor_doubled_by_a_kill(kafka: KafkaSettings, folder: Path) -> None:
    _, typed, _, _ = of_this_test()
    (command,) = typed.commands()
    await publish(kafka, trades(range(30), 10_000))
    await publish(kafka, trades([30], 10_200))  # 2 % away
    async with started(command, kafka, folder) as strategy:
        assert await lines(strategy, 1) == ["kraken BTC-USD 102.00 100.00000000"]
        (first,) = await alerts(kafka)
        at = TopicPartition("md.trades", await partition_of_alerts(kafka))
        async with asyncio.timeout(BOUND):
            while (judged := await commits(kafka, at))[1] <= int(first["offset"]):
                await asyncio.sleep(0.05)
    assert judged[0] == 0, "the whole window is read again"

    # As if it had died before the commit: all is judged anew, and what is on its topic already is not told again.
    group = consumer(kafka, group_id=GROUP, client_id="test")
    group.assign([at])
    async with running(group, kafka):
        await group.commit({at: OffsetAndMetadata(0, "0")})
    await publish(kafka, trades([31], 10_400))
    async with started(command, kafka, folder) as strategy:
        # 30 at 100 and one at 102: trades from before the kill are in the window.
        assert await lines(strategy, 1) == ["kraken BTC-USD 104.00 100.06451613"]
    assert [alert["price"] for alert in await alerts(kafka)] == ["102.00", "104.00"]

    async with started(".venv/bin/python lag.py", kafka, folder) as reader:
        (told,) = await lines(reader, 1)
        assert await reader.wait() == 0
    assert told.startswith("{'md.trades': ")


async def partition_of_alerts(kafka: KafkaSettings) -> int:
    """Return the partition that has alerts: of the same number as the one that has their trades."""
    partitions = [TopicPartition(ALERTS, number) for number in range(12)]
    reader = consumer(kafka, group_id=None, client_id="test")
    reader.assign(partitions)
    async with running(reader, kafka):
        ends = await reader.end_offsets(partitions)
    (found,) = (number for number, one in enumerate(partitions) if ends[one])
    return found


@pytest.mark.parametrize("command", [".venv/bin/python test_vwap.py", ".venv/bin/python -m pytest -q test_vwap.py"])
async def test_its_own_test_passes(kafka: KafkaSettings, folder: Path, command: str) -> None:
    async with started(command, kafka, folder) as test:
        assert test.stdout is not None
        told = (await test.stdout.read()).decode()
        assert await test.wait() == 0, told
