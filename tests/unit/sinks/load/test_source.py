from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path

import pytest

from sinks.load.faults import SourceRefused
from sinks.load.fields import split
from sinks.load.source import LINE_BYTES, SourceFile

TEXT = b"".join(b"%d,%d\n" % (number, number * 7) for number in range(1000))


def packed(path: Path, how: str) -> Path:
    if how == "gz":
        path.write_bytes(gzip.compress(TEXT[:777]) + gzip.compress(TEXT[777:]))
    elif how == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inside.csv", TEXT)
    else:
        path.write_bytes(TEXT)
    return path


@pytest.mark.parametrize("how", ["gz", "zip", "plain"])
def test_a_content_is_cut_into_the_same_blocks_however_it_is_packed(tmp_path: Path, how: str) -> None:
    source = SourceFile(packed(tmp_path / "file", how), 1000)
    blocks = list(source.blocks())
    plain = SourceFile(packed(tmp_path / "plain", "plain"), 1000)
    assert [(block.data, block.line) for block in blocks] == [(block.data, block.line) for block in plain.blocks()]
    assert b"".join(block.data for block in blocks) == TEXT
    assert source.digest == plain.digest != ""
    assert source.size / 2 < blocks[-1].read <= source.size
    assert [block.line for block in blocks[:2]] == [1, 1 + blocks[0].data.count(b"\n")]


def test_the_last_line_needs_no_end_and_a_mark_of_bytes_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(b"\xef\xbb\xbfa,b\r\n1,2")
    assert b"".join(block.data for block in SourceFile(path).blocks()) == b"a,b\r\n1,2\n"
    assert SourceFile(path).first_lines() == (b"a,b", b"1,2")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("cut.gz", gzip.compress(TEXT)[:-900], "damaged or not complete"),
        ("odd.gz", gzip.compress(TEXT) + b"rubbish", "damaged or not complete"),
        ("cut.zip", b"PK\x03\x04rubbish", "damaged or not complete"),
        ("long.csv", b"x" * (LINE_BYTES + (1 << 16) + 1), "longer than"),
    ],
)
def test_a_damaged_file_is_refused_with_its_place(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SourceRefused, match=f"{name}.*{reason}"):
        list(SourceFile(path, 1 << 16).blocks())


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="is a folder"):
        SourceFile(tmp_path)
    with pytest.raises(SourceRefused, match="No such file"):
        SourceFile(tmp_path / "missing.csv")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceRefused, match="not a regular file"):
        SourceFile(tmp_path / "pipe")


def test_an_archive_of_several_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", TEXT)
        archive.writestr("b.csv", TEXT)
    with pytest.raises(SourceRefused, match="holds 2 files"):
        list(SourceFile(path).blocks())


def test_lines_with_other_fields_are_told_with_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(
        '1,2\r\n3\n\n4,5,6\n"7","8"\n"9,9",1\n\xff,1\nä,2\n'.encode("latin-1").replace(b"\xe4", "ä".encode())
    )
    (block,) = SourceFile(path).blocks()
    fields, faults = split(block, ("a", "b"))
    assert fields.lines.tolist() == [1, 5, 8]
    assert [fields.bytes_of(row, 1) for row in range(3)] == [b"2", b"8", b"2"]
    assert [(fault.line, fault.reason) for fault in faults] == [
        (2, "1 fields instead of 2: '3'"),
        (4, "3 fields instead of 2: '4,5,6'"),
        (6, "3 fields instead of 2: '\"9,9\",1'"),
        (7, "not UTF-8: byte 1 of the line is 0xff"),
    ]
    assert fields.texts(0).to_pylist() == ["1", "7", "ä"]
