"""``python -m producers.record VENUE…``: record venues' frames for ``alphapulse replay``."""

from __future__ import annotations

import argparse
import asyncio
import math
import os
from collections.abc import Sequence
from pathlib import Path

from alphapulse import output, service
from alphapulse.arguments import CommandParser
from alphapulse.config import PREFIX, Settings
from alphapulse.errors import ServiceError
from producers.collector import rules
from producers.record.recorder import Recorder
from producers.record.tape import Rotation
from producers.registry import load


def positive(text: str) -> float:
    """Parse a number greater than 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number greater than 0")
    return value


def parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    commands = CommandParser(
        prog="alphapulse record", description="Record venues' frames byte for byte, for `alphapulse replay`."
    )
    commands.add_argument("venues", nargs="+", metavar="VENUE", help="venue in exchanges.toml")
    commands.add_argument(
        "--out", type=Path, default=Path("data/recordings"), metavar="DIR", help="folder (default data/recordings)"
    )
    commands.add_argument(
        "--rotate-mb",
        type=positive,
        default=256.0,
        metavar="MB",
        help="maximum compressed size of a file (default 256)",
    )
    commands.add_argument(
        "--rotate-minutes", type=positive, default=60.0, metavar="MINUTES", help="maximum age of a file (default 60)"
    )
    commands.add_argument("--config", type=Path, metavar="DIR", help="configuration folder")
    return commands


def usable(folder: Path) -> None:
    """Create ``folder`` and check that it is writable.

    Raises:
        ServiceError: it is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServiceError(f"--out: cannot write {folder}: {error.strerror or error}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ServiceError(f"--out: cannot write {folder}: Permission denied")


async def record(running: service.Service, options: argparse.Namespace) -> None:
    """Record until the service stops.

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
