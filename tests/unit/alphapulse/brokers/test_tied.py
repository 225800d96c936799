"""A tied program ends with its parent, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alphapulse.brokers.tied import tied

BOUND_SECONDS = 30.0

PARENT = """
import subprocess, sys, time
from alphapulse.brokers.tied import tied
child = subprocess.Popen(tied(["/bin/sh", "-c", "echo $$; exec sleep 600"]), stdout=subprocess.PIPE, text=True)
print(child.stdout.readline().strip(), flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_with_its_parent(how: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.send_signal(how)
        parent.wait()
    deadline = time.monotonic() + BOUND_SECONDS
    while alive(pid):
        assert time.monotonic() < deadline, "it outlives its parent"
        time.sleep(0.01)


def test_it_is_the_program_itself() -> None:
    command = tied([sys.executable, "-c", "import os, sys; print(os.getpid()); sys.exit(7)"])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        out, _ = child.communicate()
    assert int(out) == child.pid
    assert child.returncode == 7


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_it_does_not_begin_when_its_parent_is_gone_already() -> None:
    command = tied(["/bin/echo", "begun"])
    command[4] = str(os.getpid() + 1)  # whoever that is, it is not the parent
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stdout == ""
    assert f"the parent process {command[4]} of /bin/echo has ended" in done.stderr
