"""What the distribution holds."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from setuptools import find_packages

ROOT = Path(__file__).resolve().parents[2]
TOPS = ("alphapulse", "schemas", "producers", "stream_processors", "sinks", "gateway")


def test_every_package_is_found() -> None:
    """Packages are found by pattern; a folder that no pattern meets would be missing from an installed wheel."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["packages"]["find"]
    there = {
        ".".join(marker.parent.relative_to(ROOT).parts)
        for top in TOPS
        for marker in (ROOT / top).rglob("__init__.py")
        if "node_modules" not in marker.parts
    }
    found = set(find_packages(str(ROOT), include=patterns["include"], exclude=patterns.get("exclude", ())))
    assert found == there


def test_each_release_has_its_schemas_and_its_changes() -> None:
    """``schemas check`` compares with the releases in the tree; one that was forgotten there would not be checked."""
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    told = set(headings[1:])
    assert told == {entry.name for entry in (ROOT / "schemas" / "released").iterdir() if entry.is_dir()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for part in ("dashboard", "client"):
        package = json.loads((ROOT / "gateway" / part / "package.json").read_text(encoding="utf-8"))
        assert project["version"] == package["version"] == headings[1]


def test_lock_files_hold_no_address() -> None:
    for lock in ROOT.glob("requirements*.lock"):
        text = lock.read_text(encoding="utf-8")
        assert "://" not in text
        assert "--index-url" not in text
