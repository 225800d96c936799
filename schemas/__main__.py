"""``python -m schemas register|check``: the schemas and their registry, from the command line and in CI."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from alphapulse import config, output
from alphapulse.errors import AlphaPulseError
from alphapulse.service import EXIT_OK, EXIT_REFUSED
from schemas import compatibility
from schemas.definitions import definitions
from schemas.remote import registry


def register(folder: Path | None) -> list[str]:
    """Register all schemas with the registry of the configuration; return a line for each.

    Raises:
        ConfigError: the configuration cannot be used.
        SchemaError: the registry cannot be reached or refuses a schema.
    """
    settings = config.load(folder).registry
    chosen = registry(settings)
    lines = [f"{definition.subject}: id {chosen.register(definition)}" for definition in definitions()]
    if not settings.url:
        lines.append("registry.url is not set: these are local ids, from fingerprints; nothing was registered")
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Run the command in ``arguments`` (the process's by default); return the exit code."""
    parser = argparse.ArgumentParser(prog="alphapulse schemas", description="Schemas and their registry.")
    commands = parser.add_subparsers(dest="command", required=True)
    registering = commands.add_parser("register", help="register all schemas with the configured registry")
    registering.add_argument("--config", type=Path, metavar="DIR", help="folder of the configuration")
    checking = commands.add_parser("check", help="check that the schemas can follow those of earlier releases")
    checking.add_argument("--against", metavar="REF|DIR", help="a git revision or a folder (default: all releases)")
    options = parser.parse_args(arguments)
    try:
        lines = register(options.config) if options.command == "register" else compatibility.check(options.against)
    except AlphaPulseError as error:
        print(f"alphapulse schemas {options.command}: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_REFUSED
    print("\n".join(lines))  # noqa: T201
    return EXIT_OK


if __name__ == "__main__":
    output.finish(main)
