"""Run a program that ends with its parent process: ``python -I -S tied.py PARENT_PID PROGRAM ARGUMENT…``.

Linux's parent-death signal survives ``exec``, so this process becomes the program. (Setting it between ``fork`` and
``exec`` of a threaded Python process instead may deadlock.) The kernel sends it when the parent *thread* ends, so
start programs from a thread that lives long enough. Other systems have no such signal: there the program survives a
killed parent.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main() -> None:
    """Replace this process by the program."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
            sys.exit(f"cannot tie {command[0]} to process {parent}: {os.strerror(ctypes.get_errno())}")
        if os.getppid() != int(parent):  # it ended before the signal was set
            sys.exit(f"the parent process {parent} of {command[0]} has ended")
    os.execv(command[0], command)  # noqa: S606 the caller's own choice


def tied(command: list[str]) -> list[str]:
    """Return the command that runs ``command`` (an absolute path and its arguments) tied to this process."""
    return [sys.executable, "-I", "-S", os.path.realpath(__file__), str(os.getpid()), *command]


if __name__ == "__main__":
    main()
