from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from alphapulse import reload
from alphapulse.config import Settings
from alphapulse.errors import ConfigError
from tests.fixtures.venue_server import until


class Told:
    """What a follower was told."""

    def __init__(self) -> None:
        self.settings: list[Settings] = []
        self.faults: list[list[str]] = []

    def refuse(self, error: ConfigError) -> None:
        self.faults.append(error.faults)

    @property
    def symbols(self) -> tuple[str, ...]:
        return self.settings[-1].venues["kraken"].symbols


@asynccontextmanager
async def following(folder: Path, poll_seconds: float = 0.01) -> AsyncIterator[Told]:
    told = Told()
    work = asyncio.create_task(reload.follow(folder, told.settings.append, told.refuse, poll_seconds=poll_seconds))
    try:
        await until(lambda: told.settings or told.faults or work.done())
        yield told
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "BTC-USD")
    return tmp_path


def write(folder: Path, *symbols: str) -> None:
    quoted = ", ".join(f'"{symbol}"' for symbol in symbols)
    (folder / "exchanges.toml").write_text(f"[venues.kraken]\nsymbols = [{quoted}]\n", encoding="utf-8")


async def test_a_change_is_told_once(folder: Path) -> None:
    async with following(folder) as told:
        assert told.symbols == ("BTC-USD",)
        write(folder, "BTC-USD", "ETH-USD")
        await until(lambda: told.symbols == ("BTC-USD", "ETH-USD"))
        write(folder, "SOL-USD")
        await until(lambda: told.symbols == ("SOL-USD",))
        assert len(told.settings) == 3
        assert told.faults == []


async def test_a_wrong_file_is_refused_with_every_fault_and_its_correction_is_taken(folder: Path) -> None:
    async with following(folder) as told:
        (folder / "exchanges.toml").write_text('[venues.kraken]\nsymbols = ["btc"]\ndepht = 3\n', encoding="utf-8")
        await until(lambda: told.faults)
        assert [fault.partition(": ")[2][:28] for fault in told.faults[0]] == [
            "key venues.kraken.symbols.0:",
            "key venues.kraken.depht: unk",
        ]
        assert len(told.settings) == 1
        write(folder, "ETH-USD")
        await until(lambda: told.symbols == ("ETH-USD",))


async def test_a_file_that_vanishes_is_refused_until_it_is_back(folder: Path) -> None:
    async with following(folder) as told:
        (folder / "exchanges.toml").unlink()
        await until(lambda: told.faults)
        assert "exchanges.toml: the file is missing" in told.faults[0][0]
        write(folder, "ETH-USD")
        await until(lambda: told.symbols == ("ETH-USD",))


async def test_what_the_owner_refuses_is_told_as_well(folder: Path) -> None:
    faults: list[list[str]] = []
    calls = 0

    def changed(settings: Settings) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise ConfigError(["venues.kraken.depth: 7 is not offered"])

    work = asyncio.create_task(reload.follow(folder, changed, lambda e: faults.append(e.faults), poll_seconds=0.01))
    await until(lambda: calls == 1)
    write(folder, "ETH-USD")
    await until(lambda: faults == [["venues.kraken.depth: 7 is not offered"]])
    assert not work.done()
    work.cancel()


async def test_a_hangup_reads_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    async with following(folder, poll_seconds=3600) as told:
        write(folder, "ETH-USD")
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: told.symbols == ("ETH-USD",))
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
