"""producers.simulator.scripts"""

from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse.errors import ConfigError
from producers.simulator.scripts import Fault, load, parse


def test_a_script_is_read() -> None:
    text = '[[fault]]\nkind = "drop"\nframe = 7\ncount = 2\n\n[[fault]]\nkind = "skew"\nat = 1.5\nseconds = -3\n'
    assert parse(text, "x") == [
        Fault(kind="drop", frame=7, count=2),
        Fault(kind="skew", at=1.5, seconds=-3.0),
    ]
    assert parse("", "x") == []


def test_a_script_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_bytes(b'\xef\xbb\xbf[[fault]]\nkind = "drop"\nframe = 7\n')
    assert load(path) == [Fault(kind="drop", frame=7)]
    path.write_bytes("[[fault]]".encode("utf-16"))
    with pytest.raises(ConfigError, match=r"faults.toml: is UTF-16 text; save it as UTF-8"):
        load(path)


def test_every_fault_of_a_script_is_told_with_its_line() -> None:
    text = """speed = 3
[[fault]]
kind = "dorp"
frame = 1

[[fault]]
kind = "drop"

[[fault]]
kind = "stall"
at = 1.0
seconds = -1.0
[[fault]]
kind = "drop"
frame = 0
[[fault]]
kind = "drop"
frame = 1
coutn = 2
"""
    with pytest.raises(ConfigError) as caught:
        parse(text, "f.toml")
    told = caught.value.faults
    assert told[0] == "f.toml: speed: unknown key; a script consists of [[fault]] tables"
    starts = ["f.toml:2: fault 1: ", "f.toml:6: fault 2: ", "f.toml:9: fault 3: ", "f.toml:13: fault 4: "]
    assert all(text.startswith(start) for text, start in zip(told[1:], [*starts, "f.toml:16: fault 5: "], strict=True))
    assert "'dorp'" in told[1]
    assert "either `frame` or `at`" in told[2]
    assert "must not be negative, found -1" in told[3]
    assert "coutn" in told[5]


def test_what_is_no_script_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"f: Invalid initial character"):
        parse("[[", "f")
    with pytest.raises(ConfigError, match=r"write it as \[\[fault\]\]"):
        parse("fault = 3", "f")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none")
    path = tmp_path / "a.toml"
    path.write_text('[[fault]]\nkind = "mute"\nat = 0\n')
    assert load(path) == [Fault(kind="mute", at=0.0)]
