"""Whether a market can be simulated, asked of the simulator before anything starts.

The command line knows no venue: the simulator, a program of its own, finds them by their folders.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from alphapulse import simulated
from alphapulse.errors import ServiceError
from alphapulse.service import EXIT_OK, EXIT_REFUSED

_SIMULATOR = "producers.simulator"


def check_market(venues: Sequence[str], symbols: Sequence[str]) -> list[str]:
    """Return what cannot be simulated of ``venues`` and ``symbols``, one message each with its option.

    The default market is not asked about: a test knows that it can be, and starting a program takes a second.

    Raises:
        ServiceError: the simulator did not answer.
    """
    market = (",".join(venues), ",".join(symbols))
    if market == (simulated.VENUES, simulated.SYMBOLS):
        return []
    command = [sys.executable, "-m", _SIMULATOR, "--check", f"--venues={market[0]}", f"--symbols={market[1]}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    faults = done.stdout.splitlines()
    if done.returncode == EXIT_OK or (done.returncode == EXIT_REFUSED and faults):
        return faults
    last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
    raise ServiceError(f"cannot check --venues and --symbols: {_SIMULATOR}: {last}")
