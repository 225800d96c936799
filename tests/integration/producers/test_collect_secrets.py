"""Collectors under ``alphapulse collect``: secrets in files are followed by each of them, and are in no environment."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.unmeasured


def lines(log: Path, event: str) -> list[dict[str, Any]]:
    """Return the lines of a log about ``event``."""
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    told = (json.loads(line) for line in text.rpartition("\n")[0].splitlines() if line.startswith("{"))
    return [line for line in told if line["event"] == event]


def environment_of(pid: int) -> str:
    """Return the environment that a process was started with; empty where the system does not tell."""
    file = Path(f"/proc/{pid}/environ")
    return file.read_bytes().decode(errors="replace") if file.exists() else ""


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(90):
        while not true():
            await asyncio.sleep(0.05)


async def test_a_renewed_password_under_the_supervisor(tmp_path: Path) -> None:
    """Without a broker: a collector waits for it, and begins again for the file all the same."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "exchanges.toml").write_text('[venues.kraken]\nsymbols = ["BTC-USD"]\n', encoding="utf-8")
    file = tmp_path / "password"
    file.write_text("word-of-march\n", encoding="utf-8")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("ALPHAPULSE_")} | {
        "ALPHAPULSE_CONFIG": str(tmp_path),
        "ALPHAPULSE_DATA_DIR": str(tmp_path / "data"),
        "ALPHAPULSE_LOG__FORMAT": "json",
        "ALPHAPULSE_KAFKA__BOOTSTRAP": nobody,
        "ALPHAPULSE_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "ALPHAPULSE_KAFKA__SASL_USERNAME": "collector",
        "ALPHAPULSE_KAFKA__SASL_PASSWORD_FILE": str(file),
    }
    log = tmp_path / "data" / "logs" / "collector-kraken.log"
    command = [sys.executable, "-m", "producers.collect", "kraken"]
    with (tmp_path / "supervisor.log").open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, env=variables, stdout=output, stderr=output)
    try:
        await until(lambda: len(lines(log, "started")) == 1)
        pid = lines(log, "started")[0]["pid"]
        assert "word-of-march" not in environment_of(pid)
        file.write_text("word-of-april, which is longer\n", encoding="utf-8")
        await until(lambda: len(lines(log, "started")) == 2)
        assert [line["pid"] for line in lines(log, "started")] == [pid, pid]
        (stop,) = lines(log, "stopping")
        assert stop["files"] == [str(file)]
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0
        assert "word-of" not in log.read_text(encoding="utf-8")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
