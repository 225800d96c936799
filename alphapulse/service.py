"""Lifecycle of a service: start, signals, health endpoints, graceful stop.

A service is a coroutine ``main(service)`` that returns soon after ``service.stopping`` is set. :func:`run` gives it
an event loop, logs, the ops server (``/health``, ``/ready``, ``/metrics``, ``/status``) and an exit code.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import functools
import gc
import json
import os
import resource
import signal
import stat
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeGuard

import uvloop
from aiohttp import web

from alphapulse import config, logs, metrics, output, secret_watch, tracing
from alphapulse.errors import AlphaPulseError, BrokerError, BrokerUnavailable, ServiceError

EXIT_OK = 0
EXIT_FAULT = 1
"""Unexpected error; the traceback is in the log."""
EXIT_REFUSED = 2
"""Cannot start or continue, for a reason given in one message: configuration, port in use, folder not writable."""

GRACE_SECONDS = 15.0
"""After this long a stop is cut short: ``main`` is cancelled. A service that drains its inputs sets a longer time."""

LAST_GRACE_SECONDS = 3.0
"""Time for a cancelled ``main`` to end; after it the process prints its stacks on stderr and exits."""

BEGIN_AGAIN_SECONDS = 1.0
"""Delay before a service that lost its broker restarts."""

WAITING_SECONDS = 60.0
"""Interval of log messages while a service waits for the same reason."""

CHANGED_SECONDS = 5.0
"""Minimum interval if the reason changes."""

_PR_SET_DUMPABLE = 4  # <linux/prctl.h>

Main = Callable[["Service"], Awaitable[None]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Status = Callable[[], Mapping[str, Any]]


class Stopped(Exception):
    """Raised within ``main`` when the service is asked to stop while it waits; not an error."""


class Service:
    """Runtime of one service: settings, log, stop signal, status and endpoints.

    Attributes:
        restarting: whether the process restarts after this stop, because a file that it has read once has changed.
        name: e.g. ``collector-kraken``; names the log, the events and the announcement file.
        settings: the whole configuration.
        stopping: set when the service is asked to stop.
        log: the service's logger.
        grace_seconds: time for ``main`` to end when the service is asked to stop.
        begins_again: whether ``main`` waits for the broker at its start. If the broker is lost later, the process
            then restarts instead of ending.
        reread: reads the configuration again; None: it did not come from files and environment.
        reads_certificates_once: whether the Kafka client reads certificate and key only when it is made.
        tracer: makes spans; None: tracing is off.
    """

    def __init__(self, name: str, settings: config.Settings) -> None:
        self.name = name
        self.settings = settings
        self.stopping = asyncio.Event()
        self.log = logs.get(name)
        self.started = time.time_ns()
        self.grace_seconds = GRACE_SECONDS
        self.begins_again = False
        self.reread: Callable[[], config.Settings] | None = None
        self.reads_certificates_once = True
        self.restarting = False
        self.tracer: tracing.Tracer | None = None
        self._ready = self._worked = False
        self._waiting = ""
        self._waiting_since = self._waiting_told = 0.0
        self._status: Status = dict
        self._routes: dict[tuple[str, str], Handler] = {}
        self._announced: dict[str, Any] = {}
        self._runner: web.AppRunner | None = None
        self._cut_short = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether the service does its work (``/ready`` also says no while it waits and while it stops)."""
        return self._ready

    @ready.setter
    def ready(self, value: bool) -> None:
        if value != self._ready:
            self.log.info("ready" if value else "not ready")
        if value and not self._worked:
            # Modules and settings stay until the end. A full turn of Python's cycle collector over those of the gateway
            # takes 29 ms, in which no record goes on.
            gc.freeze()
        self._ready = value
        self._worked = self._worked or value

    @property
    def waiting(self) -> str:
        """What the service waits for, as one message; empty: nothing. A change is logged at once."""
        return self._waiting

    @waiting.setter
    def waiting(self, reason: str) -> None:
        now = time.monotonic()
        if reason and not self._waiting:
            self._waiting_since = now
        patience = WAITING_SECONDS if reason == self._waiting else CHANGED_SECONDS if self._waiting else 0.0
        if reason and now - self._waiting_told >= patience:
            self.log.warning("waiting", reason=reason, seconds=round(now - self._waiting_since))
            self._waiting_told = now
        elif self._waiting and not reason:
            self.log.info("waits no longer", seconds=round(now - self._waiting_since, 1))
        self._waiting = reason

    def report(self, status: Status) -> None:
        """Serve the result of ``status()`` (JSON-able) at ``/status``."""
        self._status = status

    def route(self, method: str, path: str, handler: Handler) -> None:
        """Add a handler for ``method path`` (an exact path) to the ops server."""
        self._routes[method, path] = handler

    def announce(self, **fields: Any) -> None:
        """Write ``fields``, pid and ops port to ``data_dir/run/<service>.json``, atomically.

        Raises:
            ServiceError: the folder cannot be written.
        """
        announced = self._announced | fields
        path = announcement_path(self.settings, self.name)
        text = json.dumps({"service": self.name, "pid": os.getpid(), **announced})
        try:
            _write_whole(path, text)
        except OSError as error:
            raise ServiceError(f"data_dir: cannot write {path}: {error.strerror or error}") from error
        self._announced = announced

    def lost_its_broker(self, reasons: Collection[AlphaPulseError]) -> bool:
        """Return whether ``main``, which failed with ``reasons``, should restart.

        A broker that refused a request before the service ever worked would refuse it again.
        """
        lost = BrokerError if self._worked else BrokerUnavailable
        return self.begins_again and not self.stopping.is_set() and all(isinstance(one, lost) for one in reasons)

    async def _serve_ops(self) -> None:
        app = web.Application(client_max_size=64 * 2**20)
        app.add_routes([web.get("/health", self._health), web.get("/ready", self._is_ready)])
        app.add_routes([web.get("/metrics", self._metrics), web.get("/status", self._tell_status)])
        # aiohttp freezes its router at start, but services add routes later.
        app.router.add_route("*", "/{path:.*}", self._dispatch)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        ops = self.settings.ops
        try:
            await web.TCPSite(runner, ops.host, ops.port).start()
        except OSError as error:
            await runner.cleanup()
            # asyncio's text repeats the address.
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
            raise ServiceError(f"ops.port: cannot listen on {ops.host}:{ops.port} for {self.name}: {reason}") from error
        self._runner = runner
        metrics.READY.set_function(self._working)
        port = runner.addresses[0][1]
        self.announce(ops_port=port)
        with contextlib.suppress(OSError):  # it will be overwritten, if possible
            last_status_path(self.settings, self.name).unlink(missing_ok=True)
        self.log.info("started", pid=os.getpid(), ops_port=port)

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        handler = self._routes.get((request.method, request.path))
        if handler is None:
            raise web.HTTPNotFound(text=f"{self.name} has no endpoint {request.method} {request.path}")
        return await handler(request)

    async def _health(self, _: web.Request) -> web.Response:
        status = "stopping" if self.stopping.is_set() else "ok"
        return web.json_response({"service": self.name, "status": status, "started": self.started})

    async def _is_ready(self, _: web.Request) -> web.Response:
        ready = self._working()
        told = {"service": self.name, "ready": ready, **self._lacking()}
        return web.json_response(told, status=200 if ready else 503)

    def _working(self) -> bool:
        return self._ready and not self._waiting and not self.stopping.is_set()

    async def _metrics(self, _: web.Request) -> web.Response:
        body, content_type = metrics.exposition()
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _tell_status(self, _: web.Request) -> web.Response:
        told = {"service": self.name, "ready": self._ready and not self._waiting, **self._lacking(), **self._status()}
        return web.json_response(told, dumps=_dumps)

    def _lacking(self) -> dict[str, str]:
        return {"waiting": self._waiting} if self._waiting else {}

    async def live(self, main: Main) -> None:
        """Run ``main`` with the ops server around it.

        The first SIGINT or SIGTERM sets ``stopping``; a second one cancels ``main``.

        Raises:
            AlphaPulseError: ``main`` cannot continue, or had to be cancelled.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._asked_to_stop, number)
        async with _watched_parent(self), _watched_secrets(self):
            work = asyncio.create_task(self._main(main))
            stopped = asyncio.create_task(self.stopping.wait())
            cut_short = asyncio.create_task(self._cut_short.wait())
            try:
                await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if not work.done():
                    await asyncio.wait(
                        {work, cut_short}, timeout=self.grace_seconds, return_when=asyncio.FIRST_COMPLETED
                    )
                if not work.done():
                    await self._cancel(work)
                await work
            except asyncio.CancelledError:  # of live() itself, by its caller
                work.cancel()
                await asyncio.wait({work}, timeout=LAST_GRACE_SECONDS)
                raise
            finally:
                for task in (stopped, cut_short, work):
                    task.cancel()
                self.ready = False
                if self._runner is not None:
                    await self._runner.cleanup()
                self._leave_status()
                self._withdraw()

    async def _cancel(self, work: asyncio.Task[None]) -> None:
        by_hand = self._cut_short.is_set()
        reason = "received a second stop signal" if by_hand else f"did not stop within {self.grace_seconds:g} s"
        self.log.error("cut short", reason=reason)
        work.cancel()
        await asyncio.wait({work}, timeout=LAST_GRACE_SECONDS)
        if work.done() and not work.cancelled() and (error := work.exception()) is not None:
            self.log.error("failed while it was cut short", exc_info=error)
        raise ServiceError(f"{self.name} {reason}; cut short")

    def _leave_status(self) -> None:
        """Write the last ``/status`` to ``data_dir/run/ended/<service>.json``, for later evaluation."""
        if not self._announced:
            return
        try:
            told = {"service": self.name, "pid": os.getpid(), "ended": time.time_ns(), **self._status()}
            _write_whole(last_status_path(self.settings, self.name), _dumps(told))
        except Exception:  # the work is done; only the status is missing
            self.log.exception("cannot write the last status")

    def _withdraw(self) -> None:
        """Remove the announcement, unless it belongs to another process of the same name."""
        if not self._announced:
            return
        path = announcement_path(self.settings, self.name)
        with contextlib.suppress(OSError, ValueError):  # missing or unreadable: not ours
            if json.loads(path.read_text(encoding="utf-8"))["pid"] == os.getpid():
                path.unlink()

    async def _main(self, main: Main) -> None:
        await self._serve_ops()
        try:
            await main(self)
        except Stopped:
            self.log.info("stopped while it waited", reason=self._waiting)

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if self.stopping.is_set():
            self._cut_short.set()
            return
        self.log.info("stopping", signal=number.name)
        self.stopping.set()


_dumps = functools.partial(json.dumps, default=str)


def announcement_path(settings: config.Settings, name: str) -> Path:
    """Return the announcement file of the running service ``name``: pid and ports."""
    return settings.data_dir / "run" / f"{name}.json"


def last_status_path(settings: config.Settings, name: str) -> Path:
    """Return the file with the last status of the service ``name``, written if it ended by itself."""
    return settings.data_dir / "run" / "ended" / f"{name}.json"


def _write_whole(path: Path, text: str) -> None:
    """Write a file atomically.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


