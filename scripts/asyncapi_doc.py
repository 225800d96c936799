#!/usr/bin/env python3
"""Write docs/asyncapi.json, the stream's AsyncAPI document (``--check``: compare it, exit 1 if it is out of date)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from gateway.v2.document import document

PATH: Final = Path(__file__).resolve().parent.parent / "docs" / "asyncapi.json"


def main() -> int:
    """Write or compare the document; return the exit code."""
    text = json.dumps(document(), indent=2, ensure_ascii=False) + "\n"
    if "--check" not in sys.argv[1:]:
        PATH.write_text(text, encoding="utf-8")
        return 0
    if not PATH.exists() or PATH.read_text(encoding="utf-8") != text:
        print(f"{PATH} is out of date: run make asyncapi")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
