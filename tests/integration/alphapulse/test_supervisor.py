"""The supervisor over real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from alphapulse.config import Settings
from alphapulse.errors import ServiceError
from alphapulse.service import last_status_path
from alphapulse.supervisor.restarts import PROVEN_SECONDS
from alphapulse.supervisor.supervisor import Child, ChildSpec, Supervisor

pytestmark = pytest.mark.usefixtures("from_root", "spares_at_once")


@pytest.fixture
def from_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children are started as ``python -m tests.…``."""
    monkeypatch.chdir(Path(__file__).resolve().parents[3])


@pytest.fixture
def spares_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """StandbyPool do not wait until a child has started."""
    monkeypatch.setattr("alphapulse.supervisor.standby.PREPARE_SECONDS", 0.0)


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    async with Supervisor(tmp_path) as supervisor:
        yield supervisor


def spec(
    tmp_path: Path,
    behaviour: str,
    name: str = "child",
    *,
    restart: bool = True,
    spare: bool = False,
    patient: bool = False,
    stage: int = 0,
    grace_seconds: float = 15.0,
) -> ChildSpec:
    settings, arguments = Settings(data_dir=tmp_path), (name, behaviour)
    module = "tests.fixtures.child"
    return ChildSpec(
        name, module, settings, arguments, restart, spare, patient, stage=stage, grace_seconds=grace_seconds
    )


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split()[2] != "Z"


async def test_a_child_announces_gets_ready_answers_and_stops(supervisor: Supervisor, tmp_path: Path) -> None:
    child = await supervisor.start(spec(tmp_path, "serve"))
    told = await supervisor.announcement("child")
    assert told["pid"] == child.pid
    await supervisor.wait_ready("child")
    assert (await supervisor.ask("child", "GET", "/status"))["records"] == 5
    assert await supervisor.ask("child", "POST", "/echo", body="SELECT 1") == {"got": "SELECT 1"}
    assert await supervisor.ask("child", "POST", "/echo", body={"bytes": 1}) == {"got": '{"bytes": 1}'}
    assert supervisor.memory_bytes() > 10 * 2**20
    with pytest.raises(ServiceError, match="does not answer GET /nothing: 404"):
        await supervisor.ask("child", "GET", "/nothing")
    await supervisor.stop()
    assert child.process is not None
    assert child.process.returncode == 0
    assert not (tmp_path / "run" / "child.json").exists()
    assert await supervisor.ask("child", "GET", "/status", default={}) == {}


async def test_a_killed_child_is_started_again_and_its_death_is_told(tmp_path: Path) -> None:
    deaths: list[tuple[str, int]] = []

    def note(child: Child, code: int) -> None:
        deaths.append((child.spec.name, code))

    async with Supervisor(tmp_path, note) as supervisor:
        child = await supervisor.start(spec(tmp_path, "serve"))
        await supervisor.wait_ready("child")
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: child.restarts == 1)
        assert (await supervisor.announcement("child"))["pid"] == child.pid != first
        assert deaths == [("child", -signal.SIGKILL)]


async def spare_of(supervisor: Supervisor) -> int:
    """Return the process id of the spare, as soon as there is one."""
    await until(lambda: bool(supervisor._spares.pids))
    (pid,) = supervisor._spares.pids
    return pid


async def test_a_spare_takes_the_place_of_a_killed_child(supervisor: Supervisor, tmp_path: Path) -> None:
    child = await supervisor.start(spec(tmp_path, "serve", spare=True))
    await supervisor.wait_ready("child")
    first, spare = child.pid, await spare_of(supervisor)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: child.restarts == 1)
    assert (await supervisor.announcement("child", "bootstrap"))["pid"] == child.pid == spare
    await supervisor.wait_ready("child")
    assert (await supervisor.ask("child", "GET", "/status"))["records"] == 5
    pids = [line["pid"] for line in log_lines(supervisor) if line["event"] == "started"]
    assert pids == [first, spare]
    # It has the supervisor's pipe as any child has, and the next spare stands by.
    assert await spare_of(supervisor) != spare
    await supervisor.stop()
    assert child.process is not None
    assert child.process.returncode == 0
    assert supervisor._spares.pids == []


async def test_a_spare_that_is_gone_is_done_without(supervisor: Supervisor, tmp_path: Path) -> None:
    child = await supervisor.start(spec(tmp_path, "serve", spare=True))
    await supervisor.wait_ready("child")
    spare = await spare_of(supervisor)
    os.kill(spare, signal.SIGKILL)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    await until(lambda: child.restarts > 0 and child.pid is not None and child.pid != spare)
    await supervisor.wait_ready("child")


