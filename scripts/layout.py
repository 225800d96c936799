#!/usr/bin/env python3
"""Layout of the tree: for each package its modules, their median length, the levels of imports, circles.

Levels and circles are those between a package's direct children, a sub-package counting as one. Exits with 1 if there
is a circle, if half of a service's modules have 200 lines or more, or if ``producers`` has more than six levels.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median
from typing import Final

import grimp

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = ("alphapulse", "schemas", "producers", "stream_processors", "sinks", "gateway")
MOST_LEVELS: Final = {"producers": 6}
MEDIAN_LINES: Final = 200


def arrows(graph: grimp.ImportGraph, package: str) -> dict[str, set[str]]:
    """Return which direct children of ``package`` import which."""
    children = sorted(graph.find_children(package))
    owner = {module: child for child in children for module in (child, *graph.find_descendants(child))}
    found: dict[str, set[str]] = {child: set() for child in children}
    for module, child in owner.items():
        found[child] |= {owner[other] for other in graph.find_modules_directly_imported_by(module) if other in owner}
        found[child].discard(child)
    return found


def levels(found: dict[str, set[str]]) -> tuple[int, list[str]]:
    """Return the number of levels, and the children that are in a circle or stand on one."""
    left, count = dict(found), 0
    while left:
        lowest = [child for child, imported in left.items() if not imported & left.keys()]
        if not lowest:
            break
        for child in lowest:
            del left[child]
        count += 1
    return count, sorted(left)


def lines_of(package: str) -> list[int]:
    """Return the lengths of all modules of ``package``."""
    paths = (ROOT / package.replace(".", "/")).rglob("*.py")
    return [len(path.read_text(encoding="utf-8").splitlines()) for path in paths if path.name != "__init__.py"]


def main() -> int:
    """Print the table; return the exit code."""
    sys.path.insert(0, str(ROOT))
    graph = grimp.build_graph(*PACKAGES)
    wrong: list[str] = []
    print(f"{'package':<34}{'children':>9}{'modules':>9}{'median':>8}{'levels':>8}  circles")
    packages = [module for module in sorted(graph.modules) if graph.find_children(module)]
    for package in packages:
        found = arrows(graph, package)
        count, circle = levels(found)
        lines = lines_of(package)
        middle = median(lines) if lines else 0.0
        print(f"{package:<34}{len(found):>9}{len(lines):>9}{middle:>8.0f}{count:>8}  {', '.join(circle) or 'none'}")
        if circle:
            wrong.append(f"{package}: a circle of imports: {', '.join(circle)}")
        if count > MOST_LEVELS.get(package, count):
            wrong.append(f"{package}: {count} levels of imports, {MOST_LEVELS[package]} are allowed")
        if package in PACKAGES and middle >= MEDIAN_LINES:
            wrong.append(f"{package}: half of its modules have {middle:.0f} lines or more")
    print("\n".join(wrong), end="\n" if wrong else "", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
