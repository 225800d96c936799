#!/usr/bin/env python3
"""Builds what is released, into ``dist/``: ``scripts/dist.py [TAG]``, with the environment's Python (``make dist``).

The wheel is built from the sdist, not from the tree, so that both hold the same and the sdist is known to be complete;
then it is looked at. ``NOTES.md`` is the version's section of the changelog. With a tag, that has to be the version's.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

from setuptools import build_meta

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
WANTED = (
    r"alphapulse/cli/app\.py",
    r"gateway/static/index\.html",
    r"gateway/static/assets/.+\.js",
    r"schemas/avro/trade\.avsc",
    r"sinks/clickhouse/migrations/.+\.sql",
    r".+/share/alphapulse/kafka/pom\.xml",
    r".+/licenses/LICENSE",
)
UNWANTED = (r"tests/.*", r"schemas/released/.*", r".*node_modules/.*", r"gateway/(dashboard|client)/.*")


def notes(version: str) -> str:
    """Return the section of the changelog on a version."""
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(version)} - .*\n\n((?:(?!## ).*\n)+)", changes, re.MULTILINE)
    if found is None:
        sys.exit(f"CHANGELOG.md has no section on {version}")
    return found[1].strip() + "\n"


def check(wheel: Path) -> None:
    """End with a message if the wheel lacks something, or holds what it should not."""
    names = zipfile.ZipFile(wheel).namelist()
    faults = [f"{pattern} is missing" for pattern in WANTED if not any(re.fullmatch(pattern, name) for name in names)]
    faults += [f"{name} does not belong there" for name in names if any(re.fullmatch(one, name) for one in UNWANTED)]
    if faults:
        sys.exit(f"{wheel.name}: " + "; ".join(faults))


def main() -> None:
    """Build, check, and say what was built."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    tag = sys.argv[1] if len(sys.argv) > 1 else f"v{version}"
    if tag != f"v{version}":
        sys.exit(f"tag {tag}, but pyproject.toml says {version}")
    text = notes(version)
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    (DIST / "NOTES.md").write_text(text, encoding="utf-8")
    os.chdir(ROOT)
    sdist = DIST / build_meta.build_sdist(str(DIST))
    with tempfile.TemporaryDirectory() as name:
        with tarfile.open(sdist) as archive:
            archive.extractall(name, filter="data")
        os.chdir(Path(name) / sdist.name.removesuffix(".tar.gz"))
        wheel = DIST / build_meta.build_wheel(str(DIST))
        os.chdir(ROOT)
    check(wheel)
    for path in (sdist, wheel):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
