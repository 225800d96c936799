"""The library's part of docs/sql.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_is_of_the_library() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "scripts" / "sql_doc.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")
