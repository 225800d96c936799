"""One trace from a simulated venue's frame to a client's socket and to a row of ClickHouse, through real processes."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import connect

from tests.e2e.test_demo import BOUND_SECONDS, Demo, running
from tests.fixtures.otlp import ReceivedSpan, Receiver, receiving

pytestmark = pytest.mark.slow

COLLECTOR = "collector-kraken"
SUBSCRIBE = {"op": "subscribe", "id": 1, "channel": "book", "venue": "kraken", "symbol": "BTC-USD"}


def whole(receiver: Receiver) -> dict[str, ReceivedSpan] | None:
    """Return the stages of one update of Kraken's BTC-USD that a client was told and ClickHouse has."""
    traces: defaultdict[str, list[ReceivedSpan]] = defaultdict(list)
    for span in list(receiver.spans):
        traces[span.trace].append(span)
    for spans in traces.values():
        stages = {(span.name, span.service, span.attributes["messaging.destination.name"]): span for span in spans}
        try:
            found = {
                "collect": stages["collect", COLLECTOR, "md.l2"],
                "process": stages["process", "processors", "md.l2"],
                "sink": stages["sink", "sink-clickhouse", "md.l2"],
                "deliver": stages["deliver", "gateway", "md.depth"],
            }
        except KeyError:
            continue
        if (
            found["collect"].attributes["alphapulse.symbol"] == "BTC-USD"
            and found["deliver"].attributes["alphapulse.subscriptions"] == 1
        ):
            return found
    return None


async def test_a_frame_is_followed_to_a_client_and_to_a_row(tmp_path: Path) -> None:
    with receiving() as receiver:
        tracing = {
            "ALPHAPULSE_TRACING__ENDPOINT": receiver.url,
            "ALPHAPULSE_TRACING__SAMPLE_RATIO": "0.2",
        }
        with running(tmp_path, symbols=("BTC-USD",), **tracing) as demo:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
                demo.http = http
                stages = await followed(demo, receiver)
                collect, process, sink, deliver = (
                    stages["collect"],
                    stages["process"],
                    stages["sink"],
                    stages["deliver"],
                )
                place = {
                    name: collect.attributes[name]
                    for name in ("messaging.destination.partition.id", "messaging.kafka.offset")
                }
                row = (
                    "SELECT count() FROM l2 WHERE venue = 'kraken' AND symbol = 'BTC-USD'"
                    f" AND _partition = {place['messaging.destination.partition.id']}"
                    f" AND _offset = {place['messaging.kafka.offset']}"
                    f" AND toUnixTimestamp64Nano(received_time) = {collect.start}"
                )
                assert await demo.ask(row) == 1
                assert await demo.stop() == 0

    # One trace: parents, then times, then the record's place at every stage.
    assert len({span.trace for span in stages.values()}) == 1
    assert [collect.parent, process.parent, sink.parent] == ["", collect.span, collect.span]
    assert deliver.parent == process.span
    assert not any(span.failed for span in stages.values())
    assert collect.start < collect.end
    assert collect.start < process.start < process.end
    assert process.start < deliver.start < deliver.end
    assert collect.start < sink.start < sink.end
    for span in (process, sink):
        assert {name: span.attributes[name] for name in place} == place
    for span in stages.values():
        assert span.attributes["alphapulse.venue"] == "kraken"
    assert process.attributes["messaging.consumer.group.name"] == "alphapulse-processors"
    ended = [line for line in demo_log(tmp_path) if line.get("event") == "traces ended"]
    assert {line["service"] for line in ended} >= {COLLECTOR, "processors", "sink-clickhouse", "gateway"}
    assert {(line["failed"], line["dropped"]) for line in ended} == {(0, 0)}


async def followed(demo: Demo, receiver: Receiver) -> dict[str, ReceivedSpan]:
    """Be a client of Kraken's book until one of its traces is whole."""

    async def serves() -> bool:
        return await demo.ready("gateway") and ("kraken", "BTC-USD") in await demo.books()

    await demo.until(serves, BOUND_SECONDS)
    url = demo.told()["gateway"]["url"].replace("http", "ws", 1)
    async with connect(f"{url}/ws/v1") as client:
        await client.send(json.dumps(SUBSCRIBE))

        async def told() -> bool:
            return bool(await client.recv()) and whole(receiver) is not None

        await demo.until(told, BOUND_SECONDS)
    stages = whole(receiver)
    assert stages is not None
    return stages


def demo_log(folder: Path) -> list[dict[str, object]]:
    """Return the services' log lines of the demo in ``folder``."""
    found: list[dict[str, object]] = []
    for path in (folder / "data").rglob("*.log"):
        found += [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines() if text.startswith("{")]
    return found
