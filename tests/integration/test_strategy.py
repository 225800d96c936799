"""The strategy of docs/strategy.md, as it is saved and typed there."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alphapulse.config import KafkaSettings, RegistrySettings
from alphapulse.kafka import producer, running
from schemas.codec import Codec
from schemas.records import Depth, key_of
from schemas.remote import registry
from tests.documents import ROOT
from tests.documents.blocks import Block, blocks
from tests.fixtures import market
from tests.fixtures.schema_registry import registry_server

pytestmark = pytest.mark.unmeasured

BOUND = 60
DOCUMENT = "docs/strategy.md"


def of_this_test() -> list[Block]:
    """Return the blocks of the document that this test runs: the program, and how it is started."""
    return [
        block
        for block in blocks(ROOT / DOCUMENT)
        if block.marker is not None and "tests/integration/test_strategy.py" in block.marker.tests
    ]


def books(now: int) -> list[Depth]:
    """Return books of BTC-USD: too old, even, invalid, another symbol's, heavy with bids, the same again, with asks."""
    heavy = [(10_000, 90), (9_999, 10)]
    light = [(10_001, 5), (10_002, 5)]
    return [
        market.depth(heavy, light, 1, received_time=now - 60_000_000_000),
        market.depth(light, light, 2, received_time=now),
        market.depth((), (), 3, received_time=now, valid=False),
        market.depth(heavy, light, 4, received_time=now, symbol="ETH-USD"),
        market.depth(heavy, light, 5, received_time=now),
        market.depth(heavy, light, 5, received_time=now),
        market.depth(light, heavy, 6, received_time=now),
    ]


@pytest.fixture(params=["no registry", "registry"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a registry that gives the schemas' ids, or "": they come from fingerprints."""
    if request.param == "registry":
        with registry_server() as server:
            yield server.url
    else:
        yield ""


async def test_it_tells_each_imbalance_once(kafka: KafkaSettings, url: str, tmp_path: Path) -> None:
    program, typed = of_this_test()
    assert (program.language, typed.language) == ("python", "sh")
    (tmp_path / "imbalance.py").write_text(program.text, encoding="utf-8")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    run = tmp_path / "data" / "demo" / "run"
    run.mkdir(parents=True)
    (run / "broker.json").write_text(json.dumps({"bootstrap": kafka.bootstrap}), encoding="utf-8")
    codec = Codec(registry(RegistrySettings(url=url or None)))
    async with running(producer(kafka, client_id="test"), kafka) as writer:
        for book in books(time.time_ns()):
            await writer.send_and_wait("md.depth", await asyncio.to_thread(codec.encode, book), key=key_of(book))
    strategy = await asyncio.create_subprocess_exec(
        # exec: what is killed below is the program, not a shell that leaves it behind.
        *("sh", "-e", "-c", "\n".join([*typed.commands()[:-1], f"exec {typed.commands()[-1]}"])),
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("ALPHAPULSE_")}
        # Faster machines need no more; a book of ten seconds ago must not be too old on a slow one.
        | {"ALPHAPULSE_FRESHNESS__MAX_BOOK_AGE_MS": "50000", "ALPHAPULSE_REGISTRY__URL": url}
        | {"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert strategy.stdout is not None
    try:
        async with asyncio.timeout(BOUND):
            lines = [await strategy.stdout.readline() for _ in range(2)]
    finally:
        strategy.kill()
        await strategy.wait()
    assert lines == [b"kraken buyers 100 +0.82\n", b"kraken sellers 100 -0.82\n"]
