"""The reference of the records."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

from schemas.records import TOPIC_OF

ROOT = Path(__file__).resolve().parents[3]


def test_the_reference_is_of_the_schemas() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "scripts" / "records_doc.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_reference_has_every_field_of_every_class() -> None:
    sections = (ROOT / "docs" / "records.md").read_text(encoding="utf-8").split("\n## ")[1:]
    assert len(sections) == len(TOPIC_OF)
    for (kind, topic), section in zip(TOPIC_OF.items(), sections, strict=True):
        name, _, rest = section.partition("\n")
        rows = [line.split("|") for line in rest.splitlines() if line.startswith("| `")]
        assert name == kind.__name__
        assert f"On `{topic}`." in rest
        assert [row[1].strip(" `") for row in rows] == [field.name for field in dataclasses.fields(kind)]
        assert all(row[2].strip() and row[3].strip() for row in rows)
