"""Removal of credentials from messages that repeat what a client sent. Pure."""

from __future__ import annotations

import re
from typing import Final

_CREDENTIALS: Final = re.compile(
    r"apk_[A-Za-z0-9_-]{4,}"  # API keys
    r"|eyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){0,2}"  # tokens: their header begins with {"
    r"|(?<=[Bb]earer )[^\s\"',}]+"
)


def redacted(text: str) -> str:
    """Return ``text`` with ``***`` in place of API keys, tokens, and what follows ``Bearer``."""
    return _CREDENTIALS.sub("***", text)