@contextlib.asynccontextmanager
async def _watched_parent(service: Service) -> AsyncIterator[None]:
    """Stop ``service`` at the end of standard input, if configured.

    The supervisor holds the other end of that pipe; the kernel closes it even after ``kill -9``.
    """
    if not service.settings.ops.stop_with_parent:
        yield
        return
    # Checked first: libuv aborts the process at a regular file.
    if not _is_pipe(sys.stdin):
        raise ServiceError("ops.stop_with_parent: standard input is not a pipe held by a parent process")
    reader = asyncio.StreamReader()
    # A copy: the transport closes it, and a service that restarts needs standard input again.
    pipe = os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )

    async def watch() -> None:
        while await reader.read(1024):
            continue
        service.log.info("stopping", reason="the parent is gone")
        service.stopping.set()

    watcher = asyncio.create_task(watch())
    try:
        yield
    finally:
        watcher.cancel()
        transport.close()


@contextlib.asynccontextmanager
async def _watched_secrets(service: Service) -> AsyncIterator[None]:
    """Stop ``service`` in order to restart it when a file changes that it has read once."""
    reread = service.reread
    if reread is None or not service.settings.ops.follow_secrets:
        yield
        return

    async def watch() -> None:
        files = await secret_watch.changed(service.settings, reread, lambda: service.reads_certificates_once)
        if not service.stopping.is_set():
            named = [str(file) for file in files]
            service.log.info("stopping", reason="these files changed; restarts with them", files=named)
            service.restarting = True
            service.stopping.set()

    watcher = asyncio.create_task(watch())
    try:
        yield
    finally:
        watcher.cancel()


