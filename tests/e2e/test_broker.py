"""``alphapulse broker``: a broker for as long as the command runs, or one message why not."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.command import ALPHAPULSE, ROOT, alphapulse, environment

BOUND_SECONDS = 60.0


def test_the_embedded_one_runs_until_ctrl_c(tmp_path: Path) -> None:
    told = tmp_path / "run" / "broker.json"
    command = [*ALPHAPULSE, "broker", "embedded", "--data-dir", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + BOUND_SECONDS
        while not (told.is_file() and "bootstrap" in json.loads(told.read_text(encoding="utf-8"))):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(BOUND_SECONDS) == 0
    assert not told.exists()


@pytest.mark.parametrize("command", [("broker", "kafka"), ("demo", "--port", "0", "--broker", "kafka")])
def test_without_java_it_says_what_to_install(tmp_path: Path, command: tuple[str, ...]) -> None:
    ended = alphapulse(*command, "--data-dir", tmp_path / "data", JAVA_HOME=str(tmp_path))
    assert ended.code == 2
    assert f"JAVA_HOME ({tmp_path}) has no bin/java; install Java 17 or later" in ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("broker", "kafka", "--nodes", "2"), "--nodes"),
        (("broker", "kafka", "--port", "70000"), "--port"),
        (("demo", "--broker", "redpanda"), "redpanda"),
    ],
)
def test_a_wrong_choice_is_named(tmp_path: Path, command: tuple[str, ...], reason: str) -> None:
    ended = alphapulse(*command, "--data-dir", tmp_path)
    assert ended.code == 2
    assert reason in ended.err
    assert "Traceback" not in ended.err
