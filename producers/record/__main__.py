"""``python -m producers.record VENUE…``: write down what venues send, for ``alphapulse replay``."""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from alphapulse import service
from alphapulse.errors import ConfigError
from producers.record.recorder import Recorder
from producers.record.tape import Rotation
from producers.venues import load


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
    commands = argparse.ArgumentParser(prog="alphapulse record", description=__doc__)
    commands.add_argument("venues", nargs="+", metavar="VENUE", help="of exchanges.toml")
    commands.add_argument("--out", type=Path, default=Path("data/recordings"), help="folder (default data/recordings)")
    commands.add_argument("--rotate-mb", type=positive, default=256.0, help="size of a file, compressed (default 256)")
    commands.add_argument("--rotate-minutes", type=positive, default=60.0, help="age of a file (default 60)")
    commands.add_argument("--config", type=Path, help="folder of the configuration")
    return commands


async def record(running: service.Service, options: argparse.Namespace) -> None:
    """Record until the service is asked to stop.

    Raises:
        ConfigError: a venue is unknown or not configured.
        ServiceError: files cannot be written.
    """
    configured = running.settings.venues
    names = list(dict.fromkeys(options.venues))
    unknown = [f"venues.{name}: not configured" for name in names if name not in configured]
    if unknown:
        raise ConfigError([f"{fault} (configured: {', '.join(sorted(configured)) or 'none'})" for fault in unknown])
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

    return service.run("record", run, folder=options.config)


if __name__ == "__main__":
    sys.exit(main())
