"""A crowd of clients over several processes, driven from an event loop."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Self

from tests.load.clients import Counts, Target, work

START_SECONDS = 300.0


class Crowd:
    """Context manager: connects on entry, disconnects on exit.

    Args:
        target: server.
        messages: for each client the texts that it sends after the handshake.
        silent: the same for clients that never read.
        processes: number of processes.

    Raises:
        RuntimeError: on entry: a process could not connect its clients; the message says why.
    """

    def __init__(
        self,
        target: Target,
        messages: Sequence[Sequence[str]],
        silent: Sequence[Sequence[str]] = (),
        *,
        processes: int = 1,
    ) -> None:
        self._target = target
        self._messages = messages
        self._silent = silent
        self._processes = processes
        self._running: list[tuple[BaseProcess, Connection]] = []

    async def __aenter__(self) -> Self:
        spawn = multiprocessing.get_context("spawn")
        for number in range(self._processes):
            ours, theirs = spawn.Pipe()
            share = self._messages[number :: self._processes]
            silent = self._silent[number :: self._processes]
            process = spawn.Process(target=work, args=(self._target, share, silent, theirs), daemon=True)
            process.start()
            theirs.close()
            self._running.append((process, ours))
        try:
            for _, orders in self._running:
                async with asyncio.timeout(START_SECONDS):
                    _check_ready(await _answer(orders))
        except BaseException:
            self._kill()
            raise
        return self

    async def counts(self) -> Counts:
        """Return what all clients received since the last call."""
        for _, orders in self._running:
            orders.send("tell")
        found = Counts()
        for _, orders in self._running:
            counted = await _answer(orders)
            if not isinstance(counted, Counts):
                raise TypeError(f"expected counts, found {counted!r}")
            found.add(counted)
        return found

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kill()

    def _kill(self) -> None:
        for process, orders in self._running:
            process.kill()
            process.join()
            orders.close()
        self._running.clear()


def _check_ready(answer: object) -> None:
    if answer != "ready":
        raise RuntimeError(str(answer))


async def _answer(orders: Connection) -> object:
    while not orders.poll():
        await asyncio.sleep(0.005)
    try:
        return orders.recv()
    except EOFError:
        raise RuntimeError("a process of clients ended unexpectedly") from None
