"""The image holds every module of the product and all of its data."""

from __future__ import annotations

import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def copied() -> set[Path]:
    """Return the files of the tree that a COPY of the stage that installs the product names."""
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    stage = dockerfile[dockerfile.index(" AS build\n") : dockerfile.index(" AS build-all\n")]
    found: set[Path] = set()
    for line in re.findall(r"^COPY (?!--from)(.+)$", stage, re.MULTILINE):
        *sources, _ = line.split()
        for source in sources:
            for path in ROOT.glob(source):
                found |= {path} if path.is_file() else {below for below in path.rglob("*") if below.is_file()}
    return found


def test_every_module_and_its_data_are_copied_into_the_image() -> None:
    names = [pattern.rstrip("*") for pattern in SETUPTOOLS["packages"]["find"]["include"]]
    assert {"alphapulse", "gateway", "producers", "schemas", "sinks", "stream_processors"} <= set(names)
    wanted = {path for name in names for path in (ROOT / name).rglob("*.py") if "node_modules" not in path.parts}
    for package, patterns in SETUPTOOLS["package-data"].items():
        folders = [ROOT / package.replace(".", "/")] if package != "*" else [ROOT / name for name in names]
        wanted |= {
            path
            for folder in folders
            for pattern in patterns
            for path in folder.rglob(pattern)
            # The page is built in the image.
            if path.is_file() and not {"node_modules", "static"} & set(path.parts)
        }
    wanted |= {ROOT / path for paths in SETUPTOOLS["data-files"].values() for path in paths}
    assert len(wanted) > 300
    assert sorted(str(path.relative_to(ROOT)) for path in wanted - copied()) == []


def test_what_is_copied_is_in_the_context() -> None:
    """.dockerignore leaves everything out but the folders named there."""
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"]
    assert kept
    for path in copied():
        name = str(path.relative_to(ROOT))
        assert any(name == one or name.startswith(f"{one}/") for one in kept), name


def test_the_modules_that_are_tried_at_the_end_exist() -> None:
    """The image's build imports them after what is not needed was removed."""
    text = (ROOT / "deploy" / "image" / "trim").read_text(encoding="utf-8")
    listed = text[text.index("for name in (") : text.index("importlib.import_module(name)")]
    names = re.findall(r'"([a-z_0-9.]+)",', listed)
    assert len(names) > 10
    assert [name for name in names if find_spec(name) is None] == []
