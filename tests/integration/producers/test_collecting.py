"""The collector as a process of its own, between a venue on loopback and the embedded broker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiokafka import TopicPartition
from websockets.asyncio.server import ServerConnection

from alphapulse import kafka as clients
from alphapulse import topics
from alphapulse.config import KafkaSettings
from producers.replay.recording import survey
from schemas.book_reader import BookReader
from schemas.codec import Codec
from schemas.records import L2Update, Record, Trade
from tests.fixtures.protocol_run import lines
from tests.fixtures.venue_server import until, websocket_venue
from tests.recordings import Recording, found

ROOT = Path(__file__).resolve().parents[3]


@asynccontextmanager
async def collector(
    venue: str, feed: Mapping[str, Any], kafka: KafkaSettings, data_dir: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {
        **os.environ,
        "ALPHAPULSE_DATA_DIR": str(data_dir),
        "ALPHAPULSE_KAFKA__BOOTSTRAP": kafka.bootstrap,
        "ALPHAPULSE_VENUES": json.dumps({venue: feed}),
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "producers", venue, cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def status(data_dir: Path, name: str) -> dict[str, Any]:
    path = data_dir / "run" / f"{name}.json"
    await until(path.exists, 20)
    port = json.loads(path.read_text())["ops_port"]
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/status") as response:
        told: dict[str, Any] = await response.json()
        return told


async def read_all(kafka: KafkaSettings, *names: str) -> list[Record]:
    """Return all records of the topics, each key's in order."""
    records: list[Record] = []
    codec = Codec()
    reader = clients.consumer(kafka, group_id=None, client_id="reader")
    async with clients.running(reader, kafka):
        partitions = [TopicPartition(name, number) for name in names for number in range(12)]
        ends = await reader.end_offsets(partitions)
        reader.assign([partition for partition in partitions if ends[partition]])
        await reader.seek_to_beginning()
        async with asyncio.timeout(30):
            while len(records) < sum(ends.values()):
                for messages in (await reader.getmany(timeout_ms=100)).values():
                    records += [codec.decode(message.value) for message in messages]
    return records


@pytest.mark.parametrize("recording", found("kraken"), ids=str)
async def test_a_recording_arrives_whole_and_the_stop_ends_every_epoch(
    recording: Recording, kafka: KafkaSettings, tmp_path: Path
) -> None:
    expected = recording.instruments
    frames = [frame for _, frame in lines(recording.path)]

    async def talk(socket: ServerConnection) -> None:
        await socket.recv()
        for frame in frames:
            await socket.send(frame)
        await socket.wait_closed()

    async with websocket_venue(talk) as url:
        feed = {"symbols": sorted(expected), "websocket_url": url, "depth": survey(recording.path).depth}
        async with collector("kraken", feed, kafka, tmp_path) as process:
            async with asyncio.timeout(30):
                while (told := await status(tmp_path, "collector-kraken")).get("frames_done", 0) < len(frames):
                    await asyncio.sleep(0.02)
            published = await read_all(kafka, topics.L2, topics.TRADES)
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(15):
                assert await process.wait() == 0

    readers = {symbol: BookReader() for symbol in expected}
    for record in published:
        if isinstance(record, L2Update):
            readers[record.symbol].apply(record)
    for symbol, figures in expected.items():
        counted = told["instruments"][symbol]
        wanted = {key: value for key, value in figures.items() if key != "book"}
        assert {key: counted[key] for key in wanted} == wanted
        reader = readers[symbol]
        assert reader.book.sha256(reader.price_exponent, reader.size_exponent) == figures["book"]["sha256"]
        assert counted["published_l2"] == figures["snapshots"] + figures["deltas"]
    assert sum(isinstance(record, Trade) for record in published) == sum(f["trades"] for f in expected.values())

    after = await read_all(kafka, topics.L2)
    for record in after:
        if isinstance(record, L2Update):
            readers[record.symbol].apply(record)
    assert not any(reader.valid for reader in readers.values())


async def test_a_killed_collector_leaves_whole_records_and_its_successor_newer_epochs(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    snapshot = b'{"type":"snapshot","product_id":"BTC-USD","bids":[["10.00","1"]],"asks":[["11.00","2.5"]]}'
    update = b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","9.00","%d"]],"time":""}'

    async def talk(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(snapshot)
        for number in range(1, 1001):
            await socket.send(update % number)
        await socket.wait_closed()

    async with websocket_venue(talk) as url:
        feed = {"symbols": ["BTC-USD"], "websocket_url": url}
        for _ in range(2):
            async with collector("coinbase", feed, kafka, tmp_path) as process:
                async with asyncio.timeout(30):
                    while (await status(tmp_path, "collector-coinbase")).get("frames_done", 0) < 1001:
                        await asyncio.sleep(0.02)
                process.kill()
                await process.wait()
            (tmp_path / "run" / "collector-coinbase.json").unlink()

    reader = BookReader()
    epochs = []
    for record in await read_all(kafka, topics.L2):
        assert isinstance(record, L2Update)
        reader.apply(record)
        assert reader.valid
        if record.kind != "HEARTBEAT":
            epochs.append(record.epoch)
    assert epochs == sorted(epochs)
    assert len(set(epochs)) == 2
    assert len(epochs) == 2002
