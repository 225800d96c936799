"""A command's standard output: pipes that end early, disks that are full, streams that are closed."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys

import pytest

from alphapulse.output import columns, wrapped

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


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_only_a_terminal_has_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    assert columns(Terminal()) == 72
    assert columns(io.StringIO()) is None
    assert columns(None) is None


def test_a_terminal_that_does_not_know_its_width_has_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    leader, follower = pty.openpty()
    try:
        with open(follower, "w", encoding="utf-8") as terminal:  # noqa: PTH123 a descriptor
            assert columns(terminal) == 80
    finally:
        os.close(leader)


def test_long_lines_are_broken_between_words() -> None:
    path = "/a/path/that-is/longer/than/the-whole/terminal.toml:3:"
    text = f"2 faults:\n  - {path} key a: expected text, found 5\n  - short\n\nlast  column"
    assert wrapped(text, None) == text
    assert wrapped(text, 30).splitlines() == [
        "2 faults:",
        "  -",
        f"      {path}",
        "      key a: expected text,",
        "      found 5",
        "  - short",
        "",
        "last  column",
    ]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_message_is_wrapped_on_a_terminal_only(terminal: bool) -> None:
    code = "from alphapulse import output; output.tell('alphapulse: ' + 'word ' * 30)"
    reading, writing = pty.openpty() if terminal else os.pipe()
    environment = {**os.environ, "COLUMNS": "80"}
    subprocess.run([sys.executable, "-c", code], stderr=writing, check=True, env=environment)
    lines = os.read(reading, 10_000).decode().splitlines()
    os.close(writing)
    os.close(reading)
    assert " ".join(line.strip() for line in lines) == "alphapulse: " + " ".join(["word"] * 30)
    assert [len(line) <= 80 for line in lines] == ([True, True, True] if terminal else [False])
