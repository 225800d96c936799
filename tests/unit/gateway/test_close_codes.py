from __future__ import annotations

import re
from pathlib import Path

from gateway import close_codes

DOCUMENT = Path(__file__).parents[3] / "docs" / "stream.md"


def test_numbers_are_unique_and_reasons_fit_a_close_frame() -> None:
    assert len({code.number for code in close_codes.ALL}) == len(close_codes.ALL)
    for code in close_codes.ALL:
        assert 0 < len(code.reason.encode()) <= 123


def test_each_is_documented_and_only_codes_from_3500_on_say_not_to_come_back() -> None:
    rows = re.findall(r"^\| (\d{4}) \|.*\| ([^|]+) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    come_back = {int(number): words for number, words in rows}
    for code in close_codes.ALL:
        assert (come_back[code.number] == "no") == (code.number >= 3500)
