"""Supervisor of the processes of an embedded stack: start, monitor, restart, stop in the order of the data flow.

Each child is a service (:mod:`alphapulse.service`). It announces its pid and ports in ``data_dir/run/<name>.json``; its
log goes to ``data_dir/logs/<name>.log``. The supervisor holds the other end of every child's standard input: when the
supervisor dies, even by SIGKILL, that end closes and the children stop by themselves.

Children are stopped stage by stage (:attr:`ChildSpec.stage`), so that readers run until writers have ended. Until its
own stage a child is monitored as usual, and restarted if it dies.

A child that has run for a while is restarted at once. With :attr:`ChildSpec.spare` the restart uses a standby process
that has already imported its modules (:mod:`alphapulse.supervisor.standby`) and takes a fraction of a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from alphapulse import logs
from alphapulse.config import PREFIX, Settings, environment
from alphapulse.config.secret_files import SUFFIX, naming
from alphapulse.errors import ServiceError
from alphapulse.service import EXIT_REFUSED, GRACE_SECONDS, announcement_path
from alphapulse.supervisor import standby as spare
from alphapulse.supervisor.restarts import RestartPolicy

KILL_SECONDS = 5.0
"""A child that has not ended this long after its grace period is killed."""

POLL_SECONDS = 0.02
WAITING_POLL_SECONDS = 0.25
"""Poll interval for a child that waits for something, which may take any time."""


@dataclass(frozen=True)
class ChildSpec:
    """Specification of a child: ``python -m <module> <arguments>`` as service ``name`` with ``settings``."""

    name: str
    module: str
    settings: Settings
    arguments: tuple[str, ...] = ()
    restart: bool = True
    """Restart it when it dies."""
    spare: bool = False
    """Keep a standby process for ``module``, whose ``main(arguments)`` returns the exit code; it replaces the next
    child of this module that dies. It costs the memory of an idle service."""
    patient: bool = False
    """Once it has worked, restart it however often it refuses (:mod:`alphapulse.supervisor.restarts`)."""
    vital: bool = True
    """The whole stack ends when this child is given up; otherwise only :attr:`Child.given_up` is set."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables on top of ``settings``; where ``NAME_FILE`` is one of them, the child reads that file
    itself, and follows it."""
    stage: int = 0
    """Children of a lower stage are stopped before those of a higher one, those of one stage together."""
    grace_seconds: float = GRACE_SECONDS
    """Grace period of the service (:attr:`alphapulse.service.Service.grace_seconds`)."""


@dataclass
class Child:
    """A running (or restarting) child."""

    spec: ChildSpec
    process: asyncio.subprocess.Process | None = None
    started: float = 0.0
    """Monotonic time, seconds."""
    restarts: int = 0
    given_up: str = ""
    log_start: int = 0
    """Offset in bytes of its last process's output in the log file, which earlier processes share."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    watcher: asyncio.Task[None] | None = None
    spawning: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a process is started: a stop in the middle would leave one behind."""

    def __post_init__(self) -> None:
        self.deaths = RestartPolicy(patient=self.spec.patient)

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self.process.pid if self.process is not None and self.process.returncode is None else None

    @property
    def exit_code(self) -> int | None:
        """Exit code of its last process, negative: a signal; None while it runs or before its first start."""
        return self.process.returncode if self.process is not None else None


def variables_of(settings: Settings, own: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a child with ``settings``, and over them ``own``.

    A setting whose file ``own`` names is left out: a service refuses to be given both, and a secret in a file has no
    business in an environment.
    """
    files = {name.upper().removesuffix(SUFFIX) for name in naming(own, PREFIX)}
    given = {name: value for name, value in environment(settings).items() if name not in files}
    return {**given, **own}


OnDeath = Callable[[Child, int], None]


