"""The examples of docs/clients.md, run as they are written."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from pathlib import Path

import pytest

from alphapulse.config import KafkaSettings
from tests.conftest import ROOT
from tests.integration.gateway.conftest import BOUND, Feed, running_gateway
from tests.integration.gateway.protocol.followers import MODULE
from tests.integration.gateway.protocol.reference import PublishedMarket

pytestmark = pytest.mark.unmeasured

URL = "ws://127.0.0.1:8000/ws/v2"


def example(language: str) -> str:
    """Return the first example in ``language``."""
    text = (ROOT / "docs/clients.md").read_text(encoding="utf-8")
    found = re.search(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    assert URL in found[1]
    return found[1]


async def first_line(*command: str, folder: Path) -> str:
    """Run ``command`` until it prints a line; return that."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(BOUND):
            line = await process.stdout.readline()
    finally:
        if process.returncode is None:
            process.kill()
    _, errors = await process.communicate()
    assert line, errors.decode()
    return line.decode().rstrip()


@pytest.mark.parametrize("language", ["python", "js"])
async def test_the_example_prints_the_best_quotes(
    language: str, feed: Feed, kafka: KafkaSettings, tmp_path: Path
) -> None:
    node = shutil.which("node")
    if language == "js" and (node is None or not MODULE.exists()):
        pytest.skip("no Node.js, or the TypeScript client is not built (make client)")
    market = PublishedMarket("kraken", "BTC-USD", seed=3)
    await feed.put(*market.begin())
    bids, asks = market.books[market.numbers]
    async with running_gateway(tmp_path / "gateway", kafka) as gateway:
        url = (await gateway.announced())["url"].replace("http", "ws", 1) + "/ws/v2"
        program = tmp_path / f"example.{'py' if language == 'python' else 'mjs'}"
        program.write_text(example(language).replace(URL, url), encoding="utf-8")
        # As npm would install them.
        installed = tmp_path / "node_modules"
        (installed / "@alphapulse").mkdir(parents=True)
        (installed / "@alphapulse/client").symlink_to(ROOT / "gateway/client")
        (installed / "ws").symlink_to(ROOT / "gateway/client/node_modules/ws")
        command = sys.executable if language == "python" else str(node)
        line = await first_line(command, str(program), folder=tmp_path)
    assert line == f"kraken {bids[0][0]} {asks[0][0]}"
