"""Prints a lock file without some packages: ``python without.py requirements.lock chdb pandas``.

The lock has one entry per package, followed by indented lines of hashes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path


def without(lines: Iterable[str], names: frozenset[str]) -> Iterator[str]:
    """Yield the lines of a lock that do not belong to one of ``names``.

    Raises:
        SystemExit: a name does not stand in the lock.
    """
    dropped: set[str] = set()
    drop = False
    for line in lines:
        if (entry := re.match(r"([A-Za-z0-9._-]+)(\[[^]]*\])?==", line)) is not None:
            drop = entry[1] in names
            dropped |= {entry[1]} & names
        elif not line.startswith(" "):
            drop = False
        if not drop:
            yield line
    if missing := names - dropped:
        sys.exit(f"not in the lock: {', '.join(sorted(missing))}")


def main() -> None:
    """Print what is left."""
    lock, *names = sys.argv[1:]
    text = Path(lock).read_text(encoding="utf-8")
    print("".join(without(text.splitlines(keepends=True), frozenset(names))), end="")


if __name__ == "__main__":
    main()
