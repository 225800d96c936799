"""A service's life: start, signals, health endpoints, graceful stop.

A service is a coroutine ``main(service)`` that returns soon after ``service.stopping`` is set. :func:`run` gives it
an event loop, logs, the ops server (``/health``, ``/ready``, ``/metrics``, ``/status``) and an exit code.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

from alphapulse import config, logs, metrics
from alphapulse.errors import AlphaPulseError, ServiceError

EXIT_OK = 0
EXIT_FAULT = 1
"""An unforeseen error; its traceback is in the log."""
EXIT_REFUSED = 2
"""Cannot start or go on for a reason told in one message: configuration, port in use, folder not writable."""

GRACE_SECONDS = 15.0
"""A stop that takes longer is cut short."""

Main = Callable[["Service"], Awaitable[None]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Status = Callable[[], Mapping[str, Any]]


class Service:
    """What a running service stands on.

    Attributes:
        name: e.g. ``collector-kraken``; names the log, the events and the announcement file.
        settings: the whole configuration.
        stopping: set when the service is asked to stop.
        log: the service's logger.
    """

    def __init__(self, name: str, settings: config.Settings) -> None:
        self.name = name
        self.settings = settings
        self.stopping = asyncio.Event()
        self.log = logs.get(name)
        self.started = time.time_ns()
        self._ready = False
        self._status: Status = dict
        self._routes: dict[tuple[str, str], Handler] = {}
        self._announced: dict[str, Any] = {}
        self._runner: web.AppRunner | None = None

    @property
    def ready(self) -> bool:
        """Whether the service does its work (``/ready``)."""
        return self._ready

    @ready.setter
    def ready(self, value: bool) -> None:
        if value != self._ready:
            self.log.info("ready" if value else "not ready")
        self._ready = value

    def report(self, status: Status) -> None:
        """Let ``/status`` answer with what ``status()`` returns (JSON-able)."""
        self._status = status

    def route(self, method: str, path: str, handler: Handler) -> None:
        """Let the ops server answer ``method path`` (an exact path) with ``handler`` as well."""
        self._routes[method, path] = handler

    def announce(self, **fields: Any) -> None:
        """Write ``fields`` beside pid and ops port into ``data_dir/run/<service>.json``, whole or not at all.

        Raises:
            ServiceError: the folder cannot be written.
        """
        self._announced.update(fields)
        path = announcement_path(self.settings, self.name)
        text = json.dumps({"service": self.name, "pid": os.getpid(), **self._announced})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(f".{os.getpid()}.tmp")
            draft.write_text(text, encoding="utf-8")
            draft.replace(path)
        except OSError as error:
            raise ServiceError(f"data_dir: cannot write {path}: {error.strerror or error}") from error

    async def _serve_ops(self) -> None:
        app = web.Application(client_max_size=64 * 2**20)
        app.add_routes([web.get("/health", self._health), web.get("/ready", self._is_ready)])
        app.add_routes([web.get("/metrics", self._metrics), web.get("/status", self._tell_status)])
        # aiohttp freezes its router at start, but services add routes as their parts come up.
        app.router.add_route("*", "/{path:.*}", self._dispatch)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        ops = self.settings.ops
        try:
            await web.TCPSite(runner, ops.host, ops.port).start()
        except OSError as error:
            await runner.cleanup()
            raise ServiceError(
                f"ops.port: cannot listen on {ops.host}:{ops.port} for {self.name}: {error.strerror or error}"
            ) from error
        self._runner = runner
        self.announce(ops_port=runner.addresses[0][1])

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        handler = self._routes.get((request.method, request.path))
        if handler is None:
            raise web.HTTPNotFound(text=f"{self.name} has nothing at {request.method} {request.path}")
        return await handler(request)

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"service": self.name, "status": "ok", "started": self.started})

    async def _is_ready(self, _: web.Request) -> web.Response:
        return web.json_response({"service": self.name, "ready": self._ready}, status=200 if self._ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        body, content_type = metrics.exposition()
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _tell_status(self, _: web.Request) -> web.Response:
        return web.json_response({"service": self.name, "ready": self._ready, **self._status()})

    async def live(self, main: Main) -> None:
        """Run ``main`` from the opening of the ops server to its closing.

        Raises:
            AlphaPulseError: ``main`` cannot go on.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._asked_to_stop, number)
        watcher = asyncio.create_task(_parent_gone(self.stopping)) if self.settings.ops.stop_with_parent else None
        try:
            work = asyncio.ensure_future(self._main(main))
            stop = asyncio.create_task(self.stopping.wait())
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            done, _ = await asyncio.wait({work}, timeout=GRACE_SECONDS)
            if not done:
                self.log.error("did not stop in time; cut short", seconds=GRACE_SECONDS)
                work.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await work
                raise ServiceError(f"{self.name} did not stop within {GRACE_SECONDS:g} s")
            await work
        finally:
            self.ready = False
            if watcher is not None:
                watcher.cancel()
            if self._runner is not None:
                await self._runner.cleanup()
            announcement_path(self.settings, self.name).unlink(missing_ok=True)

    async def _main(self, main: Main) -> None:
        await self._serve_ops()
        await main(self)

    def _asked_to_stop(self, number: signal.Signals) -> None:
        self.log.info("stopping", signal=number.name)
        self.stopping.set()


def announcement_path(settings: config.Settings, name: str) -> Path:
    """Return the file in which the running service ``name`` tells its pid and ports."""
    return settings.data_dir / "run" / f"{name}.json"


async def _parent_gone(stopping: asyncio.Event) -> None:
    """Set ``stopping`` when standard input ends: the supervisor holds the other end, even ``kill -9`` closes it."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        continue
    stopping.set()


def run(name: str, main: Main, *, folder: Path | None = None, settings: config.Settings | None = None) -> int:
    """Load the configuration, run ``main`` and return the process's exit code.

    A foreseen error (:exc:`AlphaPulseError`) becomes one clear message on standard error.
    """
    try:
        loaded = settings if settings is not None else config.load(folder)
        logs.configure(loaded.log, service=name)
        uvloop.run(Service(name, loaded).live(main))
    except AlphaPulseError as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_REFUSED
    except KeyboardInterrupt:
        return EXIT_OK
    except Exception:  # noqa: BLE001 the process ends here; whatever it was, the log gets it whole
        logs.get(name).exception("failed")
        return EXIT_FAULT
    return EXIT_OK
