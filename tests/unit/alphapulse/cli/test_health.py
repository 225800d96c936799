"""alphapulse.cli.health, against real services' answers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from alphapulse.cli import health


class Ops(BaseHTTPRequestHandler):
    """Answers as the ops server of :class:`alphapulse.service.Service` does."""

    answers: ClassVar[dict[str, tuple[int, bytes]]] = {}

    def do_GET(self) -> None:
        status, body = self.answers.get(self.path, (404, b"nothing"))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 its name there
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    Ops.answers = {
        "/health": (200, json.dumps({"service": "gateway", "status": "ok"}).encode()),
        "/ready": (503, json.dumps({"service": "gateway", "ready": False, "waiting": "kafka: no answer"}).encode()),
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ops)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_address_without_health_is_not_called_unready(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    del Ops.answers["/ready"]  # as on the gateway's port for clients
    assert health.main([url]) == 1
    assert capsys.readouterr().out == f"{url}: has no /ready: not the ops port of a service\n"


def test_a_port_without_a_service_is_told_in_words(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        nobody = f"http://127.0.0.1:{bound.getsockname()[1]}"
    assert health.main([nobody, url]) == 1
    assert capsys.readouterr().out == f"{nobody}: Connection refused\ngateway: kafka: no answer\n"


def test_the_usage_fits_80_columns() -> None:
    assert max(map(len, health.USAGE.splitlines())) <= 80


def test_who_is_not_ready_is_told_with_the_reason(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main([url]) == 1
    assert capsys.readouterr().out == "gateway: kafka: no answer\n"
    Ops.answers["/ready"] = (200, b'{"service": "gateway", "ready": true}')
    assert health.main([url]) == 0
    assert capsys.readouterr().out == "gateway: ready\n"


def test_live_asks_only_whether_it_runs(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main(["--live", url]) == 0
    assert capsys.readouterr().out == "gateway: ok\n"


def test_one_of_several_is_enough_for_no(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main(["--live", url, "http://127.0.0.1:1"]) == 1
    assert capsys.readouterr().out.splitlines()[1].startswith("http://127.0.0.1:1: ")


def test_an_answer_that_is_none_of_ours(url: str) -> None:
    Ops.answers["/ready"] = (500, b"\xff oops")
    assert health.main([url]) == 1


def test_the_port_comes_from_the_environment(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALPHAPULSE_OPS__PORT", url.rpartition(":")[2])
    assert health.main(["--live"]) == 0
    monkeypatch.setenv("ALPHAPULSE_OPS__PORT", "0")
    assert health.main([]) == 2
    assert "no port known" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"), [(["--alive"], "unknown option --alive"), (["host:9100"], "not an http://")]
)
def test_wrong_arguments(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main(arguments) == 2
    assert told in capsys.readouterr().err


def test_the_command_imports_little(url: str) -> None:
    """Engines run it every few seconds."""
    code = (
        "import sys; from alphapulse.cli import run\n"
        f"sys.argv = ['alphapulse', 'health', '--live', {url!r}]\n"
        "code = run(); print(sorted({'typer', 'pydantic', 'aiokafka', 'asyncio'} & set(sys.modules)), code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "gateway: ok\n[] 0\n"


HANGS = """
import faulthandler, json, os, pathlib, socket, sys, time
faulthandler.enable()
listening = socket.create_server(("127.0.0.1", 0))
announced = {"service": "gateway", "pid": os.getpid(), "ops_port": listening.getsockname()[1]}
pathlib.Path(sys.argv[1], "gateway.json").write_text(json.dumps(announced))
print(announced["ops_port"], flush=True)
time.sleep(60)
"""


@pytest.fixture
def hung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """A service whose kernel accepts connections, and that never answers any."""
    (tmp_path / "run").mkdir()
    command = [sys.executable, "-c", HANGS, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            monkeypatch.setenv("ALPHAPULSE_OPS__PORT", process.stdout.readline().strip())
            monkeypatch.setenv("ALPHAPULSE_DATA_DIR", str(tmp_path))
            monkeypatch.setattr(health, "ANSWER_SECONDS", 0.05)
            monkeypatch.setattr(health, "ABORT_SECONDS", 0.2)
            yield process
        finally:
            process.kill()


def asked_until_it_ends(reap: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> str:
    for _ in range(health.HUNG_AFTER - 1):
        assert health.main(["--end-hung"]) == 1
    assert "ended" not in capsys.readouterr().out
    threading.Thread(target=reap).start()  # as dumb-init does
    assert health.main(["--end-hung"]) == 1
    return capsys.readouterr().out


def test_a_service_that_hangs_is_ended(hung: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]) -> None:
    told = asked_until_it_ends(hung.wait, capsys)
    assert f"no answer 6 times in a row: ended process {hung.pid}" in told
    _, stacks = hung.communicate(timeout=10)
    assert hung.returncode == -signal.SIGABRT
    assert "most recent call first" in stacks


def test_one_that_was_stopped_is_ended_too(hung: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]) -> None:
    hung.send_signal(signal.SIGSTOP)
    asked_until_it_ends(hung.wait, capsys)
    assert hung.wait(timeout=10) == -signal.SIGKILL


def test_an_answer_begins_the_count_again(
    hung: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "HUNG_AFTER", 2)
    folder, port = tmp_path / "run", os.environ["ALPHAPULSE_OPS__PORT"]
    for _ in range(3):
        assert health.end_hung(folder, port, timed_out=True) == ""
        assert health.end_hung(folder, port, timed_out=False) == ""
    assert hung.poll() is None


def test_only_silence_counts(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a service that is not ready, nor one that does not listen yet, hangs."""
    monkeypatch.setattr(health, "HUNG_AFTER", 1)
    monkeypatch.setenv("ALPHAPULSE_DATA_DIR", str(tmp_path))
    for port in (url.rpartition(":")[2], "1"):
        monkeypatch.setenv("ALPHAPULSE_OPS__PORT", port)
        assert health.main(["--end-hung"]) == 1
        assert "ended" not in capsys.readouterr().out


def test_another_containers_service_is_not_ended(capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main(["--end-hung", "http://gateway:9100"]) == 2
    assert "takes no URL" in capsys.readouterr().err
