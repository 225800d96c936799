"""``python -m producers.replay FILE``: serve one recording as its venue."""

from __future__ import annotations

import argparse
import asyncio
import math
import re
import threading
from collections.abc import Sequence
from pathlib import Path

from alphapulse import output, service
from alphapulse.arguments import CommandParser
from alphapulse.errors import ValueRefused
from alphapulse.instruments import check_symbol
from producers.registry import unknown
from producers.replay.recording import Recording, stem, survey
from producers.replay.server import ReplayServer
from producers.venue_server.dialects import served


def speed(text: str) -> float | None:
    """Parse the speed: None for ``max``, else a multiple of the original."""
    if text == "max":
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is neither `max` nor a number greater than 0")
    return value


def symbols(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of canonical symbols."""
    try:
        return tuple(check_symbol(symbol.strip()) for symbol in text.split(","))
    except ValueRefused as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    commands = CommandParser(prog="replay of a venue", description="Serve one recording as its venue.")
    commands.add_argument("file", type=Path, help="recording (gzip or plain text)")
    commands.add_argument("--venue", help="venue of the recording (default: by its file name, else by its frames)")
    commands.add_argument(
        "--symbols",
        type=symbols,
        default=(),
        help="symbols whose names at the venue do not show base and quote: A-B,C-D",
    )
    commands.add_argument(
        "--speed", type=speed, default=None, help="max (default), or a multiple of the original speed"
    )
    commands.add_argument("--paced", action="store_true", help="send only as much as POST /credit allows")
    commands.add_argument("--name", help="service name (default: replay-<recording>)")
    commands.add_argument("--port", type=int, default=0, help="port to listen on (default: any free one)")
    commands.add_argument("--config", type=Path, help="configuration folder")
    return commands


async def _survey(options: argparse.Namespace, running: service.Service) -> Recording | None:
    """Read the whole recording in a thread; None if the service is stopped meanwhile."""
    stopped = threading.Event()
    reading = asyncio.create_task(
        asyncio.to_thread(survey, options.file, options.venue, stopped.is_set, options.symbols)
    )
    stopping = asyncio.create_task(running.stopping.wait())
    await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopped.set()
    stopping.cancel()
    recording = await reading
    return None if running.stopping.is_set() else recording


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the service; return its exit code."""
    options = parser().parse_args(arguments)

    async def serve(running: service.Service) -> None:
        recording = await _survey(options, running)
        if recording is None:
            return
        for fault in recording.faults:
            running.log.warning(fault)
        if recording.faults_total > len(recording.faults):
            running.log.warning("more faults", recording=str(recording.path), faults=recording.faults_total)
        await ReplayServer(recording, speed=options.speed, paced=options.paced).serve(running, options.port)

    name = options.name or "replay-" + re.sub(r"[^A-Za-z0-9_.-]", "_", stem(options.file))
    if options.venue is not None and options.venue not in served():
        output.tell(f"{name}: --venue: {options.venue!r}: {unknown(options.venue, served())}")
        return service.EXIT_REFUSED
    return service.run(name, serve, folder=options.config)


if __name__ == "__main__":
    output.finish(main)
