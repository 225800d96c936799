"""The shell on a terminal of 80 columns, as a user sees it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alphapulse.claim import InUse, claim
from tests.unit.sinks.clickhouse.test_query import fill

pytestmark = pytest.mark.xdist_group("sql_shell")

PATIENCE_SECONDS = 60.0
LONG = "SELECT count() FROM numbers(300000000000) WHERE sipHash64(number) % 7 = 1;"
_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()=>][A-Z0-9]?|\x1b\][^\x07]*\x07")


class Terminal:
    """A process on a terminal of its own; ``text`` is all it has written, without escape sequences."""

    def __init__(self, arguments: list[str], state: Path) -> None:
        self.text = ""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            environment = {**os.environ, "TERM": "xterm", "XDG_STATE_HOME": str(state), "PAGER": "cat"}
            os.execve(sys.executable, [sys.executable, "-m", "sinks.clickhouse.query", *arguments], environment)  # noqa: S606
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def type(self, text: str) -> None:
        self.text = ""
        os.write(self._fd, text.encode())

    def until(self, wanted: str) -> str:
        """Read until ``wanted`` has been written; return what has."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while wanted not in self.text:
            assert time.monotonic() < deadline, (wanted, self.text)
            if not select.select([self._fd], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                raise AssertionError((wanted, self.text)) from None
            if b"\x1b[6n" in data:  # asks where the cursor is
                os.write(self._fd, b"\x1b[1;1R")
            self.text += _ESCAPES.sub(b"", data).decode(errors="replace")
        return self.text

    def again(self, text: str, wanted: str) -> None:
        """Type ``text`` each half second until ``wanted`` has been written.

        A key is lost while the terminal passes from the prompt, which reads keys, to the query, which gets signals.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while wanted not in self.text:
            assert time.monotonic() < deadline, (wanted, self.text)
            os.write(self._fd, text.encode())
            pause = time.monotonic() + 0.5
            while wanted not in self.text and (left := pause - time.monotonic()) > 0:
                if not select.select([self._fd], [], [], left)[0]:
                    break
                try:
                    data = os.read(self._fd, 65536)
                except OSError:
                    raise AssertionError((wanted, self.text)) from None
                self.text += _ESCAPES.sub(b"", data).decode(errors="replace")

    def ended(self) -> int:
        """Wait for the end; return the exit code."""
        try:
            while os.read(self._fd, 65536):
                pass
        except OSError:
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        os.close(self._fd)
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shell")
    asyncio.run(fill(made, trades=True))
    return made


@pytest.fixture
def terminal(folder: Path, tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(["--data-dir", str(folder), "--format", "table"], tmp_path)
    yield made
    made.close()


def held(folder: Path) -> None:
    """Wait until a query of the shell runs: it holds the folder."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            claim(folder / "clickhouse", "database", beside=True).close()
        except InUse:
            return
        time.sleep(0.02)
    raise AssertionError("no query runs")


def test_a_session(terminal: Terminal, tmp_path: Path) -> None:
    terminal.until("sql>")
    terminal.type("SELECT price\rFROM v_tra\t")
    terminal.until("des")
    terminal.type(";\r")
    assert "61685.99" in terminal.until(" s\r\n")
    terminal.type("ohlcv symbol=X\r")
    terminal.until(" s\r\n")
    terminal.type("ohlcv symbl=X\r")
    terminal.until("ohlcv: no parameter 'symbl', did you mean symbol?")
    terminal.type("SELEC 1;\r")
    terminal.until("Syntax error: failed at position 7")
    terminal.type("DROP TABLE trades;\r")
    terminal.until("only SELECT,")
    terminal.type("format json\r")
    terminal.until("sql>")
    terminal.type("SELECT toUInt64(7) AS n;\r")
    terminal.until('{"n":"7"}')
    terminal.type("format parquet\r")
    terminal.until("format: parquet is not for a terminal")
    terminal.type("list gaps\r")
    terminal.until("What went wrong with the feeds")
    terminal.type("tables\r")
    assert "v_trades" in terminal.until(" s\r\n")
    terminal.type("exit\r")
    assert terminal.ended() == 0
    history = tmp_path / "alphapulse" / "sql_history"
    assert "+FROM v_trades" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600


def test_control_c_ends_the_query_not_the_shell(terminal: Terminal, folder: Path) -> None:
    terminal.until("sql>")
    terminal.type("SELECT never")
    terminal.until("never")
    terminal.type("\x03")
    terminal.until("sql>")
    terminal.type(f"{LONG}\r")
    held(folder)
    terminal.again("\x03", "cancelled")
    terminal.type("SELECT 41 + 1;\r")
    assert "42" in terminal.until(" s\r\n")
    terminal.until("help")  # the prompt reads keys again: what is typed before may be lost
    terminal.type("\x04")
    assert terminal.ended() == 0


def test_without_a_database_it_does_not_begin(tmp_path: Path) -> None:
    terminal = Terminal(["--data-dir", str(tmp_path / "none")], tmp_path)
    try:
        terminal.until("no database there; run 'alphapulse demo'")
        assert terminal.ended() == 2
    finally:
        terminal.close()


def test_a_binary_format_is_not_written_to_a_terminal(folder: Path, tmp_path: Path) -> None:
    terminal = Terminal(["--data-dir", str(folder), "--format", "parquet", "SELECT 1"], tmp_path)
    try:
        terminal.until("--format parquet is binary: redirect standard output into a file")
        assert terminal.ended() == 2
    finally:
        terminal.close()


def test_a_history_that_cannot_be_kept_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "alphapulse").write_text("")
    terminal = Terminal(["--data-dir", str(folder)], tmp_path)
    try:
        terminal.until("what is typed will not be remembered")
        terminal.until("sql>")
        terminal.type("SELECT 1;\r")
        terminal.until(" s\r\n")
    finally:
        terminal.close()


def test_the_json_of_the_shell_is_json(folder: Path, tmp_path: Path) -> None:
    terminal = Terminal(["--data-dir", str(folder), "--format", "json", "SELECT toInt64(-1) AS x"], tmp_path)
    try:
        found = re.search(r"\{.*\}", terminal.until("}"))
        assert found is not None
        assert json.loads(found[0]) == {"x": "-1"}
        assert terminal.ended() == 0
    finally:
        terminal.close()
