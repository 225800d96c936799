"""The command line of the scripts that make files of code: they are written, or compared with ``--check``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent


def out_of_date(made: Mapping[Path, str], command: str) -> list[str]:
    """Return a message for each file of ``made`` that is missing or differs; ``command`` makes them anew."""
    return [
        f"{path.relative_to(ROOT)} is out of date; run {command}"
        for path, text in made.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def run(
    description: str,
    made: Callable[[], Mapping[Path, str]],
    command: str,
    *,
    others: Callable[[], Iterable[str]] = tuple,
) -> int:
    """Write the files, or with ``--check`` compare them and say on standard error what differs.

    Args:
        description: of the script, for ``--help``.
        made: returns the text of each file.
        command: that writes them, for messages.
        others: returns further faults, for ``--check``.

    Returns:
        The exit code: 1 if something differs.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if something is out of date")
    if parser.parse_args().check:
        faults = [*out_of_date(made(), command), *others()]
        print("\n".join(faults), end="\n" if faults else "", file=sys.stderr)
        return 1 if faults else 0
    for path, text in made().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0
