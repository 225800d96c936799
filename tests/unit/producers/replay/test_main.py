"""producers.replay.__main__: the command, as a process and in this one."""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from producers.replay.__main__ import main, speed
from tests.fixtures.venue_server import until

ROOT = Path(__file__).resolve().parents[4]
DIFF = b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","s":"BTCUSDT","U":1,"u":2,"b":[],"a":[]}}'
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALPHAPULSE_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


async def test_the_process_serves_tells_its_faults_and_stops_when_asked(write: Write, data_dir: Path) -> None:
    path = write(b"1 " + DIFF, b"oops", name="binance morning.rec")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "producers.replay", str(path), cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    try:
        announcement = data_dir / "run" / "replay-binance_morning.json"
        await until(lambda: announcement.exists() and "websocket_url" in announcement.read_text(), 30)
        announced = json.loads(announcement.read_text())
        assert announced["pid"] == process.pid
        assert announced["symbols"] == ["BTC-USDT"]
        async with connect(announced["websocket_url"] + "/stream?streams=btcusdt@depth@100ms") as client:
            assert await asyncio.wait_for(client.recv(), 10) == DIFF.decode()
            assert await asyncio.wait_for(client.recv(), 10) == "oops"
            os.kill(process.pid, signal.SIGTERM)
            await asyncio.wait_for(client.wait_closed(), 10)
            assert client.close_code == 1001
        _, errors = await asyncio.wait_for(process.communicate(), 20)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    assert f"{path}:2: not `<received_ns> <frame>`" in errors.decode()
    assert not announcement.exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("binance.rec", None, "binance.rec: cannot be read: No such file or directory"),
        ("binance.rec", b"", "binance.rec: the recording is empty"),
        ("binance.rec.gz", b"plain", "binance.rec.gz: is not a gzip file"),
        ("morning.rec", b"1 {}\n", "morning.rec: neither its file name nor its frames identify the venue"),
        ("binance.rec.gz", gzip.compress(DIFF, mtime=0)[:11], "the recording is truncated"),
    ],
)
def test_what_cannot_be_served_ends_in_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert main([str(path)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("replay-")
    assert message in error


def test_more_faults_than_are_told_are_counted(
    write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.replay.recording.FAULTS_TOLD", 2)
    monkeypatch.setattr("producers.replay.server.LOOPBACK", "192.0.2.1")  # not an address of this machine: it ends
    assert main([str(write(b"1 " + DIFF, *[b"x"] * 5))]) == 2
    errors = capsys.readouterr().err
    assert '"faults": 5' in errors
    assert "port: cannot listen on 192.0.2.1:0" in errors


def test_speed() -> None:
    assert speed("max") is None
    assert speed("2.5") == 2.5
    for wrong in ("0", "-1", "nan", "inf", "fast"):
        with pytest.raises(argparse.ArgumentTypeError, match=f"'{wrong}' is neither"):
            speed(wrong)


def test_an_unknown_venue_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["x", "--venue", "krakn"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("replay-x: --venue: 'krakn': unknown venue, did you mean kraken?; known: ")
    assert len(told.splitlines()) == 1
