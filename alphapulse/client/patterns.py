"""Names with wildcards: ``*`` stands for any characters. Pure."""

from __future__ import annotations

import re
from functools import lru_cache


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


def matches(pattern: str, name: str) -> bool:
    """Return whether ``name`` is covered by ``pattern``."""
    return pattern == name or ("*" in pattern and _compiled(pattern).fullmatch(name) is not None)


def intersect(one: str, other: str) -> bool:
    """Return whether some name is covered by both patterns."""
    if "*" not in one:
        return matches(other, one)
    if "*" not in other:
        return matches(one, other)
    # Whether the rests of both from (i, j) have a common name, for all j of one row at a time.
    below = [all(rest == "*" for rest in other[j:]) for j in range(len(other) + 1)]
    for i in range(len(one) - 1, -1, -1):
        row = [False] * (len(other) + 1)
        row[-1] = all(rest == "*" for rest in one[i:])
        for j in range(len(other) - 1, -1, -1):
            if one[i] == "*" or other[j] == "*":
                row[j] = below[j] or row[j + 1]
            else:
                row[j] = one[i] == other[j] and below[j + 1]
        below = row
    return below[0]
