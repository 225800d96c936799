"""The reference of the metrics."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

from alphapulse import metrics

ROOT = Path(__file__).resolve().parents[3]


def test_the_reference_is_of_the_list() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "scripts" / "metrics_doc.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_reference_has_every_metric_with_its_labels() -> None:
    lines = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8").splitlines()
    rows = {cells[1].strip(" `"): cells for line in lines if line.startswith("| `") for cells in [line.split("|")]}
    kept = [metric for metric in vars(metrics).values() if isinstance(metric, (Counter, Gauge, Histogram))]
    assert len(rows) == len(kept) > 40
    for metric in kept:
        (family,) = metric.describe()
        cells = rows[family.name + ("_total" if isinstance(metric, Counter) else "")]
        assert cells[2].strip() == family.type
        assert cells[3].strip() == ", ".join(f"`{label}`" for label in metric._labelnames)
        assert cells[5].strip().startswith(family.documentation.rstrip(".").replace("|", "\\|"))
