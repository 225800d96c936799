from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse.text_files import NoText, read_text


@pytest.mark.parametrize("data", [b"a = 1\n", b"\xef\xbb\xbfa = 1\n"])
def test_a_mark_before_the_text_is_no_part_of_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    assert read_text(tmp_path / "x") == "a = 1\n"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("a".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        (b"\xfe\xff\0a", "is UTF-16 text; save it as UTF-8"),
        (b"a\n\nb\xe9\n", "is not UTF-8 text: byte 0xe9 in line 3; save it as UTF-8"),
    ],
)
def test_what_is_not_utf8_is_said(tmp_path: Path, data: bytes, told: str) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(NoText) as caught:
        read_text(tmp_path / "x")
    assert str(caught.value) == told
