"""Command line of ``alphapulse load``."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from alphapulse.arguments import CommandParser
from sinks.load.faults import KEPT
from sinks.options import add_common, add_dry_run, add_topics

EPILOG: Final = (
    "Exit codes: 0 all rows are there; 1 rows are bad (stop: nothing was loaded; skip: the others were); 2 it could "
    "not be done; 130 interrupted. Every load may be repeated: rows that are there stay as they are."
)


def hour(text: str) -> int:
    """Return hours since the Unix epoch from ``2026-01-31T12`` or ``2026-01-31``."""
    try:
        found = datetime.strptime(text, "%Y-%m-%dT%H" if "T" in text else "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected an hour such as 2026-01-31T12, found {text!r}") from None
    return int(found.timestamp()) // 3600


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    commands = CommandParser(
        prog="alphapulse load",
        description="Load market data of other vendors, or files of our own, each row once (docs/load.md).",
        epilog=EPILOG,
    )
    sources = commands.add_subparsers(dest="source", required=True, metavar="csv|recording|parquet")
    csv = sources.add_parser(
        "csv", help="trades and books in files of other vendors (.csv, .csv.gz, .zip)", epilog=EPILOG
    )
    csv.add_argument("files", nargs="+", type=Path, metavar="FILE", help="the format is told by its first lines")
    csv.add_argument("--venue", metavar="NAME", help="venue of all rows; default: as the files say")
    csv.add_argument(
        "--symbol",
        action="append",
        default=[],
        metavar="[NAME=]BASE-QUOTE",
        help="symbol of the vendor's NAME, or of all rows; repeatable; default: by the venue's own rules",
    )
    recording = sources.add_parser("recording", help="trades and books in files of `alphapulse record`", epilog=EPILOG)
    recording.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".rec.gz, or plain text")
    recording.add_argument("--venue", metavar="NAME", help="of the frames; default: by the file's name, else by them")
    recording.add_argument(
        "--symbol",
        action="append",
        default=[],
        metavar="BASE-QUOTE",
        help="a symbol whose name at the venue does not show base and quote; repeatable",
    )
    for each in (csv, recording):
        each.add_argument("--to", choices=("tables", "topics"), default="tables", help="default: %(default)s")
        each.add_argument(
            "--on-error",
            choices=("stop", "skip"),
            default="stop",
            help=f"bad rows: load nothing and show the first {KEPT}, or load the others; default: %(default)s",
        )
        each.add_argument(
            "--rejects",
            type=Path,
            metavar="FILE",
            help="where bad rows go, with line, column and reason; default: the file's name and .rejects.csv",
        )
    parquet = sources.add_parser("parquet", help="files of our Parquet sink into the tables", epilog=EPILOG)
    parquet.add_argument("path", metavar="PATH", help="folder or URL of the files, as [parquet] path")
    add_topics(parquet, "all but md.depth")
    parquet.add_argument("--since", type=hour, metavar="HOUR", help="from this hour on: 2026-01-31T12, UTC")
    parquet.add_argument("--until", type=hour, metavar="HOUR", help="before this hour")
    for each in (csv, recording, parquet):
        add_dry_run(each, "read and check everything, write nothing")
        add_common(each, "of a demo: its broker, its embedded database")
    return commands
