"""docker-compose.yml and its parts: what holds without an engine; and ``docker compose config``, where there is one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from alphapulse.config import load
from producers.registry import names

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("docker-compose.yml", *(f"deploy/compose/{name}.yml" for name in (
    "market-live", "market-simulated", "observability-on", "observability-off", "tracing-on", "tracing-off",
)))  # fmt: skip
VARIABLE = re.compile(r"\$\{([A-Z_0-9]+)")
NOT_OURS = {
    "redpanda", "redpanda-1", "redpanda-2", "console", "clickhouse", "prometheus", "alertmanager", "grafana",
    "otel-collector",
}  # fmt: skip


def parsed(name: str) -> Any:
    return YAML(typ="safe").load(ROOT / name)


def services() -> dict[str, Any]:
    return {name: service for part in PARTS for name, service in (parsed(part)["services"] or {}).items()}


def test_every_variable_is_explained() -> None:
    used = {name for part in PARTS for name in VARIABLE.findall((ROOT / part).read_text())}
    explained = set(re.findall(r"^# ([A-Z_0-9]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert used - explained == set()
    assert explained - used == {"ALPHAPULSE_TOPICS__RETENTION_HOURS"}, "handed on as it is"


def test_ports_are_published_on_loopback_only() -> None:
    ports = [port for service in services().values() for port in service.get("ports", ())]
    assert len(ports) >= 7
    assert all(str(port).startswith("127.0.0.1:") for port in ports)


def test_images_are_pinned() -> None:
    images = {service["image"] for service in services().values()}
    for image in images:
        default = re.fullmatch(r"\$\{[A-Z_]+:-(.+)\}", image)
        assert default is not None, image
        assert re.fullmatch(r"[a-z0-9./-]+:[A-Za-z0-9.-]+", default[1]), image
        assert not default[1].endswith(":latest")


@pytest.mark.parametrize("name", sorted(set(services()) - NOT_OURS))
def test_our_containers_have_no_more_rights_than_they_need(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(str(service["stop_grace_period"]).rstrip("s")) >= 20
    if service.get("restart") != "no":
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}


def test_every_mounted_path_is_there() -> None:
    for service in services().values():
        for volume in service.get("volumes", ()):
            volume = re.sub(r"\$\{[A-Z_]+:-(.+?)\}", r"\1", volume.replace("${MARKET:-live}", "live"))
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), volume
    for market in ("live", "simulated"):
        assert (ROOT / f"deploy/config-{market}" / "exchanges.toml").is_file()


def test_it_stops_in_the_order_of_the_data() -> None:
    """Compose stops in the reverse order of dependencies."""
    ours = {name: set(one.get("depends_on") or ()) for name, one in services().items() if name not in NOT_OURS}
    for name, before in ours.items():
        if name.startswith("collector-"):
            assert before >= {"processors", "gateway", "sink-clickhouse", "sink-parquet"}
    assert ours["processors"] >= {"sink-clickhouse", "sink-parquet"}
    assert ours["gateway"] >= {"sink-clickhouse", "sink-parquet"}
    assert ours["init"] >= {"redpanda", "clickhouse"}


@pytest.mark.parametrize("folder", ["config-live", "config-simulated"])
def test_each_venue_that_is_enabled_has_a_collector(folder: str) -> None:
    enabled = {name for name, venue in load(ROOT / "deploy" / folder).venues.items() if venue.enabled}
    started = {service["command"][1] for name, service in services().items() if name.startswith("collector-")}
    assert started <= set(names())
    assert enabled == started - {"alpaca"}


def test_prometheus_scrapes_each_of_our_services() -> None:
    (job,) = [job for job in parsed("deploy/observability/prometheus/prometheus.yml")["scrape_configs"]
              if job["job_name"] == "alphapulse"]  # fmt: skip
    scraped = {name for config in job["dns_sd_configs"] for name in config["names"]}
    assert scraped == set(services()) - NOT_OURS - {"init", "addresses", "alerts"}


@pytest.mark.parametrize("tracing", ["on", "off"])
def test_one_variable_turns_traces_on(tracing: str) -> None:
    """The services send to the collector if it is there, and it takes and stores what they send."""
    switched = f"deploy/compose/tracing-{tracing}"
    lines = (ROOT / f"{switched}.env").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    started = parsed(f"{switched}.yml")["services"]
    assert bool(variables) is bool(started) is (tracing == "on")
    for name, service in services().items():
        if name not in NOT_OURS | {"simulator", "alerts"}:
            assert service["env_file"] == ["./deploy/compose/tracing-${TRACING:-off}.env"], name
    if tracing == "off":
        return
    collector = parsed("deploy/observability/otel/collector.yml")
    port = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].rpartition(":")[2]
    (name,) = started
    assert variables == {"ALPHAPULSE_TRACING__ENDPOINT": f"http://{name}:{port}"}
    pipeline = collector["service"]["pipelines"]["traces"]
    for kind in ("receivers", "processors", "exporters"):
        assert set(pipeline[kind]) == set(collector[kind])
    asked = set(re.findall(r"\$\{env:(\w+)\}", (ROOT / "deploy/observability/otel/collector.yml").read_text()))
    assert asked == started[name]["environment"].keys()
    exporter = collector["exporters"]["clickhouse"]
    assert exporter["username"] == services()["clickhouse"]["environment"]["CLICKHOUSE_USER"]
    documented = set(re.findall(r"FROM (\w+\.\w+)", (ROOT / "docs/tracing.md").read_text()))
    assert documented == {f"{exporter['database']}.{exporter['traces_table_name']}"}


@pytest.mark.parametrize("market", ["", "simulated"])
@pytest.mark.parametrize("observability", ["on", "off"])
@pytest.mark.parametrize("tracing", ["", "on"])
@pytest.mark.parametrize("standin", [False, True])
def test_compose_takes_it(market: str, observability: str, tracing: str, *, standin: bool) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("no docker compose of version 2 or later")
    if standin and observability == "off":
        pytest.skip("the stand-ins replace services that are not there then")
    files = ["-f", "docker-compose.yml", *(["-f", "deploy/standin/docker-compose.yml"] if standin else [])]
    environment = {**os.environ, "MARKET": market, "OBSERVABILITY": observability, "TRACING": tracing}
    for profiles in ((), ("alpaca",), ("cluster",), ("alpaca", "cluster")):
        chosen = [word for profile in profiles for word in ("--profile", profile)]
        done = subprocess.run(
            [docker, "compose", *files, *chosen, "config", "--services"],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        listed = set(done.stdout.split())
        assert ("simulator" in listed) is (market == "simulated")
        assert ("prometheus" in listed) is (observability == "on")
        assert ("otel-collector" in listed) is (tracing == "on")
        assert ("redpanda-2" in listed) is ("cluster" in profiles)
