"""Command line of ``alphapulse parquet``."""

from __future__ import annotations

import argparse
import re
from typing import Final

from alphapulse.arguments import CommandParser
from sinks.options import add_common, add_dry_run, add_topics
from sinks.parquet.compaction import SETTLED_SECONDS

_AGE: Final = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)([hd])", re.ASCII)
_SIZE: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([kMGT]?)B?", re.ASCII)
_UNITS: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

EPILOG: Final = "Exit codes: 0 done; 1 faults were found, or files were left as they were; 2 it could not be done."


def age(text: str) -> float:
    """Return seconds from ``36h`` or ``30d``."""
    found = _AGE.fullmatch(text)
    if found is None or not float(found[1]):
        raise argparse.ArgumentTypeError(f"expected an age such as 36h or 30d, found {text!r}")
    return float(found[1]) * (86_400 if found[2] == "d" else 3_600)


def size(text: str) -> int:
    """Return bytes from ``500MB`` or ``1.5TB`` (powers of ten)."""
    found = _SIZE.fullmatch(text)
    if found is None or not float(found[1]):
        raise argparse.ArgumentTypeError(f"expected a size such as 500MB or 1.5TB, found {text!r}")
    return int(float(found[1]) * _UNITS[found[2]])


def seconds(text: str) -> float:
    """Return a time in seconds, 0 or more."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < 10**10:
        raise argparse.ArgumentTypeError(f"expected seconds, found {text!r}")
    return found


def number(text: str) -> int:
    """Return a number of files, 2 or more."""
    if not text.isascii() or not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"expected a number from 2 on, found {text!r}")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    commands = CommandParser(
        prog="alphapulse parquet",
        description="The Parquet sink's files: list, compact, verify, retire (docs/parquet.md).",
        epilog=EPILOG,
    )
    actions = commands.add_subparsers(dest="action", required=True, metavar="ls|compact|verify|retain")
    listed = actions.add_parser("ls", help="what there is, by topic or by hour", epilog=EPILOG)
    how = listed.add_mutually_exclusive_group()
    how.add_argument("--hours", action="store_true", help="a line for each hour")
    how.add_argument("--paths", action="store_true", help="the files that count, one path or URL a line, no other")
    compact = actions.add_parser("compact", help="join small files: one per hour and partition", epilog=EPILOG)
    compact.add_argument(
        "--settled",
        type=seconds,
        default=SETTLED_SECONDS,
        metavar="SECONDS",
        help="compact hours that ended this long ago; default: %(default)g",
    )
    compact.add_argument(
        "--min-files", type=number, default=2, metavar="N", help="only where there are N files; default: 2"
    )
    compact.add_argument(
        "--grace",
        type=seconds,
        metavar="SECONDS",
        help="keep replaced files this long for readers that have listed them; a bucket needs it (docs/parquet.md)",
    )
    verify = actions.add_parser("verify", help="every file opens, no row is missing or doubled", epilog=EPILOG)
    verify.add_argument("--deep", action="store_true", help="read all data, and compare checksums")
    retain = actions.add_parser("retain", help="remove the oldest hours", epilog=EPILOG)
    retain.add_argument("--max-age", type=age, metavar="AGE", help="36h or 30d; default: parquet.keep_days")
    retain.add_argument("--max-size", type=size, metavar="SIZE", help="500MB or 1.5TB; default: parquet.keep_gb")
    for each in (compact, retain):
        add_dry_run(each, "say what would be done, and do nothing")
    for each in (listed, compact, verify, retain):
        add_topics(each)
        place = each.add_mutually_exclusive_group()
        add_common(each, "its folder parquet; default: as configured", place)
        place.add_argument("--path", metavar="PATH", help="folder or URL of the files; default: as configured")
    return commands
