"""A service that is ready to begin but for knowing what to do: restarts need not wait for its modules.

``python -m alphapulse.supervisor.standby MODULE`` imports what ``python -m MODULE`` imports, which is nearly all of the
time that a service takes to start, and waits for one line on standard input: a :class:`Role`. Then it is that service;
its standard input remains what it was. If standard input ends first nobody needs it any more, and it ends as well.

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
"""From a child's start to that of the next spare: the child shall have the processor for itself."""


@dataclass(frozen=True)
class Role:
    """What a spare is to be: ``arguments`` of its module, the whole environment, and the log its output goes to."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: str


class StandbyPool:
    """At most one spare for each module, started when it is asked for and not before ``PREPARE_SECONDS`` are over.

    Args:
        log_path: of a spare's output until it is given a role.
    """

    def __init__(self, log_path: Callable[[str], Path]) -> None:
        self._log_path = log_path
        self._waiting: dict[str, asyncio.subprocess.Process] = {}
        self._preparing: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    def prepare(self, module: str) -> None:
        """Let a spare for ``module`` stand by soon; the time counts from the last call."""
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
        except OSError as error:  # to be without one costs nothing but time
            logs.get("spares").warning("no spare", module=module, reason=str(error))

    async def take(self, module: str, role: Role) -> asyncio.subprocess.Process | None:
        """Return a spare that is now what ``role`` says; None if there is none."""
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
        """The process ids of those that stand by."""
        return [spare.pid for spare in self._waiting.values() if spare.returncode is None]

    async def close(self) -> None:
        """End them all, and prepare none any more."""
        self._closed = True
        for preparing in self._preparing.values():
            preparing.cancel()
        await asyncio.gather(*self._preparing.values(), return_exceptions=True)
        self._preparing.clear()
        for pid in self.pids:
            # They have nothing to put in order. (Not by Process.kill, see supervisor.py.)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.gather(*(spare.wait() for spare in self._waiting.values()))
        self._waiting.clear()


async def start(arguments: Sequence[str], environment: Mapping[str, str], log: Any) -> asyncio.subprocess.Process:
    """Start our interpreter as a supervised process: its standard input is a pipe that we hold, its output ``log``.

    Raises:
        OSError: the process cannot be made.
    """
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=log,
        stderr=log,
        env=environment,
        # Ctrl-C in the terminal goes to the supervisor alone, which stops the children in order.
        start_new_session=True,
    )


def main(module: str) -> int:
    """Import ``module``, wait for a role and play it; return the exit code."""
    spec = importlib.util.find_spec(module)
    package = spec is not None and spec.submodule_search_locations is not None
    service: Any = importlib.import_module(f"{module}.__main__" if package else module)
    line = _line()
    if not line.endswith(b"\n"):
        return 0
    role = Role(**json.loads(line))
    os.environ.clear()
    os.environ.update(role.environment)
    # What a service that begins again (service.py) is to run.
    sys.orig_argv[1:] = ["-m", module, *role.arguments]
    log = os.open(role.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(log, stream.fileno())
    os.close(log)
    code: int = service.main(list(role.arguments))
    return code


def _line() -> bytes:
    """Read a line of standard input, and not a byte further: the rest is the service's."""
    line = bytearray()
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    return bytes(line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
