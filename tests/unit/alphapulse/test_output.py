"""A command's standard output: pipes that end early, disks that are full, streams that are closed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

PRINT = "print('x' * 100)"
WRITE = "output.write(b'x' * 1_000_000)"
FLUSHED = "print('x' * 100, flush=True)"
RICH = "import rich; rich.print('x' * 100)"
BLOCKED = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE}); print('x' * 100)"


def ended(work: str, stdout: int, *options: str) -> tuple[int, str]:
    """Return exit code and standard error of a command that does ``work`` and returns 3."""
    code = f"from alphapulse import output\ndef main():\n    {work}\n    return 3\noutput.finish(main)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, *options, "-c", code]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, env=environment)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("work", "options"), [(PRINT, ()), (FLUSHED, ()), (RICH, ()), (BLOCKED, ()), (WRITE, ()), (WRITE, ("-u",))]
)
def test_nobody_reads_it(work: str, options: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert ended(work, writing, *options) == (-signal.SIGPIPE, "")
    finally:
        os.close(writing)


def test_somebody_does() -> None:
    assert ended(PRINT, subprocess.DEVNULL) == (3, "")


def test_a_socket_that_breaks_is_an_error_as_any() -> None:
    code, told = ended("raise BrokenPipeError('a socket')", subprocess.DEVNULL)
    assert code == 1
    assert told.endswith("BrokenPipeError: a socket\n")


@pytest.mark.parametrize("work", [PRINT, WRITE])
def test_a_full_disk_is_told(work: str) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 a device
        assert ended(work, full.fileno()) == (
            1,
            "alphapulse: cannot write standard output: No space left on device\n",
        )
