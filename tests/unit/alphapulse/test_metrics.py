"""The list of metrics."""

from __future__ import annotations

import platform
import re
from importlib import metadata
from typing import get_args

import pytest
from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from alphapulse import metrics
from producers.feed.book import DoubtKind

ALL = {name: value for name, value in vars(metrics).items() if isinstance(value, (Counter, Gauge, Histogram))}


@pytest.mark.parametrize("name", ALL)
def test_names_follow_prometheus(name: str) -> None:
    (family,) = ALL[name].describe()
    assert re.fullmatch(r"alphapulse_[a-z_]+", family.name)
    # Base units: seconds and bytes, ratios between 0 and 1.
    assert not re.search(r"_(ms|milliseconds|us|ns|minutes|kb|mb|percent)(_|$)", family.name)
    assert family.documentation


def test_the_exposition_can_be_read() -> None:
    metrics.DEAD_LETTERS.labels(service="test_metrics", error='a "quoted" one').inc()
    body, kind = metrics.exposition()
    assert kind.startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    labels = {"service": "test_metrics", "error": 'a "quoted" one'}
    samples = families["alphapulse_dead_letters"].samples
    assert [sample.value for sample in samples if sample.labels == labels and sample.name.endswith("_total")] == [1.0]
    assert {family.name for metric in ALL.values() for family in metric.describe()} <= set(families)


def test_the_process_and_the_build_are_told() -> None:
    families = {family.name for family in text_string_to_metric_families(metrics.exposition()[0].decode())}
    # prometheus_client's own collectors: memory, processor time, open files, garbage.
    assert {"process_resident_memory_bytes", "process_cpu_seconds", "process_open_fds"} <= families
    build = {"version": metadata.version("alphapulse"), "python": platform.python_version()}
    assert REGISTRY.get_sample_value("alphapulse_build_info", build) == 1.0


def test_labels_are_bounded() -> None:
    labels = {label for metric in ALL.values() for label in metric._labelnames}
    assert not labels & {"symbol", "instrument", "client", "path", "offset"}


def test_every_kind_of_doubt_is_a_kind_of_gap() -> None:
    assert set(get_args(DoubtKind)) < set(metrics.GAP_KINDS)
