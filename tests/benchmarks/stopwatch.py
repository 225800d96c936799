"""Timing alternatives side by side, so that a busy machine disturbs them alike; processor time of other processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

Work = Callable[[], object]
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the processor time a process has used, in all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def microseconds(contenders: Mapping[str, Work], *, repeats: int, rounds: int = 15) -> dict[str, float]:
    """Return each contender's best CPU time per repeat, in µs; the contenders take turns, ``rounds`` times."""
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(rounds):
        for name, work in contenders.items():
            start = time.process_time_ns()
            for _ in range(repeats):
                work()
            best[name] = min(best[name], (time.process_time_ns() - start) / repeats / 1000)
    return best


def table(title: str, figures: Mapping[str, float], baseline: str) -> None:
    """Print the figures, each with its ratio to ``baseline``."""
    print(title)
    for name, figure in figures.items():
        print(f"  {name:<34} {figure:9.3f} µs   × {figure / figures[baseline]:.2f}")
