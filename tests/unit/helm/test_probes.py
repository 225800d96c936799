"""A service, started as its pod starts it, answers what Kubernetes asks, and stops when it is told to."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

import pytest

from tests.unit.helm.chart import container, merged, render, values

PATIENCE_SECONDS: Final = 120.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def asked(port: int, path: str) -> int:
    """Return the status of a probe; 0: nobody listens yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.mark.unmeasured
@pytest.mark.parametrize("component", ["gateway", "processors"])
def test_a_service_without_its_broker_lives_and_is_not_ready(component: str, tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    found = render(merged(values("single-venue"), {"kafka": {"bootstrap": nobody}, "listenAddress": "127.0.0.1"}))
    pod = dict(found.services())[component]
    for name, text in found.one("ConfigMap", "desk-config")["data"].items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    ours = {name: value for name, value in os.environ.items() if not name.startswith("ALPHAPULSE_")}
    ours |= {one["name"]: one["value"] for one in container(pod)["env"]}
    port = free_port()
    # What a pod has for itself: its folders and ports.
    ours |= {
        "ALPHAPULSE_CONFIG": str(tmp_path),
        "ALPHAPULSE_DATA_DIR": str(tmp_path / "data"),
        "ALPHAPULSE_OPS__PORT": str(port),
        "ALPHAPULSE_GATEWAY__PORT": "0",
    }
    command = [sys.executable, "-m", "alphapulse.cli", *container(pod)["args"]]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=ours, stdout=log, stderr=log)
    try:
        probes = {
            name: container(pod)[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")
        }
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (status := asked(port, probes["startup"])):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert status == asked(port, probes["liveness"]) == 200
        assert asked(port, probes["readiness"]) == 503
        process.send_signal(signal.SIGTERM)
        assert process.wait(pod["spec"]["terminationGracePeriodSeconds"]) == 0
    finally:
        process.kill()
        process.wait()
    (first, *_) = (json.loads(line) for line in (tmp_path / "log").read_text().splitlines())
    assert first["service"] == component
