"""``python -m producers.record VENUE…``: write down what venues send, for ``alphapulse replay``."""

from __future__ import annotations

import argparse
import asyncio
import math
import os
from collections.abc import Sequence
from pathlib import Path

from alphapulse import output, service
from alphapulse.config import PREFIX, Settings
from alphapulse.errors import ServiceError
from producers.collector import rules
from producers.record.recorder import Recorder
from producers.record.tape import Rotation
from producers.registry import load


def positive(text: str) -> float:
    """Return a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    commands = argparse.ArgumentParser(
        prog="alphapulse record", description="Write down what venues send, byte for byte, for `alphapulse replay`."
    )
    commands.add_argument("venues", nargs="+", metavar="VENUE", help="of exchanges.toml")
    commands.add_argument(
        "--out", type=Path, default=Path("data/recordings"), metavar="DIR", help="folder (default data/recordings)"
    )
    commands.add_argument(
        "--rotate-mb", type=positive, default=256.0, metavar="MB", help="size of a file, compressed (default 256)"
    )
    commands.add_argument(
        "--rotate-minutes", type=positive, default=60.0, metavar="MINUTES", help="age of a file (default 60)"
    )
    commands.add_argument("--config", type=Path, metavar="DIR", help="folder of the configuration")
    return commands


def usable(folder: Path) -> None:
    """Make ``folder``, and see that files can be made in it.

    Raises:
        ServiceError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServiceError(f"--out: cannot write {folder}: {error.strerror or error}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ServiceError(f"--out: cannot write {folder}: Permission denied")


async def record(running: service.Service, options: argparse.Namespace) -> None:
    """Record until the service is asked to stop.

    Raises:
        ServiceError: files cannot be written.
    """
    configured = running.settings.venues
    names = list(dict.fromkeys(options.venues))
    rotation = Rotation(round(options.rotate_mb * 2**20), options.rotate_minutes * 60.0)
    recorders = {
        name: Recorder(load(name), configured[name], options.out, running.name, rotation=rotation) for name in names
    }
    standing = dict.fromkeys(names, False)
    running.report(lambda: {"venues": {name: recorder.status() for name, recorder in recorders.items()}})

    async def run(name: str) -> None:
        def connected(state: bool) -> None:
            standing[name] = state
            running.ready = all(standing.values())

        await recorders[name].run(running.stopping, connected)

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(run(name))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the service; return its exit code."""
    options = parser().parse_args(arguments)

    async def run(running: service.Service) -> None:
        await record(running, options)

    def configuration(_: Path | None) -> Settings:
        named = os.environ.get(f"{PREFIX}CONFIG")
        folder = options.config or (Path(named) if named else None)
        settings = rules.load(folder, own=options.venues)
        rules.selected(settings, list(dict.fromkeys(options.venues)), folder, enabled=False)
        usable(options.out)
        return settings

    return service.run("record", run, load=configuration)


if __name__ == "__main__":
    output.finish(main)
