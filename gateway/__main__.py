"""``python -m gateway [--config DIR]``: REST, WebSocket and page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from alphapulse import output, service
from alphapulse.arguments import CommandParser
from gateway.service import NAME, main


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the gateway until it is asked to stop; return the exit code."""
    parser = CommandParser(prog="alphapulse gateway", description="REST, WebSocket and page.")
    parser.add_argument("--config", type=Path, metavar="DIR", help="folder of services.toml and exchanges.toml")
    folder: Path | None = parser.parse_args(arguments).config
    return service.run(NAME, partial(main, folder=folder), folder=folder)


if __name__ == "__main__":
    output.finish(run)
