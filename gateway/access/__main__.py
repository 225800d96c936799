"""``alphapulse keys``: create, list and revoke API keys (``python -m gateway.access``)."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from alphapulse import config, output
from alphapulse.arguments import CommandParser
from alphapulse.errors import AlphaPulseError, ValueRefused
from alphapulse.service import EXIT_OK, EXIT_REFUSED
from gateway.access import keys as key_file
from gateway.access.identity import FIXED, check_scope
from gateway.access.keys import ApiKey, ApiKeys, check_name

_SPAN: Final = re.compile(r"([1-9][0-9]{0,4})([dh])", re.ASCII)
_NANOSECONDS: Final = 1_000_000_000


def expiry(text: str, now: int) -> int:
    """Return the time (ns) that ``text`` means: ``90d`` or ``12h`` from now, or a date or time of ISO 8601 (UTC).

    Raises:
        ValueRefused: it is none, or in the past.
    """
    if span := _SPAN.fullmatch(text):
        hours = int(span[1]) * (24 if span[2] == "d" else 1)
        return now + int(timedelta(hours=hours).total_seconds()) * _NANOSECONDS
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueRefused(
            f"--expires {text[:40]!r}: expected 90d, 12h, a date or a time such as 2030-01-31T12:00"
        ) from error
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    at = int(when.timestamp()) * _NANOSECONDS
    if at <= now:
        raise ValueRefused(f"--expires {text}: in the past")
    return at


def parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    commands = CommandParser(
        prog="alphapulse keys",
        description="API keys of programs that use the gateway (docs/access.md). A running gateway follows changes"
        " within two seconds.",
    )
    actions = commands.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="make a key and print it, once")
    create.add_argument("name", metavar="NAME", help="who uses it; letters, digits, '.', '_' and '-'")
    create.add_argument(
        "--scope",
        action="append",
        required=True,
        dest="scopes",
        metavar="SCOPE",
        help=f"what it opens; repeat it for more: stream:CHANNEL:VENUE (* for any), {', '.join(FIXED)}",
    )
    create.add_argument("--expires", metavar="WHEN", help="90d, 12h, or a date or time (UTC); default: never")
    listed = actions.add_parser("list", help="show all keys, without their texts, which nobody knows")
    revoke = actions.add_parser("revoke", help="end a key, and the connections that use it")
    revoke.add_argument("name", metavar="NAME", help="name or id of the key")
    for each in (create, listed, revoke):
        each.add_argument("--config", type=Path, metavar="DIR", help="configuration folder")
        each.add_argument(
            "--data-dir", type=Path, metavar="DIR", help="folder of the gateway's data; default: as configured"
        )
    return commands


def create(path: Path, name: str, scopes: Sequence[str], expires: str | None, now: int) -> None:
    """Create a key, write the file and print the key's text.

    Raises:
        ValueRefused: name, scopes or expiry are invalid.
        ServiceError: the file cannot be written.
    """
    check_name(name)
    for scope in scopes:
        check_scope(scope)
    until = None if expires is None else expiry(expires, now)
    with key_file.changing(path):
        keys, text = key_file.read(path).created(name, scopes, now, until)
        key_file.write(path, keys)
    output.tell(f"{name}: this key is shown once; keep it where programs keep secrets")
    print(text)


def revoke(path: Path, name: str, now: int) -> None:
    """Revoke the keys of a name.

    Raises:
        ValueRefused: there is none that is active.
        ServiceError: the file cannot be written.
    """
    with key_file.changing(path):
        key_file.write(path, key_file.read(path).revoked(name, now))
    print(f"{name}: revoked; a running gateway ends its connections within two seconds")


def table(keys: ApiKeys, now: int) -> list[str]:
    """Return the lines of ``list``, newest key last."""
    rows = [("NAME", "ID", "STATE", "CREATED", "EXPIRES", "SCOPES")]
    rows += [
        (key.name, key.id, _state(key, now), _date(key.created), _date(key.expires), " ".join(key.scopes))
        for key in keys.keys
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]) for row in rows]


def _state(key: ApiKey, now: int) -> str:
    if key.revoked is not None:
        return "revoked"
    return "expired" if key.expires is not None and key.expires <= now else "active"


def _date(time_ns: int | None) -> str:
    return (
        "never" if time_ns is None else datetime.fromtimestamp(time_ns // _NANOSECONDS, UTC).strftime("%Y-%m-%d %H:%M")
    )


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    given = parser().parse_args(arguments)
    now = time.time_ns()
    try:
        settings = config.load(given.config)
        if given.data_dir is not None:
            settings = settings.model_copy(update={"data_dir": given.data_dir})
        path = key_file.keys_path(settings)
        match given.action:
            case "create":
                create(path, given.name, given.scopes, given.expires, now)
            case "revoke":
                revoke(path, given.name, now)
            case _:
                print("\n".join(table(key_file.read(path), now)))
    except AlphaPulseError as error:
        output.tell(f"alphapulse keys: {error}")
        return EXIT_REFUSED
    return EXIT_OK


if __name__ == "__main__":
    output.finish(run)
