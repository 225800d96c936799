"""The life of a service, seen from outside: real processes, signals, ports and files."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from structlog.testing import capture_logs

from alphapulse.config import OpsSettings, Settings
from alphapulse.errors import AlphaPulseError, BrokerError, BrokerUnavailable, ServiceError
from alphapulse.service import Service, announcement_path

ROOT = Path(__file__).resolve().parents[3]
BOUND = 30.0
"""Seconds in which everything here happens, however busy the machine is."""


class Process:
    """A running tests/unit/alphapulse/life.py."""

    def __init__(self, data_dir: Path, *arguments: str, **variables: str) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("ALPHAPULSE_")}
        self.announcement = data_dir / "run" / "life.json"
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.alphapulse.life", *arguments],
            cwd=ROOT,
            env={**inherited, "ALPHAPULSE_DATA_DIR": str(data_dir), **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.err = b""

    def announced(self) -> dict[str, Any]:
        """Wait for the announcement."""
        deadline = time.monotonic() + BOUND
        while time.monotonic() < deadline:
            if self.announcement.is_file():
                found: dict[str, Any] = json.loads(self.announcement.read_text())
                if found["pid"] == self.popen.pid:
                    return found
            assert self.popen.poll() is None, self.ended()
            select.select([], [], [], 0.01)
        raise AssertionError("no announcement")

    def says(self, text: str) -> None:
        """Wait until ``text`` stands on standard error."""
        assert self.popen.stderr is not None
        deadline = time.monotonic() + BOUND
        while text.encode() not in self.err:
            readable, _, _ = select.select([self.popen.stderr], [], [], max(0, deadline - time.monotonic()))
            assert readable, f"{text!r} not said: {self.err.decode()}"
            chunk = os.read(self.popen.stderr.fileno(), 65536)
            assert chunk, f"{text!r} not said: {self.err.decode()}"
            self.err += chunk

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def ended(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and all that was said on standard error."""
        _, rest = self.popen.communicate(timeout=BOUND)
        return self.popen.returncode, (self.err + rest).decode()

    def get(self, path: str) -> tuple[int, str, str]:
        """Ask the ops server; return status, content type and body."""
        address = f"http://127.0.0.1:{self.announced()['ops_port']}{path}"
        try:
            with urllib.request.urlopen(address, timeout=BOUND) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read().decode()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    started: list[Process] = []

    def start(*arguments: str, data_dir: Path = tmp_path, **variables: str) -> Process:
        started.append(Process(data_dir, *arguments, **variables))
        return started[-1]

    yield start
    for process in started:
        process.popen.kill()
        process.popen.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_gracefully(start: Any, number: signal.Signals) -> None:
    process = start("idle")
    process.announced()
    process.says('"ready"')
    process.signal(number)
    code, err = process.ended()
    assert code == 0
    events = [json.loads(line) for line in err.splitlines()]
    assert [event["event"] for event in events] == ["started", "ready", "stopping", "done", "not ready"]
    assert events[2]["signal"] == number.name
    assert not process.announcement.exists()


def test_a_second_signal_cuts_it_short(start: Any) -> None:
    process = start("slow")
    process.announced()
    process.signal(signal.SIGTERM)
    process.says("slow to stop")
    process.signal(signal.SIGTERM)
    code, err = process.ended()
    assert code == 2
    assert '"event": "cancelled"' in err
    assert err.splitlines()[-1] == "life: life received a second stop signal; cut short"
    assert not process.announcement.exists()


def test_a_stop_that_takes_too_long_is_cut_short(start: Any) -> None:
    process = start("slow", "0.2")
    process.announced()
    process.signal(signal.SIGTERM)
    code, err = process.ended()
    assert code == 2
    assert '"event": "cancelled"' in err
    assert err.splitlines()[-1] == "life: life did not stop within 0.2 s; cut short"


def test_what_fails_while_it_is_cut_short_is_told(start: Any) -> None:
    process = start("stumbling", "0.2")
    process.announced()
    process.signal(signal.SIGTERM)
    code, err = process.ended()
    assert code == 2
    assert "RuntimeError: stumbled" in err


@pytest.mark.parametrize("main", ["deaf", "blocked"])
def test_it_ends_even_if_it_cannot_be_cut_short(start: Any, main: str) -> None:
    process = start(main, "0.2")
    process.announced()
    process.signal(signal.SIGTERM)
    code, err = process.ended()
    assert code == 1
    assert "Timeout" in err  # faulthandler's own word, the stacks follow
    assert re.search(r'File ".*life\.py", line \d+ in blocked' if main == "blocked" else r"most recent call first", err)


