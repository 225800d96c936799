"""Children's logs on this process's standard error: whole lines, each once, files bounded."""

from __future__ import annotations

import io
from pathlib import Path

from alphapulse.config import Settings
from alphapulse.supervisor.log_relay import CHUNK_BYTES, LogRelay
from alphapulse.supervisor.supervisor import Child, ChildSpec, Supervisor


class Stage:
    """A supervisor with a child that is only a file."""

    def __init__(self, folder: Path, *, before: bytes = b"", keep_bytes: int = 1000) -> None:
        self.supervisor = Supervisor(folder)
        self.child = Child(ChildSpec("one", "nothing", Settings(data_dir=folder)))
        self.path = self.supervisor.log_path("one")
        self.path.parent.mkdir(parents=True)
        self.path.write_bytes(before)
        self.child.log_start = len(before)
        self.supervisor.children["one"] = self.child
        self.stream = io.BytesIO()
        self.relay = LogRelay(self.supervisor, self.stream, keep_bytes=keep_bytes)
        self.relay.turn()

    def write(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)
        self.relay.turn()


async def test_only_whole_lines_are_relayed_and_each_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path, before=b"an earlier run\n")
    stage.write(b"first\nanother")
    assert stage.stream.getvalue() == b"first\n"
    stage.write(b" one\n")
    stage.relay.turn()
    assert stage.stream.getvalue() == b"first\nanother one\n"


async def test_a_line_longer_than_a_read_is_relayed_in_pieces(tmp_path: Path) -> None:
    stage = Stage(tmp_path, keep_bytes=1 << 30)
    line = b"x" * (2 * CHUNK_BYTES + 5)
    stage.write(line)
    assert stage.stream.getvalue() == line[: 2 * CHUNK_BYTES]
    stage.write(b"\n")
    assert stage.stream.getvalue() == line + b"\n"


async def test_a_large_file_is_emptied_when_it_is_relayed(tmp_path: Path) -> None:
    stage = Stage(tmp_path, before=b"old\n", keep_bytes=20)
    stage.write(b"0123456789\n")
    assert stage.path.stat().st_size == 15
    stage.write(b"9876543210\nunfin")
    assert stage.path.stat().st_size == 31, "the line that is not whole is not relayed yet"
    stage.write(b"ished\n")
    assert stage.path.stat().st_size == 0
    stage.write(b"new\n")
    assert stage.stream.getvalue() == b"0123456789\n9876543210\nunfinished\nnew\n"
    assert stage.child.log_start == 0, "its last words are still found"


async def test_a_child_without_a_file_yet_is_no_error(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.path.unlink()
    stage.relay.turn()
    stage.write(b"there\n")
    assert stage.stream.getvalue() == b"there\n"
