"""The version that runs, installed or not."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import prometheus_client

from alphapulse.version import SOURCE_TREE, installed_version

ROOT = Path(__file__).resolve().parents[3]


def test_an_installed_distribution_has_its_version() -> None:
    assert installed_version() == metadata.version("alphapulse")


def test_one_that_is_not_installed_has_none() -> None:
    assert installed_version("alphapulse-of-tomorrow") == SOURCE_TREE


def test_metrics_can_be_imported_from_a_source_tree(tmp_path: Path) -> None:
    """As with PYTHONPATH alone: without site-packages, and so without the metadata of any distribution."""
    (tmp_path / "alphapulse").symlink_to(ROOT / "alphapulse")
    (tmp_path / "prometheus_client").symlink_to(Path(prometheus_client.__file__).parent)
    ran = subprocess.run(
        [sys.executable, "-S", "-c", "from alphapulse import metrics; print(metrics.exposition()[0].decode())"],
        env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert f'version="{SOURCE_TREE}"' in ran.stdout
