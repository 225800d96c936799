"""What README shows works."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from alphapulse.config import KafkaSettings
from alphapulse.kafka import producer, running
from schemas.codec import Codec
from schemas.records import key_of
from tests import recordings
from tests.fixtures.records import OPPORTUNITY

ROOT = Path(__file__).resolve().parents[2]
PLAYED = ("alpaca", "kraken")

OPENED = replace(OPPORTUNITY, state="OPENED", net_profit="151.22", close_reason=None)


async def test_the_strategy_of_the_readme_sees_an_opportunity(kafka: KafkaSettings) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (source,) = (block for block in blocks if "consumer.commit()" in block)
    strategy = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", source),
        cwd=ROOT,
        env={**os.environ, "ALPHAPULSE_KAFKA__BOOTSTRAP": kafka.bootstrap},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        await publish(kafka)
        assert strategy.stdout is not None
        line = await asyncio.wait_for(strategy.stdout.readline(), 30)
        assert line == b"OPENED BTC-USD kraken coinbase 151.22\n"
    finally:
        strategy.kill()
        await strategy.wait()


async def publish(settings: KafkaSettings) -> None:
    async with running(producer(settings, client_id="test"), settings) as writer:
        await writer.send_and_wait("signals.arbitrage", Codec().encode(OPENED), key=key_of(OPENED))


@pytest.mark.unmeasured
async def test_the_replay_of_the_readme_works_as_it_is_typed(tmp_path: Path) -> None:
    """In a folder that looks like the repository, so that what it writes lands elsewhere. Two pages have it.

    Of our recordings two are there, one of them without books: each is played by two processes. What a replay of all
    of them comes to is judged in tests/e2e/test_replay.py, and how it is typed makes no difference to that.
    """
    text, again = ((ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "recordings/README.md"))
    typed = re.findall(r"^    (\. \.venv/bin/activate|alphapulse replay .*)$", text, re.MULTILINE)
    assert [line.split()[0] for line in typed] == [".", "alphapulse"]
    assert re.findall(r"^    (alphapulse replay .*)$", again, re.MULTILINE) == typed[1:]
    (tmp_path / "recordings").mkdir()
    played = [recordings.ours(venue) for venue in PLAYED]
    for recording in played:
        (tmp_path / "recordings" / recording.path.name).symlink_to(recording.path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ALPHAPULSE_")}
    shell = await asyncio.create_subprocess_exec(
        *("sh", "-e", "-c", "\n".join(typed)),
        cwd=tmp_path,
        env={**environment, "COLUMNS": "80"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(150):
        out, err = await shell.communicate()
    assert shell.returncode == 0, err.decode()
    table = out.decode()
    for recording in played:
        assert f"{recording.path.name}: {recording.venue}, " in err.decode()
        assert all(symbol in table for symbol in recording.instruments)
    assert (tmp_path / "out" / "parquet").is_dir()