class Supervisor:
    """Starts children and keeps them running until :meth:`stop`.

    Args:
        data_dir: holds ``run`` and ``logs``.
        on_death: called for each death followed by a restart, with the exit code (negative: a signal).
    """

    def __init__(self, data_dir: Path, on_death: OnDeath | None = None) -> None:
        self.data_dir = data_dir
        self.children: dict[str, Child] = {}
        self.failed: asyncio.Future[ServiceError] = asyncio.get_running_loop().create_future()
        """Resolves to the error once a child is given up."""
        self._on_death = on_death
        self._log = logs.get("supervisor")
        self._http: aiohttp.ClientSession | None = None
        self._spares = spare.StandbyPool(self.log_path)

    async def __aenter__(self) -> Supervisor:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        if self._http is not None:
            await self._http.close()

    async def start(self, spec: ChildSpec) -> Child:
        """Start a child; it may not be ready yet (see :meth:`announcement`, :meth:`wait_ready`).

        Raises:
            ServiceError: its log file cannot be written or the process cannot be started.
        """
        child = self.children[spec.name] = Child(spec)
        async with child.spawning:
            await self._spawn(child)
        child.watcher = asyncio.create_task(self._watch(child), name=f"watch {spec.name}")
        return child

    def log_path(self, name: str) -> Path:
        """Return the file that holds the child's log."""
        return self.data_dir / "logs" / f"{name}.log"

    async def _spawn(self, child: Child) -> None:
        spec = child.spec
        announcement_path(spec.settings, spec.name).unlink(missing_ok=True)
        settings = spec.settings.model_copy(
            update={"ops": spec.settings.ops.model_copy(update={"stop_with_parent": True})}
        )
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
        variables = {**inherited, **variables_of(settings, spec.variables)}
        path = self.log_path(spec.name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            child.log_start = path.stat().st_size if path.exists() else 0
            role = spare.Role(spec.arguments, variables, str(path.absolute()))
            child.process = await self._spares.take(spec.module, role) if spec.spare else None
            if child.process is None:
                with path.open("ab") as log:
                    child.process = await spare.start(["-m", spec.module, *spec.arguments], variables, log)
            child.started = time.monotonic()
        except OSError as error:
            raise ServiceError(f"cannot start {spec.name} with log {path}: {error.strerror or error}") from error
        if spec.spare:
            self._spares.prepare(spec.module)

    async def _watch(self, child: Child) -> None:
        while True:
            assert child.process is not None  # noqa: S101 set by _spawn
            code = await child.process.wait()
            if child.stopping.is_set():
                return
            now = time.monotonic()
            pause = child.deaths.died(now, now - child.started, refused=code == EXIT_REFUSED)
            if pause is None or not child.spec.restart:
                self._give_up(child, code)
                return
            self._log.warning("child died", child=child.spec.name, exit_code=code)
            if self._on_death is not None:
                self._on_death(child, code)
            await asyncio.sleep(pause)
            async with child.spawning:
                if child.stopping.is_set():
                    return
                try:
                    await self._spawn(child)
                except ServiceError as error:
                    if not self.failed.done():
                        self.failed.set_result(error)
                    return
            child.restarts += 1

    def _give_up(self, child: Child, code: int) -> None:
        if self.failed.done():
            return
        child.given_up = reason = self._last_words(child, code)
        if not child.spec.vital:
            self._log.error("child given up", child=child.spec.name, reason=reason)
            return
        self.failed.set_result(ServiceError(reason))

    def _last_words(self, child: Child, code: int) -> str:
        log = self.log_path(child.spec.name)
        written = log.read_bytes()[child.log_start :] if log.is_file() else b""
        lines = written.decode(errors="replace").splitlines()
        if code == EXIT_REFUSED and lines:
            # The child's own message: the last lines that are not structured log.
            return "\n".join(_message(lines))
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"{child.spec.name} ended ({how}); last lines of {log}:\n" + "\n".join(lines[-5:])

    def ending(self, name: str) -> str:
        """Return why a stopped child did not end cleanly; empty: it did, or it still runs."""
        child = self.children[name]
        code = child.exit_code
        return self._last_words(child, code) if code else ""

    async def announcement(self, name: str, *keys: str, timeout: float = 30.0) -> dict[str, Any]:
        """Return the announcement of the running child, once it contains ``keys``.

        Raises:
            ServiceError: a child was given up, or nothing was announced within ``timeout`` seconds, not counting
                the time in which the child reported that it waits for something.
        """
        path = self.data_dir / "run" / f"{name}.json"
        deadline = time.monotonic() + timeout
        while True:
            self.check()
            told = _read_announcement(path)
            if told is not None and told["pid"] == self.children[name].pid and told.keys() >= set(keys):
                return told
            if time.monotonic() > deadline:
                if not (await self.ask(name, "GET", "/ready", default={})).get("waiting"):
                    raise ServiceError(f"{name} did not start in {timeout:g} s; see {self.log_path(name)}")
                deadline = time.monotonic() + timeout
            await asyncio.sleep(POLL_SECONDS)

    async def wait_ready(
        self, *names: str, timeout: float = 60.0, waiting: Callable[[str, str], None] | None = None
    ) -> None:
        """Wait until all named children are ready.

        Args:
            names: names of the children.
            timeout: seconds; time in which a child reports that it waits for something does not count.
            waiting: called repeatedly with the name of a waiting child and its reason.

        Raises:
            ServiceError: a child was given up, or is not ready in ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        for name in names:
            while not (told := await self.ask(name, "GET", "/ready", default={})).get("ready"):
                if reason := told.get("waiting"):
                    deadline = time.monotonic() + timeout
                    if waiting is not None:
                        waiting(name, reason)
                elif time.monotonic() > deadline:
                    raise ServiceError(f"{name} was not ready in {timeout:g} s; see {self.log_path(name)}")
                await asyncio.sleep(WAITING_POLL_SECONDS if reason else POLL_SECONDS)

    async def ask(
        self,
        name: str,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | str | None = None,
        default: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the JSON response of a child's ops server; ``default`` (if given) while the child does not answer.

        ``body`` is sent as JSON, or unchanged if it is text.

        Raises:
            ServiceError: a child was given up, or there was no response and no default.
        """
        self.check()
        if self._http is None:
            raise RuntimeError("Supervisor is used as an async context manager")
        told = _read_announcement(self.data_dir / "run" / f"{name}.json")
        try:
            if told is None or "ops_port" not in told:
                raise aiohttp.ClientConnectionError("not announced")
            url = f"http://127.0.0.1:{told['ops_port']}{path}"
            content: dict[str, Any] = {"data": body} if isinstance(body, str) else {"json": body}
            async with self._http.request(method, url, **content) as answer:
                if answer.status >= 400 and path != "/ready":
                    raise aiohttp.ClientConnectionError(f"{answer.status}: {await answer.text()}")
                return await answer.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            if default is not None:
                return default
            raise ServiceError(f"{name} does not answer {method} {path}: {error}") from error

    async def failure(self) -> None:
        """Wait until a child is given up.

        Raises:
            ServiceError: always.
        """
        raise await asyncio.shield(self.failed)

    def check(self) -> None:
        """Raise the error that ended the stack, if a child was given up."""
        if self.failed.done():
            raise self.failed.result()

    async def kill(self) -> None:
        """Kill all children with SIGKILL, for when a graceful stop would wait for something that is gone."""
        for child in self.children.values():
            child.stopping.set()
            _signal(child, signal.SIGKILL)
        await self._spares.close()
        await asyncio.gather(*(self._stop_child(child, signal.SIGKILL) for child in self.children.values()))

    async def stop(self, *names: str) -> None:
        """Stop the named children in parallel (none named: all, stage by stage) and wait for their end."""
        if names:
            await asyncio.gather(*(self._stop_child(self.children[name]) for name in names))
            return
        await self._spares.close()
        for stage in sorted({child.spec.stage for child in self.children.values()}):
            await self.stop_stage(stage)

    async def stop_stage(self, stage: int) -> None:
        """Stop the children of one stage in parallel and wait for their end; ends the standby processes, too."""
        await self._spares.close()
        await asyncio.gather(
            *(self._stop_child(child) for child in self.children.values() if child.spec.stage == stage)
        )

    async def _stop_child(self, child: Child, number: signal.Signals = signal.SIGTERM) -> None:
        child.stopping.set()
        async with child.spawning:
            process = child.process
        if process is not None and process.returncode is None:
            _signal(child, number)
            try:
                await asyncio.wait_for(process.wait(), child.spec.grace_seconds + KILL_SECONDS)
            except TimeoutError:
                self._log.error("killing a child that does not stop", child=child.spec.name)
                _signal(child, signal.SIGKILL)
                await process.wait()
        if child.watcher is not None:
            child.watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await child.watcher

    def memory_bytes(self) -> int:
        """Return the resident memory of this process and all living children, bytes (shared pages count each time)."""
        pids = [child.pid for child in self.children.values() if child.pid is not None]
        return sum(_resident_bytes(pid) for pid in (os.getpid(), *pids, *self._spares.pids))


def _signal(child: Child, number: signal.Signals) -> None:
    """Send a signal to a living child.

    Not by the process's own methods: they reap a child that has just died, and asyncio, which waits for it in its own
    thread, then never gets its exit code.
    """
    if child.pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, number)


def _message(lines: list[str]) -> list[str]:
    found: list[str] = []
    for line in reversed(lines):
        if line.startswith("{") and line.endswith("}"):
            break
        found.append(line)
    return list(reversed(found)) or lines[-1:]


def _read_announcement(path: Path) -> dict[str, Any] | None:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # the child writes it atomically, so a partial one is not its own
        return None
    return told if isinstance(told, dict) and "pid" in told else None


def _resident_bytes(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except OSError:  # ended in the meantime, or a system without /proc
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
