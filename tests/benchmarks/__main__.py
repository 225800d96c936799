"""``python -m tests.benchmarks [NAME…]``: run the benchmarks, all or those named (``book`` is ``bench_book.py``).

Each runs in a process of its own, one after the other, so that none warms up or slows down the next.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def names() -> list[str]:
    """Return the names of all benchmarks, found by file name."""
    return sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))


def main(arguments: list[str]) -> int:
    """Run the benchmarks; return 0 if all ran, 2 if one is unknown, else 1."""
    found = names()
    chosen = [name.removeprefix("bench_").removesuffix(".py") for name in arguments] or found
    if unknown := [name for name in chosen if name not in found]:
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(found)}", file=sys.stderr)
        return 2
    failed = []
    for name in chosen:
        print(f"── {name} " + "─" * (76 - len(name)), flush=True)
        done = subprocess.run(
            [sys.executable, "-m", f"tests.benchmarks.bench_{name}"], cwd=FOLDER.parents[1], check=False
        )
        if done.returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