def test_a_fault_is_logged_whole(start: Any) -> None:
    code, err = start("broken").ended()
    assert code == 1
    failed = json.loads(err.splitlines()[-1])
    assert (failed["event"], failed["level"], failed["service"]) == ("failed", "error", "life")
    assert "ZeroDivisionError: division of the house" in failed["exception"]


def test_a_refusal_is_one_message(start: Any) -> None:
    process = start("refused")
    code, err = process.ended()
    assert code == 2
    assert err.splitlines()[-1] == "life: the thing at place: not today"
    assert "Traceback" not in err
    assert not process.announcement.exists()


def test_a_group_of_refusals_is_one_message_each(start: Any) -> None:
    code, err = start("refused_in_group").ended()
    assert code == 2
    assert err.splitlines()[-2:] == ["life: first", "life: second"]


def test_a_group_with_a_fault_is_a_fault(start: Any) -> None:
    code, err = start("broken_in_group").ended()
    assert code == 1
    assert "KeyError: 'second'" in err


@pytest.mark.parametrize("main", ["brief", "interrupted"])
def test_an_early_end_is_no_fault(start: Any, main: str) -> None:
    process = start(main)
    code, err = process.ended()
    assert code == 0, err
    assert not process.announcement.exists()


def test_a_port_in_use_is_named_and_the_other_left_alone(start: Any, tmp_path: Path) -> None:
    first = start("idle")
    port = first.announced()["ops_port"]
    code, err = start("idle", ALPHAPULSE_OPS__PORT=str(port)).ended()
    assert code == 2
    assert err == f"life: ops.port: cannot listen on 127.0.0.1:{port} for life: Address already in use\n"
    assert first.announced()["ops_port"] == port
    assert first.get("/health")[0] == 200


def test_a_host_that_is_not_ours_is_named(start: Any) -> None:
    code, err = start("idle", ALPHAPULSE_OPS__HOST="192.0.2.1").ended()
    assert code == 2
    assert err == "life: ops.port: cannot listen on 192.0.2.1:0 for life: Cannot assign requested address\n"


@pytest.mark.parametrize(
    ("name", "reason"), [("in-the-way", "Not a directory"), ("/proc", "No such file or directory")]
)
def test_a_data_dir_that_is_not_writable_is_named(start: Any, tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "in-the-way").write_text("a file")
    data_dir = tmp_path / name
    code, err = start("idle", data_dir=data_dir).ended()
    assert code == 2
    assert err == f"life: data_dir: cannot write {data_dir}/run/life.json: {reason}\n"


def test_a_faulty_configuration_is_one_message(start: Any) -> None:
    code, err = start("idle", ALPHAPULSE_OPS__PORT="-1", ALPHAPULSE_OPSS="1").ended()
    assert code == 2
    assert err.startswith("life: configuration refused, 2 faults:\n  - ALPHAPULSE_OPSS: unknown variable")
    assert "\n  - ALPHAPULSE_OPS__PORT: key ops.port: " in err


