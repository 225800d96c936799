from __future__ import annotations

import random
import subprocess
import sys

import pytest

from alphapulse.config import TracingSettings
from alphapulse.tracing import Tracer, place, start
from tests.fixtures.otlp import Collected


def test_without_an_endpoint_there_is_no_tracer() -> None:
    assert start(TracingSettings(), "gateway") is None
    assert start(TracingSettings(sample_ratio=1.0), "gateway") is None


def test_nothing_of_opentelemetry_is_imported_while_it_is_off() -> None:
    code = (
        "import sys, gateway.service, sinks.__main__, producers.__main__, alphapulse.tracing as t\n"
        "from alphapulse.config import Settings\n"
        "assert t.start(Settings().tracing, 'x') is None\n"
        "print(sorted(m for m in sys.modules if m.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("ratio", "traced"), [(0.0, {False}), (1.0, {True})])
def test_none_or_all_frames_are_sampled(ratio: float, traced: set[bool]) -> None:
    tracer = Tracer(Collected(), ratio)
    assert {tracer.sampled() for _ in range(1000)} == traced


def test_the_ratio_is_that_of_frames() -> None:
    tracer = Tracer(Collected(), 0.1, random.Random(7))
    assert 900 < sum(tracer.sampled() for _ in range(10_000)) < 1100


def test_a_child_is_in_its_parents_trace() -> None:
    export = Collected()
    tracer = Tracer(export, 1.0)
    first = tracer.begin("collect", 10, place("md.l2", 3, 17))
    second = tracer.begin("process", 20, {}, first.context)
    assert first.parent is None
    assert second.parent == first.context
    assert second.context.trace_id == first.context.trace_id
    assert second.context.span_id != first.context.span_id
    second.end(30)
    first.end(15, "refused")
    assert export.ended == [(second, 30, ""), (first, 15, "refused")]
    assert tracer.begin("collect", 10, {}).context.trace_id != first.context.trace_id


def test_a_span_ends_once_and_not_before_it_began() -> None:
    export = Collected()
    span = Tracer(export, 1.0).begin("sink", 100, {})
    span.end(90)
    span.end(200)
    assert export.ended == [(span, 100, "")]


def test_closing_closes_the_export() -> None:
    export = Collected()
    Tracer(export, 1.0).close()
    assert export.closed
