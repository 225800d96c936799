"""Print the Python for the virtual environment: ``python3 scripts/find_python.py``.

It is the one that runs this, unless that was compiled without optimizations, as pyenv does if not told otherwise, or is
too old, and the system's own Python will do: distributions compile theirs with profiles. Without them the whole stack
takes a sixth more processor time (DESIGN.md, "What it costs"). ``make PYTHON=python3.12`` says another one.

Runs on any Python 3.
"""

import os
import subprocess
import sys
import sysconfig

SYSTEM = "/usr/bin/python3"
USABLE = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))"


def optimized(executable: str, built_with: str) -> bool:
    """Return whether an interpreter, configured with these arguments, is compiled with profiles.

    Distributions call the compiler's options themselves, so their builds are known by their place.
    """
    return "--enable-optimizations" in built_with or os.path.realpath(executable).startswith("/usr/bin/")


def usable(executable: str) -> bool:
    """Return whether ``executable`` is a Python of 3.11 or later that makes virtual environments."""
    try:
        return subprocess.call([executable, "-c", USABLE], stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def choose(executable: str, built_with: str, system: str = SYSTEM) -> str:
    """Return ``executable``, or ``system`` if that is the better one."""
    if optimized(executable, built_with) and usable(executable):
        return executable
    return system if usable(system) else executable


if __name__ == "__main__":
    print(choose(sys.executable, sysconfig.get_config_var("CONFIG_ARGS") or ""))
