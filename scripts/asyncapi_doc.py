#!/usr/bin/env python3
"""The stream's AsyncAPI document, docs/asyncapi.json, made of the messages in gateway/v2.

``scripts/asyncapi_doc.py`` writes the file, ``--check`` exits with 1 if it is not what it should be.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from generated import run

from gateway.v2.document import document

TARGET: Final = Path(__file__).resolve().parent.parent / "docs" / "asyncapi.json"


def main() -> int:
    """Write or compare the document; return the exit code."""
    text = json.dumps(document(), indent=2, ensure_ascii=False) + "\n"
    return run((__doc__ or "").partition("\n")[0], lambda: {TARGET: text}, "scripts/asyncapi_doc.py")


if __name__ == "__main__":
    sys.exit(main())
