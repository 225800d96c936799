"""``alphapulse collect``: collectors of several venues as processes under one supervisor.

Each collector reloads the configuration folder itself; this process only starts and stops collectors.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from alphapulse import logs, output, reload
from alphapulse.arguments import CommandParser
from alphapulse.config import PREFIX, Settings
from alphapulse.config.secret_files import naming
from alphapulse.errors import AlphaPulseError, ArgumentsRefused
from alphapulse.service import EXIT_REFUSED, GRACE_SECONDS
from alphapulse.supervisor.log_relay import LogRelay
from alphapulse.supervisor.supervisor import ChildSpec, Supervisor
from producers.collector import rules


async def collect(venues: Sequence[str]) -> int:
    """Run one collector per venue until a signal arrives; one that dies is restarted.

    Args:
        venues: names of venues; none: all enabled ones, including those enabled later.

    Raises:
        ConfigError: the configuration is invalid.
        ArgumentsRefused: a venue is not configured or is disabled; or no venue is enabled.
        ServiceError: a collector cannot run.
    """
    named = os.environ.get(f"{PREFIX}CONFIG")
    folder = Path(named) if named else None
    settings = rules.load(folder, own=venues or None)
    rules.selected(settings, venues, folder)
    wanted = _wanted(settings, venues)
    if not wanted:
        place = (
            f"[venues.…] of {folder / 'exchanges.toml'}" if folder is not None else "no configuration: give --config"
        )
        raise ArgumentsRefused([f"no venue is enabled ({place})"])
    logs.configure(settings.log, service="collect")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        supervisor = Supervisor(settings.data_dir)
        if not sys.stderr.isatty():  # on a terminal only what this process itself says: a person reads along
            await stack.enter_async_context(_relayed(supervisor))
        await stack.enter_async_context(supervisor)
        collectors = Collectors(supervisor, settings, folder)
        await collectors.go_over_to(wanted)
        stopped = asyncio.create_task(stop.wait())
        failed = asyncio.create_task(supervisor.failure())
        following = asyncio.create_task(_follow(collectors, venues, folder) if folder is not None else _never())
        await asyncio.wait({stopped, failed, following}, return_when=asyncio.FIRST_COMPLETED)
        for task in (stopped, failed, following):
            task.cancel()
        supervisor.check()
        if following.done() and not following.cancelled():
            following.result()
    return 0


class Collectors:
    """Collector processes.

    Args:
        supervisor: runs them.
        settings: their initial settings.
        folder: configuration folder that they follow; None: the settings never change.
    """

    def __init__(self, supervisor: Supervisor, settings: Settings, folder: Path | None) -> None:
        self._supervisor = supervisor
        self._settings = settings
        self._folder = folder
        self._running: set[str] = set()
        self._first = True

    async def go_over_to(self, venues: Sequence[str]) -> None:
        """Start and stop collectors until exactly ``venues`` run.

        Raises:
            ServiceError: a process cannot be started.
        """
        # A collector that was given up is retried: the change may have fixed its problem.
        given_up = {venue for venue in self._running if self._supervisor.children[_name(venue)].given_up}
        gone = [venue for venue in self._running if venue not in venues]
        if gone:
            await self._supervisor.stop(*map(_name, gone))
        self._running -= {*gone, *given_up}
        for venue in venues:
            if venue not in self._running:
                await self._supervisor.start(self._spec(venue))
                self._running.add(venue)
        self._first = False

    def _spec(self, venue: str) -> ChildSpec:
        settings = self._settings
        arguments: tuple[str, ...] = (venue,)
        # What is in files stays there: each collector reads and follows them itself.
        own = naming(os.environ, PREFIX)
        if self._folder is not None:
            # The environment takes precedence over the files: repeating their values there would hide later changes.
            settings = settings.model_copy(update={"venues": {}})
            own |= {key: value for key, value in os.environ.items() if key.startswith(f"{PREFIX}VENUES")}
            arguments = (venue, "--config", str(self._folder))
        return ChildSpec(
            _name(venue),
            "producers",
            settings,
            arguments,
            spare=True,
            patient=True,
            grace_seconds=GRACE_SECONDS + settings.handover.wait_s,
            # At the start a venue that cannot be collected is a user error; later it must not stop the others.
            vital=self._first,
            variables=own,
        )


def _name(venue: str) -> str:
    return f"collector-{venue}"


def _wanted(settings: Settings, venues: Sequence[str]) -> list[str]:
    enabled = [name for name, venue in settings.venues.items() if venue.enabled]
    return [name for name in enabled if not venues or name in venues]


async def _follow(collectors: Collectors, venues: Sequence[str], folder: Path) -> None:
    latest: asyncio.Queue[Settings] = asyncio.Queue()
    log = logs.get("collect")

    async def apply() -> None:
        while True:
            settings = await latest.get()
            wanted = _wanted(settings, venues)
            log.info("config change", venues=wanted)
            await collectors.go_over_to(wanted)

    async with asyncio.TaskGroup() as group:
        group.create_task(apply())
        group.create_task(
            reload.follow(
                folder,
                latest.put_nowait,
                lambda error: log.error("config refused", reason=str(error)),
                load=partial(rules.load, own=venues or None),
            )
        )


@asynccontextmanager
async def _relayed(supervisor: Supervisor) -> AsyncIterator[None]:
    """Relay the collectors' logs to standard error until they have stopped."""
    relaying = asyncio.create_task(LogRelay(supervisor, sys.stderr.buffer).run())
    try:
        yield
    finally:
        relaying.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await relaying


async def _never() -> None:
    await asyncio.get_running_loop().create_future()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until stopped; return the exit code."""
    parser = CommandParser(prog="alphapulse collect", description="Collect from venues.")
    parser.add_argument("venues", nargs="*", metavar="VENUE", help="venue in exchanges.toml; default: all enabled ones")
    options = parser.parse_args(arguments)
    try:
        return asyncio.run(collect(list(dict.fromkeys(options.venues))))
    except AlphaPulseError as error:
        output.tell(f"alphapulse collect: {error}")
        return EXIT_REFUSED


if __name__ == "__main__":
    output.finish(main)
