"""Options that commands on stored records share (``alphapulse load``, ``alphapulse parquet``)."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_topics(parser: argparse.ArgumentParser, without: str = "") -> None:
    """Add ``--topic``, repeatable; ``without`` says which topics are chosen without it."""
    told = f"only this one; repeatable; default: {without}" if without else "only this one; repeatable"
    parser.add_argument("--topic", action="append", default=[], metavar="TOPIC", help=told)


def add_dry_run(parser: argparse.ArgumentParser, told: str) -> None:
    """Add ``--dry-run``; ``told`` says what is done instead."""
    parser.add_argument("--dry-run", action="store_true", help=told)


def add_common(parser: argparse.ArgumentParser, data_dir: str, place: argparse._ActionsContainer | None = None) -> None:
    """Add ``--json``, ``--config`` and ``--data-dir``.

    Args:
        data_dir: what of it is used.
        place: what ``--data-dir`` is added to; default: the parser.
    """
    parser.add_argument("--json", action="store_true", help="print one JSON object to standard output")
    parser.add_argument("--config", type=Path, metavar="DIR", help="folder with services.toml")
    (place or parser).add_argument("--data-dir", type=Path, metavar="DIR", help=data_dir)
