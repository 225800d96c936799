"""producers.replay.lines"""

from __future__ import annotations

import gzip
import random
import zlib
from pathlib import Path

import pytest

from alphapulse.errors import RecordingError
from producers.replay.lines import Line, read

RANDOM = random.Random(1)

TEXT = b'1 {"a":1}\n2 {"b": "x y"}\n3 {"c":3}\n'
LINES = [Line(1, 1, b'{"a":1}'), Line(2, 2, b'{"b": "x y"}'), Line(3, 3, b'{"c":3}')]


def write(folder: Path, data: bytes, name: str = "r.rec.gz") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def read_until_error(path: Path) -> tuple[list[Line], RecordingError]:
    seen = []
    try:
        for line in read(path):
            seen.append(line)  # noqa: PERF402 the error comes after them
    except RecordingError as error:
        return seen, error
    pytest.fail("read to its end without an error")


@pytest.mark.parametrize("text", [TEXT, TEXT.rstrip(b"\n"), b"\n" + TEXT, TEXT + b"\n \n", b"\xef\xbb\xbf" + TEXT])
def test_gzip_and_plain_text_give_the_same_lines(tmp_path: Path, text: bytes) -> None:
    expected = [(line.received_ns, line.frame) for line in LINES]
    for path in (write(tmp_path, gzip.compress(text)), write(tmp_path, text, "r.rec")):
        assert [(line.received_ns, line.frame) for line in read(path)] == expected


def test_lines_are_numbered_as_an_editor_numbers_them(tmp_path: Path) -> None:
    assert [line.number for line in read(write(tmp_path, b"\n1 {}\n\n2 {}\n", "r.rec"))] == [2, 4]


def test_members_appended_to_a_gzip_file_are_read_on(tmp_path: Path) -> None:
    members = gzip.compress(TEXT[:7]) + gzip.compress(TEXT[7:]) + b"\0" * 600
    assert list(read(write(tmp_path, members))) == LINES


def test_lines_longer_than_a_chunk_stay_whole(tmp_path: Path) -> None:
    frames = [RANDOM.randbytes(70_000).hex().encode() for _ in range(3)]
    text = b"".join(b"5 " + frame + b"\n" for frame in frames)
    assert [line.frame for line in read(write(tmp_path, gzip.compress(text)))] == frames


@pytest.mark.parametrize("line", [b"hello", b"17 ", b"x {}", b"-1 {}", b"1.5 {}", b"12345678901234567890 {}", b"{}"])
def test_a_line_of_another_form_is_its_own_frame(tmp_path: Path, line: bytes) -> None:
    assert list(read(write(tmp_path, line + b"\n", "r.rec"))) == [Line(1, None, line)]


@pytest.mark.parametrize("cut", [200, 1000, 3000])
def test_a_cut_off_gzip_gives_all_that_can_be_read_and_then_says_where(tmp_path: Path, cut: int) -> None:
    text = b"".join(b"%d %s\n" % (n, RANDOM.randbytes(20).hex().encode()) for n in range(1, 200))
    data = gzip.compress(text)
    seen, error = read_until_error(write(tmp_path, data[:cut]))
    assert "the recording is truncated" in str(error)
    assert text.startswith(b"".join(b"%d %s\n" % (line.received_ns or 0, line.frame) for line in seen))
    assert error.line == len(seen) + 1
    assert len(seen) >= (cut - 200) // 30


def test_a_last_line_that_is_whole_is_given_out_and_a_part_of_one_is_not(tmp_path: Path) -> None:
    for end, lines in ((b'3 {"c":3}', LINES), (b'3 {"c":3', LINES[:2]), (b"3", LINES[:2]), (b"3 5", LINES[:2])):
        compressed = zlib.compressobj(wbits=31)
        data = compressed.compress(TEXT[: TEXT.index(b"3 {")] + end) + compressed.flush(zlib.Z_SYNC_FLUSH)
        seen, error = read_until_error(write(tmp_path, data))
        assert seen == lines
        assert error.line == len(lines) + 1
        left_out = f"the first {len(end)} bytes of this line were ignored"
        assert (left_out in str(error)) == (len(lines) == 2)


def test_damage_inside_a_gzip_keeps_what_is_before_it(tmp_path: Path) -> None:
    text = b"".join(b"%d %s\n" % (n, RANDOM.randbytes(20).hex().encode()) for n in range(1, 2000))
    data = bytearray(gzip.compress(text))
    middle = len(data) // 2
    data[middle : middle + 200] = b"\xff" * 200
    seen, error = read_until_error(write(tmp_path, bytes(data)))
    assert "the recording is truncated" in str(error)
    assert len(seen) > 700


def test_a_gzip_with_a_wrong_checksum_is_told(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(TEXT))
    data[-6] ^= 1
    lines = read(write(tmp_path, bytes(data)))
    assert [next(lines) for _ in range(3)] == LINES
    with pytest.raises(RecordingError, match=r"r\.rec\.gz:4: the recording is truncated"):
        next(lines)


def test_a_file_that_is_not_there_or_not_what_it_says_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"none\.rec: cannot be read: No such file"):
        list(read(tmp_path / "none.rec"))
    with pytest.raises(RecordingError, match="is not a gzip file"):
        list(read(write(tmp_path, b"plain text\n")))
    with pytest.raises(RecordingError, match="cannot be read"):
        list(read(tmp_path))


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.replay.lines.MAX_LINE_BYTES", 1000)
    with pytest.raises(RecordingError, match=r"r\.rec:2: the line is longer than 1000 bytes"):
        list(read(write(tmp_path, b"1 {}\n" + b"x" * 70_000, "r.rec")))


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    assert list(read(write(tmp_path, b""))) == []
    assert list(read(write(tmp_path, gzip.compress(b"")))) == []
