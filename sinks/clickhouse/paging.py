"""Results on a terminal: printed if they fit, else shown by a pager that does not wrap long lines."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from prompt_toolkit.utils import get_cwidth

from alphapulse.errors import ServiceError

_PAGER: Final = "less --chop-long-lines --quit-if-one-screen --no-init"


def pager() -> list[str]:
    """Return the words of ``PAGER``, else of ``less``; none if it is not installed."""
    wanted = shlex.split(os.environ.get("PAGER", "") or _PAGER)
    return wanted if wanted and shutil.which(wanted[0]) is not None else []


def page(text: str, program: Sequence[str]) -> None:
    """Show ``text``; by ``program`` if standard output is a terminal that it does not fit.

    Raises:
        ServiceError: the program cannot be started.
    """
    size = shutil.get_terminal_size()
    lines = text.splitlines()
    fits = len(lines) < size.lines - 1 and all(get_cwidth(line) <= size.columns for line in lines)
    if text and not text.endswith("\n"):
        text += "\n"
    if fits or not program or not sys.stdout.isatty():
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    # Ctrl-C belongs to the pager while it runs.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        subprocess.run(program, input=text.encode(), check=False)
    except OSError as error:
        raise ServiceError(f"PAGER: {program[0]}: {error.strerror or error}") from error
    finally:
        signal.signal(signal.SIGINT, before)
