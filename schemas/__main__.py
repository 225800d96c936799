"""``python -m schemas register|check``: register and check the schemas."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from alphapulse import config, output
from alphapulse.arguments import CommandParser
from alphapulse.errors import AlphaPulseError, RegistryUnavailable
from alphapulse.service import EXIT_OK, EXIT_REFUSED
from schemas import compatibility
from schemas.definitions import Definition, definitions
from schemas.registry import SchemaRegistry
from schemas.remote import registry

_PAUSE_SECONDS: Final = 0.5


def register(folder: Path | None, wait_seconds: float = 0.0) -> list[str]:
    """Register all schemas with the registry of the configuration; return a line for each.

    Args:
        folder: configuration folder.
        wait_seconds: maximum wait for a registry that does not answer.

    Raises:
        ConfigError: the configuration cannot be used.
        SchemaError: the registry cannot be reached or refuses a schema.
    """
    settings = config.load(folder).registry
    chosen = registry(settings)
    deadline = time.monotonic() + wait_seconds
    lines = [f"{definition.subject}: id {_patiently(chosen, definition, deadline)}" for definition in definitions()]
    if not settings.url:
        lines.append("registry.url is not set: these ids are local fingerprints; nothing was registered")
    return lines


def _patiently(chosen: SchemaRegistry, definition: Definition, deadline: float) -> int:
    """Register a schema; retry until ``deadline`` (monotonic seconds) while the registry does not answer."""
    told = ""
    while True:
        try:
            return chosen.register(definition)
        except RegistryUnavailable as error:
            if time.monotonic() >= deadline:
                raise
            if str(error) != told:
                told = str(error)
                output.tell(f"waiting: {told}")
            time.sleep(_PAUSE_SECONDS)


def main(arguments: list[str] | None = None) -> int:
    """Run the command in ``arguments`` (the process's by default); return the exit code."""
    parser = CommandParser(prog="alphapulse schemas", description="Register and check schemas.")
    commands = parser.add_subparsers(dest="command", required=True)
    registering = commands.add_parser("register", help="register all schemas with the configured registry")
    registering.add_argument("--config", type=Path, metavar="DIR", help="folder of the configuration")
    registering.add_argument(
        "--wait",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="seconds to wait for a registry that does not answer",
    )
    checking = commands.add_parser("check", help="check that the schemas are compatible with those of earlier releases")
    checking.add_argument(
        "--against", metavar="REF|DIR", help="git revision or folder to compare with (default: all releases)"
    )
    options = parser.parse_args(arguments)
    try:
        lines = (
            register(options.config, options.wait)
            if options.command == "register"
            else compatibility.check(options.against)
        )
    except AlphaPulseError as error:
        output.tell(f"alphapulse schemas {options.command}: {error}")
        return EXIT_REFUSED
    print("\n".join(lines))  # noqa: T201
    return EXIT_OK


if __name__ == "__main__":
    output.finish(main)
