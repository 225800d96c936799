"""The receiver that Alertmanager's example route sends to."""

from __future__ import annotations

import importlib.util
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).resolve().parents[3]
FOLDER: Final = ROOT / "deploy" / "observability" / "alertmanager"

# As Alertmanager 0.25 posted it.
NOTIFICATION: Final[dict[str, Any]] = {
    "receiver": "desk", "status": "firing", "version": "4", "groupKey": '{}:{alertname="VenueSilent"}',
    "truncatedAlerts": 0, "groupLabels": {"alertname": "VenueSilent"}, "commonLabels": {}, "commonAnnotations": {},
    "externalURL": "http://alertmanager:9093",
    "alerts": [
        {
            "status": "firing", "startsAt": "2026-11-29T15:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
            "labels": {"alertname": "VenueSilent", "venue": "okx", "severity": "critical"},
            "annotations": {"summary": "okx is silent", "runbook_url": "docs/runbooks/venue-silent.md"},
            "generatorURL": "", "fingerprint": "1",
        },
        {
            "status": "resolved", "startsAt": "2026-11-29T15:00:00Z", "endsAt": "2026-11-29T15:05:00Z",
            "labels": {"alertname": "Unknown", "venue": "kraken"}, "annotations": {},
            "generatorURL": "", "fingerprint": "2",
        },
    ],
}  # fmt: skip


@pytest.fixture
def url() -> Iterator[str]:
    spec = importlib.util.spec_from_file_location("webhook", FOLDER / "webhook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    server = ThreadingHTTPServer(("127.0.0.1", 0), module.Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def post(url: str, body: bytes) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=10) as answer:  # noqa: S310 loopback
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_each_alert_is_a_line(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert post(url, json.dumps(NOTIFICATION).encode()) == 204
    assert capfd.readouterr().out.splitlines() == [
        "2026-11-29T15:00:00Z firing critical VenueSilent: okx is silent (docs/runbooks/venue-silent.md)",
        "2026-11-29T15:05:00Z resolved  Unknown: alertname=Unknown, venue=kraken",
    ]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"alerts": [{}]}', b'{"alerts": 3}', b"\xff"])
def test_what_is_no_notification_is_refused(url: str, body: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    assert post(url, body) == 400
    told = capfd.readouterr()
    assert told.out == ""
    assert "400" in told.err


def test_the_route_leads_to_it() -> None:
    config = yaml.safe_load((FOLDER / "alertmanager.yml").read_text(encoding="utf-8"))
    receivers = {receiver["name"]: receiver for receiver in config["receivers"]}
    (hook,) = receivers[config["route"]["receiver"]]["webhook_configs"]
    compose = yaml.safe_load((ROOT / "deploy/compose/observability-on.yml").read_text(encoding="utf-8"))
    command = compose["services"]["alerts"]["command"]
    port = command[command.index("--port") + 1]
    assert hook["url"] == f"http://alerts:{port}/"
