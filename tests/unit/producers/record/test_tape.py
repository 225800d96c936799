"""producers.record.tape"""

from __future__ import annotations

import asyncio
import gzip
import os
import time
from pathlib import Path

import pytest

from alphapulse.errors import ServiceError
from producers.record.tape import PART, Rotation, Tape, seal
from producers.replay.lines import read

S = 1_000_000_000
START = 1_763_632_800 * S


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def tape(folder: Path, clock: Clock, **rotation: float) -> Tape:
    return Tape(folder, "kraken", Rotation(**rotation), clock)  # type: ignore[arg-type]


def parts(folder: Path) -> list[Path]:
    """Return the files that are being written and locked; one that starts with a dot is not locked yet."""
    return list(folder.glob(f"[!.]*{PART}"))


async def test_what_is_taken_is_read_back_in_order(tmp_path: Path, clock: Clock) -> None:
    it = tape(tmp_path / "new", clock)
    it.frame(1, b'{"a":1}')
    it.rest(2, "/depth?symbol=X", b'{\n "lastUpdateId": 5 }')
    it.flush()
    it.frame(3, b'{"b":\r\n2}')
    it.rest(4, "/depth", b"<html>")
    await it.close()
    (path,) = it.files
    assert path.name == "kraken_20251120T100000_000000000.rec.gz"
    lines = [(line.received_ns, line.frame) for line in read(path)]
    assert lines == [
        (1, b'{"a":1}'),
        (2, b'{"rest":"/depth?symbol=X","body":{  "lastUpdateId": 5 }}'),
        (3, b'{"b":  2}'),
        (4, b'{"rest":"/depth","body":"<html>"}'),
    ]
    assert it.frames == 4
    assert not parts(tmp_path / "new")


async def test_nothing_taken_makes_no_file(tmp_path: Path, clock: Clock) -> None:
    it = tape(tmp_path / "new", clock)
    await it.close()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("rotation", [{"bytes": 1}, {"seconds": 0.5}])
async def test_files_rotate_by_size_and_by_time(tmp_path: Path, clock: Clock, rotation: dict[str, float]) -> None:
    it = tape(tmp_path, clock, **rotation)
    for number in range(4):
        it.frame(number, b"{}")
        it.flush()
        clock.now += S // 2
    await it.close()
    assert len(it.files) == (4 if "bytes" in rotation else 2)
    assert not parts(tmp_path)
    assert [line.received_ns for path in it.files for line in read(path)] == [0, 1, 2, 3]
    joined = tmp_path / "all.rec.gz"
    joined.write_bytes(b"".join(path.read_bytes() for path in it.files))
    assert len(list(read(joined))) == 4


async def test_a_full_block_is_written_without_being_told(tmp_path: Path, clock: Clock) -> None:
    it = tape(tmp_path, clock)
    for number in range(3):
        it.frame(number, b'"' + os.urandom(400_000).hex().encode() + b'"')
    async with asyncio.timeout(10):
        while sum(map(os.path.getsize, parts(tmp_path))) == 0:
            await asyncio.sleep(0.01)
    await it.close()


async def test_a_disk_that_is_behind_holds_the_venue_back(tmp_path: Path, clock: Clock) -> None:
    it = tape(tmp_path, clock)
    for _ in range(40):
        it.frame(1, b"{}")
        it.flush()
    waiting = asyncio.create_task(it.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    await asyncio.wait_for(waiting, 10)
    await it.close()
    assert it.frames == 40 == sum(1 for _ in read(it.files[0]))


async def test_a_disk_that_fails_is_told(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "file"
    folder.write_text("in the way")
    it = tape(folder, clock)
    it.frame(1, b"{}")
    it.flush()
    async with asyncio.timeout(10):
        await it.failed.wait()
    with pytest.raises(ServiceError, match="cannot write the recording"):
        await it.room()
    it.frame(2, b"{}")
    with pytest.raises(ServiceError, match="cannot write the recording"):
        await it.close()


def torn(folder: Path, tail: bytes) -> Path:
    path = folder / f"kraken_20251120T100000_000000000.rec.gz{PART}"
    path.write_bytes(gzip.compress(b"1 {}\n") + gzip.compress(b"2 {}\n") + tail)
    return path


def test_a_torn_tail_is_cut_off_wherever_it_was_torn(tmp_path: Path) -> None:
    block = gzip.compress(b"3 {}\n" + os.urandom(50).hex().encode() + b"\n")
    for size in range(len(block)):
        torn(tmp_path, block[:size])
        ((path, bytes_cut),) = seal(tmp_path, "kraken")
        assert bytes_cut == size
        assert [line.received_ns for line in read(path)] == [1, 2]
        assert list(tmp_path.iterdir()) == [path]
    torn(tmp_path, block + b"\xff rubbish")
    ((path, bytes_cut),) = seal(tmp_path, "kraken")
    assert bytes_cut == 9
    assert next(iter(read(path))).received_ns == 1
    assert seal(tmp_path, "kraken") == []


def test_a_file_without_a_whole_block_is_removed(tmp_path: Path) -> None:
    path = tmp_path / f"kraken_1.rec.gz{PART}"
    path.write_bytes(gzip.compress(b"1 {}\n" * 50)[:20])
    assert seal(tmp_path, "kraken") == [(path.with_suffix(""), 20)]
    assert not list(tmp_path.iterdir())
    assert seal(tmp_path / "none", "kraken") == []


def test_other_venues_files_are_left_alone(tmp_path: Path) -> None:
    path = torn(tmp_path, b"")
    assert seal(tmp_path, "krak") == []
    assert path.exists()


async def test_two_recorders_of_a_venue_do_not_share_a_folder(tmp_path: Path) -> None:
    it = Tape(tmp_path, "kraken", Rotation(), time.time_ns)
    it.frame(1, b"{}")
    it.flush()
    async with asyncio.timeout(10):
        while not parts(tmp_path):
            await asyncio.sleep(0.01)
    with pytest.raises(ServiceError, match="another process is recording kraken there"):
        seal(tmp_path, "kraken")
    await it.close()
