"""A service's process, which is replaced by another one of the same service."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp

from alphapulse.config import Settings, environment
from alphapulse.service import announcement_path

ROOT: Final = Path(__file__).resolve().parents[2]
POLL_SECONDS: Final = 0.1


class Part:
    """A process of a service.

    Args:
        name: of the service.
        arguments: module and arguments.
        settings: given by the environment; two lives of a service that stand side by side have two data directories.
        log: file of its output.
    """

    def __init__(self, name: str, arguments: tuple[str, ...], settings: Settings, log: Path) -> None:
        self.name = name
        self.settings = settings
        self._arguments = arguments
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, without waiting until it is ready."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("ALPHAPULSE_")}
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *self._arguments),
                cwd=ROOT,
                env={**inherited, **environment(self.settings)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Linux shares processor time between sessions first: this one gets a share of its own.
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise an error if it has ended.

        Raises:
            RuntimeError: with the end of its log.
        """
        if self._process is not None and self._process.returncode is not None:
            end = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise RuntimeError(f"{self.name} ended with {self._process.returncode}:\n{end}")

    async def ask(self, path: str, method: str = "GET") -> Mapping[str, Any]:
        """Return what its ops server answers; nothing while there is none."""
        self.check()
        try:
            told = json.loads(announcement_path(self.settings, self.name).read_text(encoding="utf-8"))
            async with (
                aiohttp.ClientSession() as http,
                http.request(method, f"http://127.0.0.1:{told['ops_port']}{path}") as answer,
            ):
                found: Mapping[str, Any] = await answer.json()
                return found
        except (FileNotFoundError, aiohttp.ClientError, TimeoutError):
            return {}

    async def until_ready(self, seconds: float) -> None:
        """Wait until it is ready.

        Raises:
            TimeoutError: it takes longer than ``seconds``.
            RuntimeError: it ended.
        """
        try:
            async with asyncio.timeout(seconds):
                while not (await self.ask("/ready")).get("ready"):
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise TimeoutError(f"{self.name} is not ready after {seconds:g} s; see {self._log}") from None

    async def stop(self, seconds: float) -> float:
        """Ask it to stop; return how long that took, in seconds.

        Raises:
            RuntimeError: it ended with another exit code than 0.
            TimeoutError: it takes longer than ``seconds``.
        """
        process = self._process
        if process is None:
            return 0.0
        loop = asyncio.get_running_loop()
        began = loop.time()
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(seconds):
            if await process.wait():
                self.check()
        self._process = None
        return loop.time() - began

    async def kill(self) -> None:
        """End it at once, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
