"""How the command is typed where the user is: a hint that cannot be typed as it stands is none."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

NAME = "alphapulse"


def command(started_as: str) -> str:
    """Return the command by its name if that is on the PATH, else as it was started (``.venv/bin/alphapulse``).

    Args:
        started_as: ``sys.argv[0]``.
    """
    if shutil.which(NAME) is not None:
        return NAME
    if Path(started_as).name == NAME:
        return shlex.quote(started_as)
    return f"{shlex.quote(sys.executable)} -m alphapulse.cli"
