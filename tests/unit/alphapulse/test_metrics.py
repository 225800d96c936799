"""The list of metrics."""

from __future__ import annotations

import re

import pytest
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from alphapulse import metrics

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
