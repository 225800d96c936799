"""The export to a real receiver on loopback, and to none."""

from __future__ import annotations

import io
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import structlog

from alphapulse import logs
from alphapulse.config import LogSettings
from alphapulse.tracing import Tracer, place
from alphapulse.tracing import export as exporting
from alphapulse.tracing.export import OtlpExport
from tests.fixtures.otlp import receiving

BOUND_SECONDS = 30.0


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    monkeypatch.setattr(exporting, "DELAY_MS", 20)
    monkeypatch.setattr(exporting, "EXPORT_SECONDS", 0.3)
    root, library = logging.getLogger(), logging.getLogger("opentelemetry")
    before = root.handlers[:], root.level, library.handlers[:], library.propagate
    stream = io.StringIO()
    logs.configure(LogSettings(format="json"), service="gateway", stream=stream)
    yield stream
    root.handlers[:], root.level, library.handlers[:], library.propagate = before
    logging.captureWarnings(False)
    structlog.reset_defaults()


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + BOUND_SECONDS
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_spans_arrive_as_they_were(log: io.StringIO) -> None:
    with receiving() as receiver:
        tracer = Tracer(OtlpExport(receiver.url + "/", "collector-kraken"), 1.0)
        first = tracer.begin("collect", 1_000, place("md.l2", 3, 17))
        second = tracer.begin("process", 3_000, {"alphapulse.symbol": "BTC-USD"}, first.context)
        first.end(2_000)
        second.end(4_000, "it failed")
        tracer.close(BOUND_SECONDS)
        collect, process = receiver.spans
    assert (collect.service, collect.name, collect.start, collect.end) == ("collector-kraken", "collect", 1_000, 2_000)
    assert collect.attributes == {
        "messaging.system": "kafka",
        "messaging.destination.name": "md.l2",
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 17,
    }
    assert (collect.parent, collect.failed) == ("", False)
    assert (process.parent, process.trace, process.failed) == (collect.span, collect.trace, True)
    assert f"00-{process.trace}-{process.span}-01".encode() == second.context.headers[0][1]
    (told,) = lines(log)
    assert (told["event"], told["exported"], told["dropped"], told["failed"]) == ("traces ended", 2, 0, 0)


def test_an_endpoint_that_is_away_is_told_once_and_again_when_it_is_back(log: io.StringIO) -> None:
    port = free_port()
    export = OtlpExport(f"http://desk:not-to-be-told@127.0.0.1:{port}", "gateway")
    tracer = Tracer(export, 1.0)
    exporter = export._exporter
    for number in range(1, 4):
        tracer.begin("deliver", 1, {}).end(2)
        until(partial(lambda tried: exporter.taken >= tried, number), "the export was tried")
    (warning,) = lines(log)
    assert warning["event"] == "cannot export traces; silent until it succeeds"
    assert warning["level"] == "warning"
    assert warning["reason"]
    with receiving(port) as receiver:
        tracer.begin("deliver", 1, {}).end(2)
        until(lambda: receiver.spans, "it is back")
        tracer.close(BOUND_SECONDS)
    _, back, ended = lines(log)
    assert (back["event"], back["lost"]) == ("traces are exported again", 3)
    assert warning["endpoint"] == back["endpoint"] == f"http://***@127.0.0.1:{port}"
    assert "not-to-be-told" not in log.getvalue()
    assert (ended["exported"], ended["failed"]) == (1, 3)


def test_a_receiver_that_refuses_is_told_with_its_reason(log: io.StringIO) -> None:
    with receiving() as receiver:
        receiver.status = 401
        tracer = Tracer(OtlpExport(receiver.url, "gateway"), 1.0)
        tracer.begin("deliver", 1, {}).end(2)
        tracer.close(BOUND_SECONDS)
    warning = lines(log)[0]
    assert warning["event"] == "cannot export traces; silent until it succeeds"
    assert "401" in warning["reason"]


def test_the_queue_is_bounded(log: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "QUEUE_SPANS", 600)
    export = OtlpExport(f"http://127.0.0.1:{free_port()}", "gateway")
    tracer = Tracer(export, 1.0)
    for _ in range(5_000):
        tracer.begin("sink", 1, {}).end(2)
    assert export.dropped >= 3_000
    tracer.close(BOUND_SECONDS)
    ended = lines(log)[-1]
    assert ended["dropped"] == export.dropped
    assert ended["failed"] == 5_000 - export.dropped


def test_the_end_does_not_wait_for_an_endpoint_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "EXPORT_SECONDS", BOUND_SECONDS)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        tracer = Tracer(OtlpExport(f"http://127.0.0.1:{deaf.getsockname()[1]}", "gateway"), 1.0)
        tracer.begin("sink", 1, {}).end(2)
        began = time.monotonic()
        tracer.close(0.1)
        assert time.monotonic() - began < BOUND_SECONDS / 2
