"""Text files written by people: UTF-8, with or without a byte order mark."""

from __future__ import annotations

import codecs
from pathlib import Path

_OTHERS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


class NoText(ValueError):
    """The file is not UTF-8; the message says what it is and where."""


def read_text(path: Path) -> str:
    """Return the text of the file at ``path``, without a byte order mark.

    Raises:
        OSError: it cannot be read.
        NoText: it is not UTF-8.
    """
    data = path.read_bytes()
    for mark, name in _OTHERS.items():
        if data.startswith(mark):
            raise NoText(f"is {name} text; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise NoText(f"is not UTF-8 text: byte 0x{data[error.start]:02x} in line {line}; save it as UTF-8") from error
