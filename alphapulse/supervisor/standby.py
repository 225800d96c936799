"""Pre-imported standby processes, which shorten restarts.

``python -m alphapulse.supervisor.standby MODULE`` imports the modules of ``python -m MODULE``, which is nearly all of
a service's start-up time, and waits for one line on standard input: a :class:`Role`. Then it becomes that service, with
the same standard input. If standard input ends first, it exits.

The supervisor's side is :class:`StandbyPool`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from alphapulse import logs

PREPARE_SECONDS: Final = 2.0
"""Delay between a child's start and that of its standby process, so that the child has the CPU for itself."""


@dataclass(frozen=True)
class Role:
    """Role of a standby process: ``arguments`` of its module, the whole environment, and its log file."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: str


class StandbyPool:
    """At most one standby process per module, started on request after ``PREPARE_SECONDS``.

    Args:
        log_path: returns the log of a standby process until it has a role.
    """

    def __init__(self, log_path: Callable[[str], Path]) -> None:
        self._log_path = log_path
        self._waiting: dict[str, asyncio.subprocess.Process] = {}
        self._preparing: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    def prepare(self, module: str) -> None:
        """Start a standby process for ``module`` after the delay, which counts from the last call."""
        if (earlier := self._preparing.pop(module, None)) is not None:
            earlier.cancel()
        if self._closed:
            return
        self._preparing[module] = asyncio.create_task(self._prepare(module), name=f"spare {module}")

    async def _prepare(self, module: str) -> None:
        await asyncio.sleep(PREPARE_SECONDS)
        spare = self._waiting.get(module)
        if spare is not None and spare.returncode is None:
            return
        try:
            with self._log_path(f"spare-{module}").open("ab") as log:
                self._waiting[module] = await start(["-m", "alphapulse.supervisor.standby", module], os.environ, log)
        except OSError as error:  # a restart only takes longer
            logs.get("spares").warning("no spare", module=module, reason=str(error))

    async def take(self, module: str, role: Role) -> asyncio.subprocess.Process | None:
        """Give ``role`` to a standby process and return it; None if there is none."""
        spare = self._waiting.pop(module, None)
        if spare is None or spare.returncode is not None or spare.stdin is None:
            return None
        try:
            spare.stdin.write(json.dumps(asdict(role)).encode() + b"\n")
            await spare.stdin.drain()
        except OSError:  # it has just died
            return None
        return spare

    @property
    def pids(self) -> list[int]:
        """Process ids of the standby processes."""
        return [spare.pid for spare in self._waiting.values() if spare.returncode is None]

    async def close(self) -> None:
        """End all standby processes and start no more."""
        self._closed = True
        for preparing in self._preparing.values():
            preparing.cancel()
        await asyncio.gather(*self._preparing.values(), return_exceptions=True)
        self._preparing.clear()
        for pid in self.pids:
            # They need no graceful stop. (Not by Process.kill, see supervisor.py.)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.gather(*(spare.wait() for spare in self._waiting.values()))
        self._waiting.clear()


async def start(arguments: Sequence[str], environment: Mapping[str, str], log: Any) -> asyncio.subprocess.Process:
    """Start our interpreter as a supervised process: standard input is our pipe, output goes to ``log``.

    Raises:
        OSError: the process cannot be started.
    """
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=log,
        stderr=log,
        env=environment,
        # Ctrl-C in the terminal goes only to the supervisor, which stops the children in order.
        start_new_session=True,
    )


def main(module: str) -> int:
    """Import ``module``, wait for a role and run it; return the exit code."""
    spec = importlib.util.find_spec(module)
    package = spec is not None and spec.submodule_search_locations is not None
    service: Any = importlib.import_module(f"{module}.__main__" if package else module)
    line = _line()
    if not line.endswith(b"\n"):
        return 0
    role = Role(**json.loads(line))
    os.environ.clear()
    os.environ.update(role.environment)
    # The command for a service that restarts itself (service.py).
    sys.orig_argv[1:] = ["-m", module, *role.arguments]
    log = os.open(role.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(log, stream.fileno())
    os.close(log)
    code: int = service.main(list(role.arguments))
    return code


def _line() -> bytes:
    """Read one line of standard input and no byte more: the rest belongs to the service."""
    line = bytearray()
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    return bytes(line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
