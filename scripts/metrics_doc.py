#!/usr/bin/env python3
"""Reference of all metrics, docs/metrics.md, made of the list in alphapulse/metrics.py.

``scripts/metrics_doc.py`` writes the file, ``--check`` exits with 1 if it is not what it should be.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from generated import run

ROOT: Final = Path(__file__).resolve().parent.parent
LIST: Final = ROOT / "alphapulse" / "metrics.py"
TARGET: Final = ROOT / "docs" / "metrics.md"
TYPES: Final = ("Counter", "Gauge", "Histogram")
UNITS: Final = {"seconds": "seconds", "bytes": "bytes", "ratio": "ratio, 0 to 1", "info": "none"}
"""Last word of a name → unit; other metrics count things."""

HEAD: Final = """\
# Metrics

Made of [`alphapulse/metrics.py`](../alphapulse/metrics.py) by `scripts/metrics_doc.py`; a test compares them.

Every service serves them in Prometheus' text format on its ops port, `GET /metrics` (`[ops]` in `services.toml`;
without a fixed port, `data_dir/run/<service>.json` tells it). All services have the same list; one that has no use
for a metric shows none of it, or zeros. Prometheus adds the label `service`
([`prometheus.yml`](../deploy/observability/prometheus/prometheus.yml)). There is no label with a symbol.

A histogram `name` comes as `name_bucket{le}`, `name_sum` and `name_count`. Beside these are the figures of
prometheus_client itself: `process_*` (processor time, memory, open files; Linux only) and `python_*`. What is alerted
on stands in [`rules.yml`](../deploy/observability/prometheus/rules.yml), what to do then in
[`runbooks/`](runbooks/README.md).
"""


@dataclass
class Metric:
    """One entry of the list; ``note`` is what the list says of it beside the description."""

    name: str
    type: str
    labels: tuple[str, ...]
    description: str
    note: str = ""

    @property
    def unit(self) -> str:
        """Unit of its values."""
        words = self.name.removesuffix("_total").split("_")
        return UNITS.get(words[-1], "records" if words[-1] == "records" else "count")


def metrics() -> Iterator[tuple[str, list[Metric]]]:
    """Return the sections of the list, each with its metrics, as they stand in the source."""
    source = LIST.read_text(encoding="utf-8")
    heads = [(match.start(), match[1]) for match in re.finditer(r"^# --- (.*?) -+$", source, re.MULTILINE)]
    lines = {source[:start].count("\n") + 1: title for start, title in heads}
    section: list[Metric] = []
    title = ""
    for node in ast.parse(source).body:
        above = [line for line in lines if line < node.lineno]
        if above and lines[max(above)] != title:
            if section:
                yield title, section
            title, section = lines[max(above)], []
        match node:
            case ast.Assign(value=ast.Call(func=ast.Name(id=kind)) as call) if kind in TYPES:
                section.append(_metric(kind, call))
            case ast.Expr(value=ast.Constant(value=str(note))) if section:
                section[-1].note = " ".join(note.split())
            case ast.AnnAssign(target=ast.Name(id="GAP_KINDS"), value=ast.Tuple() as kinds):
                section[-1].note = f"``kind``: {', '.join(ast.literal_eval(kinds))}."
            case _:
                pass
    yield title, section


def _metric(kind: str, call: ast.Call) -> Metric:
    name, description, *labels = (ast.literal_eval(argument) for argument in call.args)
    return Metric(name + ("_total" if kind == "Counter" else ""), kind.lower(), tuple(*labels), description)


def document() -> str:
    """Return the reference as Markdown."""
    parts = [HEAD]
    for title, section in metrics():
        parts.append(f"## {title[0].upper()}{title[1:]}\n")
        parts.append("| name | type | labels | unit | description |\n|---|---|---|---|---|")
        for one in section:
            note = one.note.replace("``", "`").replace("|", "\\|")
            text = f"{one.description.rstrip('.')}.{' ' * bool(note)}{note}"
            labels = ", ".join(f"`{label}`" for label in one.labels)
            parts.append(f"| `{one.name}` | {one.type} | {labels} | {one.unit} | {text} |")
        parts.append("")
    return "\n".join(parts)


def main() -> int:
    """Write the file, or compare it; return the exit code."""
    return run((__doc__ or "").partition("\n")[0], lambda: {TARGET: document()}, "scripts/metrics_doc.py")


if __name__ == "__main__":
    sys.exit(main())