def test_it_stops_when_its_parent_is_killed(start: Any, tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            (
                "import subprocess, sys\n"
                "child = subprocess.Popen([sys.executable, '-m', 'tests.unit.alphapulse.life', 'idle'],"
                " stdin=subprocess.PIPE)\n"
                "print(child.pid, flush=True)\n"
                "child.wait()\n"
            ),
        ],
        cwd=ROOT,
        env={**os.environ, "ALPHAPULSE_DATA_DIR": str(tmp_path), "ALPHAPULSE_OPS__STOP_WITH_PARENT": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert parent.stdout is not None
    assert parent.stderr is not None
    child = int(parent.stdout.readline())
    announcement = tmp_path / "run" / "life.json"
    deadline = time.monotonic() + BOUND
    while not announcement.exists():
        assert time.monotonic() < deadline
        select.select([], [], [], 0.01)
    assert json.loads(announcement.read_text())["pid"] == child
    parent.send_signal(signal.SIGKILL)
    # The child holds the other ends of these pipes: they end when it does.
    _, err = parent.communicate(timeout=BOUND)
    assert b"the parent is gone" in err
    assert b'"done"' in err
    assert not announcement.exists()


def test_it_outlives_what_the_parent_says(start: Any) -> None:
    process = start("idle", ALPHAPULSE_OPS__STOP_WITH_PARENT="true")
    process.announced()
    assert process.popen.stdin is not None
    process.popen.stdin.write(b"hello\n")
    process.popen.stdin.flush()
    assert process.get("/health")[0] == 200
    process.popen.stdin.close()
    process.popen.stdin = None
    assert process.ended()[0] == 0


@pytest.mark.parametrize("name", ["file", "/dev/null"])
def test_a_parent_that_holds_no_pipe_is_a_refusal(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with (tmp_path / name).open() as file:
        ended = subprocess.run(
            [sys.executable, "-m", "tests.unit.alphapulse.life", "idle"],
            cwd=ROOT,
            env={**os.environ, "ALPHAPULSE_DATA_DIR": str(tmp_path), "ALPHAPULSE_OPS__STOP_WITH_PARENT": "true"},
            stdin=file,
            capture_output=True,
            text=True,
            timeout=BOUND,
            check=False,
        )
    assert ended.returncode == 2
    assert ended.stderr == ("life: ops.stop_with_parent: standard input is not a pipe held by a parent process\n")


def test_the_ops_server_answers(start: Any) -> None:
    process = start("talkative")
    process.says('"ready"')
    announced = process.announced()
    assert announced == {
        "service": "life",
        "pid": process.popen.pid,
        "ops_port": announced["ops_port"],
        "extra": {"port": 5},
    }
    status, kind, body = process.get("/health")
    assert (status, kind) == (200, "application/json; charset=utf-8")
    assert {**json.loads(body), "started": 0} == {"service": "life", "status": "ok", "started": 0}
    assert process.get("/ready")[::2] == (200, '{"service": "life", "ready": true}')
    assert process.get("/status")[::2] == (200, '{"service": "life", "ready": true}')
    assert process.get("/nowhere")[::2] == (404, "life has no endpoint GET /nowhere")
    status, kind, body = process.get("/metrics")
    assert status == 200
    assert kind.startswith("text/plain")
    assert 'alphapulse_dead_letters_total{error="FrameRefused",service="life"} 3.0' in body
    assert "process_resident_memory_bytes" in body


def test_stopping_shows(start: Any) -> None:
    process = start("slow")
    process.announced()
    process.signal(signal.SIGTERM)
    process.says("slow to stop")
    assert json.loads(process.get("/health")[2])["status"] == "stopping"
    assert process.get("/ready")[0] == 503


def test_while_it_waits_it_says_for_what(start: Any, tmp_path: Path) -> None:
    process = start("waiting")
    process.says('"waiting"')
    reason = "the broker at place is away"
    assert process.get("/ready")[::2] == (503, json.dumps({"service": "life", "ready": False, "waiting": reason}))
    assert json.loads(process.get("/status")[2])["waiting"] == reason
    assert process.get("/health")[0] == 200
    (tmp_path / "there").touch()
    process.says('"ready"')
    assert process.get("/ready")[::2] == (200, '{"service": "life", "ready": true}')
    process.signal(signal.SIGTERM)
    code, err = process.ended()
    assert code == 0
    # However often it tried, it said so once.
    events = [json.loads(line)["event"] for line in err.splitlines()]
    assert events == ["started", "waiting", "waits no longer", "ready", "stopping", "not ready"]


def test_it_stops_while_it_waits(start: Any) -> None:
    process = start("waiting")
    process.says('"waiting"')
    process.signal(signal.SIGTERM)
    code, err = process.ended()
    assert code == 0
    last = json.loads(err.splitlines()[-1])
    assert (last["event"], last["reason"]) == ("stopped while it waited", "the broker at place is away")
    assert not process.announcement.exists()


def test_who_loses_its_broker_begins_again_as_the_same_process(start: Any, tmp_path: Path) -> None:
    process = start("losing", "5", ALPHAPULSE_OPS__STOP_WITH_PARENT="true")
    process.says("lost its broker; begins again")
    process.says('"ready"')

    def lives() -> list[int]:
        return [int(pid) for pid in (tmp_path / "lives").read_text().split()]

    deadline = time.monotonic() + BOUND
    while len(lives()) < 2:
        assert time.monotonic() < deadline
        select.select([], [], [], 0.01)
    assert lives() == [process.popen.pid] * 2
    assert process.get("/ready")[0] == 200
    # It still hears its parent's end.
    process.popen.stdin.close()
    process.popen.stdin = None
    code, err = process.ended()
    assert code == 0, err
    assert '"nothing was acknowledged"' in err
    assert "the parent is gone" in err


@pytest.mark.parametrize(
    ("begins_again", "worked", "error", "expected"),
    [
        (True, True, BrokerError("lost"), True),
        (True, True, ServiceError("disk full"), False),
        (True, False, BrokerUnavailable("away again"), True),
        (True, False, BrokerError("refused"), False),
        (False, True, BrokerUnavailable("away"), False),
    ],
)
def test_who_begins_again(
    tmp_path: Path, begins_again: bool, worked: bool, error: AlphaPulseError, expected: bool
) -> None:
    service = Service("inside", Settings(data_dir=tmp_path, ops=OpsSettings()))
    service.begins_again = begins_again
    if worked:
        service.ready = True
        service.ready = False
    assert service.lost_its_broker([error]) is expected
    assert not service.lost_its_broker([error, ServiceError("and another thing")])


class TestInProcess:
    """What needs no process of its own."""

    @pytest.fixture
    def service(self, tmp_path: Path) -> Service:
        return Service("inside", Settings(data_dir=tmp_path, ops=OpsSettings()))

    async def test_routes_may_come_late_and_status_is_what_is_reported(self, service: Service) -> None:
        async def main(running: Service) -> None:
            port = json.loads(announcement_path(running.settings, "inside").read_text())["ops_port"]
            running.report(lambda: {"path": Path("x"), "lag": 3})

            async def hello(request: web.Request) -> web.Response:
                return web.Response(text=await request.text())

            running.route("POST", "/hello", hello)
            async with ClientSession(f"http://127.0.0.1:{port}") as client:
                async with client.get("/ready") as answer:
                    assert (answer.status, await answer.json()) == (503, {"service": "inside", "ready": False})
                async with client.get("/status") as answer:
                    assert await answer.json() == {"service": "inside", "ready": False, "path": "x", "lag": 3}
                async with client.post("/hello", data="you") as answer:
                    assert await answer.text() == "you"
                async with client.get("/hello") as answer:
                    assert answer.status == 404

        await service.live(main)
        assert not announcement_path(service.settings, "inside").exists()

    def test_a_service_that_waits_is_not_ready_and_says_so_now_and_then(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 0
        monkeypatch.setattr("alphapulse.service.time.monotonic", lambda: now)
        with capture_logs() as said:
            for now in (100, 101, 106, 107, 112, 167, 170, 171):
                service.waiting = {100: "a", 106: "a", 170: "", 171: "c"}.get(now, "b")
        assert [(line["event"], line.get("reason"), line["seconds"]) for line in said] == [
            ("waiting", "a", 0),
            ("waiting", "a", 6),
            ("waiting", "b", 67),
            ("waits no longer", None, 70),
            ("waiting", "c", 0),
        ]

    async def test_who_cancels_it_cancels_main(self, service: Service) -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def main(_: Service) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        life = asyncio.create_task(service.live(main))
        await begun.wait()
        life.cancel()
        with pytest.raises(asyncio.CancelledError):
            await life
        assert ended.is_set()

    async def test_it_does_not_remove_the_announcement_of_another(self, service: Service) -> None:
        path = announcement_path(service.settings, "inside")

        async def main(_: Service) -> None:
            path.write_text('{"pid": 1}')

        await service.live(main)
        assert json.loads(path.read_text()) == {"pid": 1}

    async def test_an_unknown_host_is_named(self, tmp_path: Path) -> None:
        ops = OpsSettings(host="no-such-host.invalid")
        service = Service("inside", Settings(data_dir=tmp_path, ops=ops))

        async def main(_: Service) -> None:
            raise AssertionError("never reached")

        with pytest.raises(ServiceError, match=r"cannot listen on no-such-host\.invalid:0 for inside: \w+"):
            await service.live(main)

    async def test_a_taken_port_is_a_refusal(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            ops = OpsSettings(port=taken.getsockname()[1])
            service = Service("inside", Settings(data_dir=tmp_path, ops=ops))

            async def main(_: Service) -> None:
                raise AssertionError("never reached")

            with pytest.raises(ServiceError, match="Address already in use"):
                await service.live(main)


def test_the_start_up_is_no_garbage_to_look_for() -> None:
    code = (
        "import asyncio, gc\n"
        "from alphapulse.config import Settings\n"
        "from alphapulse.service import Service\n"
        "async def main():\n"
        "    service = Service('life', Settings())\n"
        "    counts = []\n"
        "    for ready in (False, True, False, True):\n"
        "        service.ready = ready\n"
        "        counts.append(gc.get_freeze_count())\n"
        "    print(counts[0], counts[1] > 10_000, counts[1] == counts[3])\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["0 True True"], done.stderr
