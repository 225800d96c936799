"""What the logs look like: JSON lines in a pipe, readable text on a terminal."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from alphapulse import logs
from alphapulse.config import LogSettings

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, hook = root.handlers[:], root.level, threading.excepthook
    show = warnings.showwarning
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    threading.excepthook = hook
    logging.captureWarnings(False)
    warnings.showwarning = show
    structlog.reset_defaults()


def configured(**settings: Any) -> io.StringIO:
    stream = io.StringIO()
    logs.configure(LogSettings(**settings), service="collector-kraken", stream=stream)
    return stream


def events(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_a_json_object() -> None:
    stream = configured()
    logs.get("producers.collector.collector", venue="kraken").info("connected", attempt=2, path=Path("x"))
    (event,) = events(stream)
    stamp = datetime.fromisoformat(event.pop("timestamp"))
    assert stamp.utcoffset() == timedelta(0)
    assert event == {
        "event": "connected",
        "level": "info",
        "logger": "producers.collector.collector",
        "service": "collector-kraken",
        "venue": "kraken",
        "attempt": 2,
        "path": "x",
    }


def test_the_libraries_lines_have_the_same_shape() -> None:
    stream = configured()
    try:
        int("seven")
    except ValueError:
        logging.getLogger("asyncio").exception("task %s failed", "read")
    (event,) = events(stream)
    assert (event["event"], event["level"], event["logger"]) == ("task read failed", "error", "asyncio")
    assert event["service"] == "collector-kraken"
    assert event["exception"].endswith("ValueError: invalid literal for int() with base 10: 'seven'")


def test_what_warns_and_what_threads_die_of_is_a_line_too() -> None:
    stream = configured()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old\nthing", UserWarning, stacklevel=1)
    thread = threading.Thread(target=int, args=("seven",), name="worker")
    thread.start()
    thread.join()
    first, second = events(stream)
    assert first["logger"] == "py.warnings"
    assert "old\nthing" in first["event"]
    assert (second["event"], second["thread"]) == ("thread died", "worker")
    assert "ValueError: invalid literal" in second["exception"]


@pytest.mark.parametrize(("level", "told"), [("DEBUG", 4), ("INFO", 3), ("WARNING", 2), ("ERROR", 1)])
def test_the_level_counts_for_all(level: str, told: int) -> None:
    stream = configured(level=level)
    log = logs.get("x")
    for say in (log.debug, log.info, log.warning, log.error):
        say("said")
    assert len(events(stream)) == told


def test_noisy_libraries_are_quiet_below_warning() -> None:
    stream = configured(level="DEBUG")
    logging.getLogger("aiokafka.consumer").info("hidden")
    logging.getLogger("aiokafka.consumer").warning("told")
    assert [event["event"] for event in events(stream)] == ["told"]
    stream = configured(level="ERROR")
    logging.getLogger("aiokafka.consumer").warning("hidden")
    assert events(stream) == []


def test_what_librdkafka_repeats_is_told_now_and_then_by_kind() -> None:
    stream = configured()
    client = logging.getLogger("librdkafka")
    for number in range(3):
        for kind in ("FAIL", "REQTMOUT"):
            client.error("%s [%s] %s", kind, "name", f"{number} of them")
    assert [line["event"] for line in events(stream)] == ["FAIL [name] 0 of them", "REQTMOUT [name] 0 of them"]


def test_what_the_kafka_client_repeats_is_told_now_and_then() -> None:
    stream = configured()
    client, root = logging.getLogger("aiokafka.client"), logging.getLogger()

    def say(name: str, text: str, value: int, at: float) -> None:
        record = client.makeRecord(name, logging.ERROR, "client.py", 1, text, (value,), None)
        record.created = at
        root.handle(record)

    away = "no node %d"
    for tenth in range(1000):
        say("aiokafka", away, tenth, 1_000.0 + tenth / 10)
    say("aiokafka.client", away, 1, 1_001.0)
    say("aiokafka", "something else: %d", 1, 1_001.0)
    for _ in range(2):
        say("of ours", away, 2, 1_001.0)
    more = " (299 more since the last such message)"
    assert [(line["logger"], line["event"]) for line in events(stream)] == [
        ("aiokafka", "no node 0"),
        *[("aiokafka", f"no node {number}{more}") for number in (300, 600, 900)],
        ("aiokafka.client", "no node 1"),
        ("aiokafka", "something else: 1"),
        *[("of ours", "no node 2")] * 2,
    ]


def test_context_variables_are_added() -> None:
    stream = configured()
    with structlog.contextvars.bound_contextvars(request="7"):
        logs.get("x").info("asked")
    assert events(stream)[0]["request"] == "7"


def test_text_is_readable_and_has_no_colours_in_a_file() -> None:
    stream = configured(format="text")
    logs.get("producers.collector.collector").warning("gap", venue="kraken")
    line = stream.getvalue()
    assert "warning" in line
    assert "gap" in line
    assert "venue=kraken" in line
    assert "\x1b" not in line


def test_configuring_twice_tells_once() -> None:
    configured()
    stream = configured()
    logs.get("x").info("once")
    assert len(events(stream)) == 1


def talkative(tmp_path: Path, stderr: int, **variables: str) -> subprocess.Popen[bytes]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("ALPHAPULSE_")}
    return subprocess.Popen(
        [sys.executable, "-W", "default", "-m", "tests.unit.alphapulse.life", "talkative"],
        cwd=ROOT,
        env={**inherited, "ALPHAPULSE_DATA_DIR": str(tmp_path), **variables},
        stderr=stderr,
    )


def read_until(descriptor: int, text: bytes) -> bytes:
    said = b""
    while text not in said:
        readable, _, _ = select.select([descriptor], [], [], 30.0)
        assert readable, said
        chunk = os.read(descriptor, 65536)
        assert chunk, said
        said += chunk
    return said


def test_a_terminal_gets_text(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = talkative(tmp_path, theirs)
    os.close(theirs)
    try:
        said = read_until(ours, b"ready").decode()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        os.close(ours)
    lines = said.splitlines()
    assert "\x1b[" in lines[0]
    assert "started" in lines[0]
    assert not any(line.startswith("{") for line in lines)


def test_a_pipe_gets_nothing_but_json(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    process = talkative(tmp_path, theirs)
    os.close(theirs)
    try:
        said = read_until(ours, b'"ready"')
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    while chunk := os.read(ours, 65536):
        said += chunk
    os.close(ours)
    told = [json.loads(line) for line in said.decode().splitlines()]
    assert [event["event"].split(": ")[-1].split("\n")[0] for event in told] == [
        "started",
        "text",
        "bound",
        "failed once",
        "old thing",
        "thread died",
        "ready",
        "stopping",
        "not ready",
    ]
    assert {event["service"] for event in told} == {"life"}
    assert told[1]["price"] == "<class 'object'>"
    assert told[2]["symbol"] == "BTC-USD"