def _is_pipe(stream: TextIO | None) -> TypeGuard[TextIO]:
    if stream is None:
        return False
    mode = os.fstat(stream.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


async def _life(service: Service, main: Main) -> None:
    async def insist() -> None:
        await service.stopping.wait()
        # Its thread needs neither the loop nor the GIL: it ends blocked loops and code that ignores cancellation.
        faulthandler.dump_traceback_later(service.grace_seconds + LAST_GRACE_SECONDS + 1, exit=True)

    insisting = asyncio.create_task(insist())
    try:
        await service.live(main)
    finally:
        insisting.cancel()


def run(
    name: str,
    main: Main,
    *,
    folder: Path | None = None,
    settings: config.Settings | None = None,
    load: Callable[[Path | None], config.Settings] = config.load,
) -> int:
    """Load the configuration, run ``main`` and return the process's exit code.

    Args:
        name: name of the service.
        main: its work.
        folder: configuration folder; None: see :func:`alphapulse.config.load`.
        settings: the configuration, if already loaded.
        load: loads it, and may refuse command line arguments as well, before anything is logged.

    An :exc:`AlphaPulseError`, or a group of such errors only, becomes one message on standard error.
    """
    service: Service | None = None
    try:
        loaded = settings if settings is not None else load(folder)
        logs.configure(loaded.log, service=name)
        _forbid_core_dumps()
        service = Service(name, loaded)
        if settings is None:
            service.reread = lambda: load(folder)
        service.tracer = tracing.start(loaded.tracing, name)
        uvloop.run(_life(service, main))
        if service.restarting:
            _close_tracer(service)
            _begin_again()
    except KeyboardInterrupt:
        return EXIT_OK
    except Exception as error:  # noqa: BLE001 the process ends here; any error is reported
        reasons = _foreseen(error)
        if reasons is None:
            logs.get(name).exception("failed")
            return EXIT_FAULT
        if service is not None and service.lost_its_broker(reasons):
            _close_tracer(service)
            service.log.warning("lost its broker; begins again", reasons=[str(reason) for reason in reasons])
            _begin_again()
        for reason in reasons:
            output.tell(f"{name}: {reason}")
        return EXIT_REFUSED
    finally:
        _close_tracer(service)
        faulthandler.cancel_dump_traceback_later()
        # At exit the interpreter would collect garbage once more, a quarter of a second for all our modules.
        gc.freeze()
    return EXIT_OK


def _forbid_core_dumps() -> None:
    """Write no image of this process's memory, which holds passwords and keys, if it crashes.

    The limit is for files. Linux ignores it where ``kernel.core_pattern`` is a pipe (systemd-coredump, apport), so
    there the process is made not dumpable as well. Then only root may attach a debugger or a profiler, and read
    ``/proc/PID/environ``.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise ServiceError(f"cannot turn off core dumps (prctl PR_SET_DUMPABLE): {reason}")


def _close_tracer(service: Service | None) -> None:
    """Send the last spans: after the loop, so that nothing waits for them."""
    if service is not None and service.tracer is not None:
        service.tracer.close()


def _begin_again() -> NoReturn:
    """Re-execute this process's command with the same id, standard streams and environment.

    Not in this interpreter: clients that lost their broker may leave threads and tasks that wait for ever.
    """
    faulthandler.cancel_dump_traceback_later()
    time.sleep(BEGIN_AGAIN_SECONDS)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 what was started, once more


def _foreseen(error: BaseException) -> list[AlphaPulseError] | None:
    """Return the :exc:`AlphaPulseError` or those in its groups; None if there is any other error."""
    if isinstance(error, AlphaPulseError):
        return [error]
    if not isinstance(error, BaseExceptionGroup):
        return None
    found: list[AlphaPulseError] = []
    for inner in error.exceptions:
        reasons = _foreseen(inner)
        if reasons is None:
            return None
        found += reasons
    return found
