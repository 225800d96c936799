"""Runs the ``alphapulse`` command as a process, as a user does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ALPHAPULSE = (sys.executable, "-m", "alphapulse.cli")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment(**extra: str) -> dict[str, str]:
    """Return this process's environment without what would configure AlphaPulse, plus ``extra``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ALPHAPULSE_")}
    return {**kept, "COLUMNS": "200", **extra}


def alphapulse(*arguments: str | Path, timeout: float = 240, **extra: str) -> Ended:
    """Run ``alphapulse ARGUMENTS…`` to its end from the project's root."""
    done = subprocess.run(
        [*ALPHAPULSE, *map(str, arguments)],
        cwd=ROOT,
        env=environment(**extra),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return Ended(done.returncode, done.stdout, done.stderr)