async def test_a_spare_starts_what_is_added_later_and_its_refusal_is_told(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    await supervisor.start(spec(tmp_path, "serve", spare=True))
    spare = await spare_of(supervisor)
    late = await supervisor.start(spec(tmp_path, "refuse", "late", spare=True))
    assert late.process is not None
    assert late.process.pid == spare
    with pytest.raises(ServiceError, match=r"^late: gateway\.port: 8000 is taken$"):
        await supervisor.failure()


async def test_nothing_stands_by_where_none_is_wanted(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start(spec(tmp_path, "serve"))
    await supervisor.wait_ready("child")
    assert supervisor._spares._preparing == {}


async def test_a_child_that_refuses_ends_the_stack_with_its_own_message(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start(spec(tmp_path, "refuse"))
    with pytest.raises(ServiceError, match=r"^child: gateway\.port: 8000 is taken$"):
        await supervisor.wait_ready("child")
    with pytest.raises(ServiceError, match="8000 is taken"):
        await supervisor.failure()


async def test_nobody_is_told_of_a_restart_that_does_not_come_and_an_earlier_runs_log_is_not_its_reason(
    tmp_path: Path,
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "child.log").write_text("child: a reason of yesterday\n", encoding="utf-8")
    deaths: list[int] = []
    async with Supervisor(tmp_path, lambda _, code: deaths.append(code)) as supervisor:
        await supervisor.start(spec(tmp_path, "refuse"))
        with pytest.raises(ServiceError, match=r"^child: gateway\.port: 8000 is taken$"):
            await supervisor.failure()
    assert deaths == []


async def test_a_torn_run_file_is_no_announcement(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start(spec(tmp_path, "serve"))
    told = await supervisor.announcement("child", "bootstrap")
    path = tmp_path / "run" / "child.json"
    for torn in ("", '{"pid": ', "[]", "{}"):
        path.write_text(torn, encoding="utf-8")
        assert await supervisor.ask("child", "GET", "/status", default={}) == {}
        with pytest.raises(ServiceError, match="child did not start in 0 s"):
            await supervisor.announcement("child", "bootstrap", timeout=0.0)
    path.write_text(json.dumps(told), encoding="utf-8")
    assert (await supervisor.ask("child", "GET", "/status"))["records"] == 5


async def test_a_child_that_has_worked_is_started_again_though_it_refuses(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    """Killed while the broker is away, say."""
    child = await supervisor.start(spec(tmp_path, "serve-once", patient=True))
    await supervisor.wait_ready("child")
    child.started -= PROVEN_SECONDS
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    await until(lambda: child.restarts == 2)
    assert not supervisor.failed.done()


async def test_a_child_that_keeps_crashing_is_given_up_with_the_end_of_its_log(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    child = await supervisor.start(spec(tmp_path, "crash", restart=False))
    with pytest.raises(ServiceError, match=r"child ended \(exit code 1\)[^$]*RuntimeError: a bug"):
        await supervisor.announcement("child", "more than a child tells that crashes")
    assert child.pid is None


def log_lines(supervisor: Supervisor, name: str = "child") -> list[dict[str, Any]]:
    return [json.loads(line) for line in supervisor.log_path(name).read_text(encoding="utf-8").splitlines()]


async def test_children_stop_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    """Even ``kill -9`` of the supervisor leaves no process behind, no spare either."""
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from alphapulse.supervisor import standby\n"
        "from alphapulse.config import Settings\n"
        "from alphapulse.supervisor.supervisor import ChildSpec, Supervisor\n"
        "standby.PREPARE_SECONDS = 0\n"
        "async def main(folder):\n"
        "    supervisor = Supervisor(folder)\n"
        "    settings = Settings(data_dir=folder)\n"
        "    spec = ChildSpec('child', 'tests.fixtures.child', settings, ('child', 'serve'), spare=True)\n"
        "    await supervisor.start(spec)\n"
        "    print((await supervisor.announcement('child'))['pid'], flush=True)\n"
        "    while not supervisor._spares.pids:\n"
        "        await asyncio.sleep(0.02)\n"
        "    print(*supervisor._spares.pids, flush=True)\n"
        "    await asyncio.sleep(3600)\n"
        "asyncio.run(main(Path(sys.argv[1])))\n"
    )
    holder = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        str(tmp_path),
        stdout=asyncio.subprocess.PIPE,
    )
    assert holder.stdout is not None
    pids = [int(await asyncio.wait_for(holder.stdout.readline(), 20)) for _ in range(2)]
    assert all(alive(pid) for pid in pids)
    holder.kill()
    await holder.wait()
    await until(lambda: not any(alive(pid) for pid in pids))


async def test_children_stop_stage_by_stage(supervisor: Supervisor, tmp_path: Path) -> None:
    stages = {"broker": 3, "sink": 2, "collector-a": 1, "collector-b": 1}
    for name, stage in stages.items():
        await supervisor.start(spec(tmp_path, "serve", name, stage=stage))
    await supervisor.wait_ready(*stages)
    await supervisor.stop_stage(1)
    assert sorted((tmp_path / "ends").read_text().split()) == ["collector-a", "collector-b"]
    # Who has still to read is watched as ever.
    sink = supervisor.children["sink"]
    assert sink.pid is not None
    os.kill(sink.pid, signal.SIGKILL)
    await until(lambda: sink.restarts == 1)
    await supervisor.wait_ready("sink")
    await supervisor.stop()
    assert (tmp_path / "ends").read_text().split()[2:] == ["sink", "broker"]
    assert [supervisor.ending(name) for name in stages] == [""] * 4


async def test_why_a_child_ended_in_bad_order_is_told(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start(spec(tmp_path, "refuse-at-the-end", "collector"))
    await supervisor.start(spec(tmp_path, "die-once", "sink"))
    await supervisor.wait_ready("collector", "sink")
    assert [supervisor.ending(name) for name in ("collector", "sink")] == ["", ""]
    await supervisor.stop()
    assert supervisor.ending("collector") == "collector: 7 records were not acknowledged"
    assert supervisor.ending("sink").startswith("sink ended (signal SIGKILL); last lines of ")


async def test_a_child_that_does_not_stop_in_its_time_is_killed(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphapulse.supervisor.supervisor.KILL_SECONDS", 0.0)
    child = await supervisor.start(spec(tmp_path, "linger", grace_seconds=0.1))
    await supervisor.wait_ready("child")
    await supervisor.stop()
    assert child.exit_code == -signal.SIGKILL


async def test_a_child_that_waits_for_something_is_not_given_up(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start(spec(tmp_path, "wait"))
    told: set[tuple[str, str]] = set()

    def note(name: str, reason: str) -> None:
        told.add((name, reason))
        if len(told) == 1 and not appeared.done():
            appeared.set_result(None)

    appeared: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    await supervisor.announcement("child")
    await until_waits(supervisor)
    # Far less than it waits: time does not pass while it does.
    ready = asyncio.create_task(supervisor.wait_ready("child", timeout=0.0, waiting=note))
    announced = asyncio.create_task(supervisor.announcement("child", "bootstrap", timeout=0.0))
    await asyncio.wait_for(appeared, 20)
    await asyncio.wait({ready, announced}, timeout=1.0)
    assert not ready.done()
    assert not announced.done()
    assert told == {("child", "the broker is away")}
    for task in (ready, announced):
        task.cancel()
    await asyncio.gather(ready, announced, return_exceptions=True)
    (tmp_path / "there").touch()
    await supervisor.wait_ready("child")
    assert (await supervisor.announcement("child", "bootstrap"))["bootstrap"] == "127.0.0.1:9"


async def until_waits(supervisor: Supervisor) -> None:
    async with asyncio.timeout(20):
        while not (await supervisor.ask("child", "GET", "/ready", default={})).get("waiting"):
            await asyncio.sleep(0.02)


async def test_the_last_status_outlives_a_child(supervisor: Supervisor, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    child = await supervisor.start(spec(tmp_path, "serve"))
    await supervisor.wait_ready("child")
    pid = child.pid
    assert not last_status_path(settings, "child").exists()
    await supervisor.stop()
    told = json.loads(last_status_path(settings, "child").read_text())
    assert (told["service"], told["pid"], told["records"]) == ("child", pid, 5)
    # The next life's end is not known yet.
    await supervisor.start(spec(tmp_path, "serve"))
    await supervisor.wait_ready("child")
    assert not last_status_path(settings, "child").exists()


async def test_kill_ends_all_at_once_and_starts_none_again(supervisor: Supervisor, tmp_path: Path) -> None:
    children = [await supervisor.start(spec(tmp_path, "serve", name)) for name in ("one", "two")]
    await supervisor.wait_ready("one", "two")
    await supervisor.kill()
    assert [child.process and child.process.returncode for child in children] == [-signal.SIGKILL] * 2
    assert [child.restarts for child in children] == [0, 0]


async def test_a_log_that_cannot_be_written_is_named(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file in the way", encoding="utf-8")
    with pytest.raises(ServiceError, match=r"cannot start child with log .*child\.log"):
        await supervisor.start(spec(tmp_path, "serve"))
