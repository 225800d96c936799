"""What the chart hands to the services is a configuration that they take, variable by variable and key by key."""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from alphapulse.cli.app import app
from alphapulse.config import Settings, load
from alphapulse.errors import ConfigError
from producers.collector import rules
from producers.registry import names
from tests.unit.helm.chart import (
    CHART,
    ROOT,
    RUNNING,
    SECRETS,
    Object,
    container,
    files_of,
    merged,
    minimal,
    render,
    rendered,
    values,
)

TOLD = {
    "ALPHAPULSE_KAFKA__SASL_USERNAME": "svc",
    "ALPHAPULSE_KAFKA__SASL_PASSWORD": "hush",
    "ALPHAPULSE_REGISTRY__URL": "https://svc:hush@registry:8443",
    "ALPHAPULSE_CLICKHOUSE__DSN": "https://svc:hush@clickhouse:8443",
    "ALPHAPULSE_TRACING__ENDPOINT": "http://svc:hush@traces:4317",
    "ALPHAPULSE_GATEWAY__ACCESS__SECRET": "0123456789abcdef0123456789abcdef",
}
"""What the Secrets may hold; other variables (accounts at venues) hold any text."""


def environment(pod: Object, folder: Path) -> dict[str, str]:
    """Return a pod's variables, with its files in ``folder`` instead of in the container."""
    variables = {one["name"]: one["value"] for one in container(pod).get("env", ())}
    for path in files_of(pod):
        (name,) = (name for name, value in variables.items() if value == path)
        variables[name] = str(folder / path.removeprefix("/"))
        Path(variables[name]).parent.mkdir(parents=True, exist_ok=True)
        Path(variables[name]).write_text(TOLD.get(name.removesuffix("_FILE"), "hush") + "\n", encoding="utf-8")
    assert not [value for value in variables.values() if value.startswith(SECRETS)], "named, but not mounted"
    return variables


def settings_of(pod: Object, config: Object, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return the settings that a pod's process reads."""
    for name in [name for name in os.environ if name.startswith("ALPHAPULSE_")]:
        monkeypatch.delenv(name)
    variables = environment(pod, folder)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for name, text in config["data"].items():
        (folder / name).write_text(text, encoding="utf-8")
    (mounted,) = (one["mountPath"] for one in container(pod)["volumeMounts"] if one["name"] == "config")
    assert variables["ALPHAPULSE_CONFIG"] == mounted
    arguments = container(pod)["args"]
    if arguments[0] == "collect":
        return rules.load(folder, own={arguments[1]})
    return load(folder)


@pytest.mark.parametrize("name", RUNNING)
def test_every_service_takes_its_configuration(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = rendered(name)
    given = values(name)
    seen = 0
    for _, pod in found.pods():
        if pod["metadata"]["labels"]["app.kubernetes.io/component"] == "test":
            continue
        (volume,) = (one for one in pod["spec"]["volumes"] if one["name"] == "config")
        settings = settings_of(pod, found.one("ConfigMap", volume["configMap"]["name"]), tmp_path, monkeypatch)
        assert settings.ops.port == 9100
        assert settings.ops.host == settings.gateway.host == given.get("listenAddress", "0.0.0.0")
        if "kafka" in given:
            assert settings.kafka.bootstrap == given["kafka"]["bootstrap"].replace(" ", "")
        if container(pod)["args"][0] in ("gateway", "sink", "init") and "clickhouse" in given:
            wanted = container(pod)["args"] != ["sink", "parquet"] and (
                container(pod)["args"] != ["gateway"] or "readerSecret" in given["clickhouse"]
            )
            assert settings.clickhouse.dsn == (TOLD["ALPHAPULSE_CLICKHOUSE__DSN"] if wanted else "")
        if container(pod)["args"][0] == "gateway":
            assert settings.gateway.access.mode == "required" or settings.gateway.access.allow_public
        seen += 1
    assert seen >= 3


def test_values_arrive_as_they_were_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = rendered("production")
    pods = dict(found.services())
    config = found.one("ConfigMap", "live-alphapulse-config")
    settings = settings_of(pods["gateway"], config, tmp_path, monkeypatch)
    assert settings.kafka.security_protocol == "SASL_SSL"
    assert settings.kafka.sasl_mechanism == "SCRAM-SHA-512"
    assert settings.kafka.sasl_password.get_secret_value() == "hush"
    assert settings.registry.url == TOLD["ALPHAPULSE_REGISTRY__URL"]
    assert settings.topics.retention_hours == {"md.l2": 24, "md.depth": 6}
    assert settings.publisher.max_in_flight_bytes == 2**27
    assert settings.processors.drain_seconds == 20
    assert settings.processors.candle_intervals_s == (1, 60, 3600)
    assert settings.gateway.access.trusted_proxies == ("10.0.0.0/8",)
    assert settings.log.level == "WARNING"
    assert settings.tracing.endpoint == "http://otel-collector.monitoring.svc:4318"
    assert {name: venue.enabled for name, venue in settings.venues.items()} == {
        one["name"]: one.get("enabled", True) for one in values("production")["venues"]
    }
    assert settings.venues["kraken"].connections == 2
    assert settings.venues["kraken"].key.get_secret_value() == ""
    own = settings_of(pods["collector-alpaca"], config, tmp_path, monkeypatch)
    assert own.venues["alpaca"].secret.get_secret_value() == "hush"


@pytest.mark.parametrize(
    ("name", "protocol", "authority", "certificate"),
    [
        ("minimal", "PLAINTEXT", False, False),
        ("tls", "SSL", True, False),
        ("external", "SASL_SSL", False, False),
        ("operators", "SSL", True, False),
        ("mtls", "SSL", True, True),
        ("oauth", "SASL_SSL", True, False),
    ],
)
def test_how_brokers_are_spoken_to(
    name: str, protocol: str, authority: bool, certificate: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = rendered(name)
    pod = dict(found.services())["processors"]
    kafka = settings_of(pod, found.one("ConfigMap", "live-alphapulse-config"), tmp_path, monkeypatch).kafka
    assert kafka.security_protocol == protocol
    assert (kafka.ssl_cafile is not None) is authority
    assert (f"{SECRETS}/kafka/ca.crt" in files_of(pod)) is authority
    assert {kafka.ssl_certfile is not None, kafka.ssl_keyfile is not None} == {certificate}
    assert bool(kafka.ssl_key_password.get_secret_value()) is certificate


def test_tokens_for_brokers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = rendered("oauth")
    pod = dict(found.services())["gateway"]
    settings = settings_of(pod, found.one("ConfigMap", "live-alphapulse-config"), tmp_path, monkeypatch)
    assert settings.kafka.sasl_mechanism == "OAUTHBEARER"
    assert settings.kafka.sasl_oauth_token_url == values("oauth")["kafka"]["sasl"]["oauth"]["tokenUrl"]
    assert settings.kafka.sasl_oauth_scope == "kafka market-data"
    assert settings.kafka.sasl_oauth_cafile is not None
    assert settings.kafka.sasl_username == "svc"
    assert settings.kafka.sasl_password.get_secret_value() == "hush"
    assert settings.tracing.endpoint == TOLD["ALPHAPULSE_TRACING__ENDPOINT"]
    assert settings.ops.follow_secrets is False
    assert settings.handover.wait_s == 60


@pytest.mark.parametrize("name", RUNNING)
def test_every_command_is_one_of_ours(name: str) -> None:
    commands = typer.main.get_command(app)
    assert hasattr(commands, "commands")
    for _, pod in rendered(name).pods():
        command, *rest = container(pod)["args"]
        with commands.commands[command].make_context(command, list(rest)):
            pass


def test_each_venue_has_a_collector_of_its_own() -> None:
    for venue in names():
        venues = [
            {"name": venue, "settings": {"symbols": ["BTC-USD"]}},
            {"name": "off", "enabled": False, "settings": {}},
        ]
        collectors = {name: pod for name, pod in minimal(venues=venues).services() if name.startswith("collector-")}
        (name,) = collectors
        assert name == f"collector-{venue.replace('_', '-')}"
        assert container(collectors[name])["args"] == ["collect", venue]


def test_the_usual_venues_are_those_of_the_configuration_that_comes_along() -> None:
    default = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))["venues"]
    configured = load(ROOT / "deploy" / "config").venues
    assert {one["name"] for one in default} == {name for name, venue in configured.items() if venue.enabled}
    for one in default:
        venue = configured[one["name"]]
        assert tuple(one["settings"]["symbols"]) == venue.symbols
        assert one["settings"]["taker_fee_basis_points"] == str(venue.taker_fee_basis_points)


@pytest.mark.parametrize("name", RUNNING)
def test_kubernetes_sets_no_variables_that_would_be_taken_for_settings(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all(pod["spec"]["enableServiceLinks"] is False for _, pod in rendered(name).pods())
    monkeypatch.setenv("ALPHAPULSE_GATEWAY_PORT", "tcp://10.0.0.1:8000")
    with pytest.raises(ConfigError, match="ALPHAPULSE_GATEWAY_PORT"):
        load()


def examples() -> dict[str, Any]:
    """Return the values in docs/kubernetes.md, by their first key and place."""
    text = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    known = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")).keys()
    found = {}
    for number, block in enumerate(re.findall(r"(?:^ {4,}\S.*\n(?:^ *\n)?)+", text, re.MULTILINE)):
        if re.match(rf" +({'|'.join(known)}):", block):
            told = yaml.safe_load(textwrap.dedent(block))
            found[f"{number}-{next(iter(told))}"] = told
    return found


@pytest.mark.parametrize("example", examples().values(), ids=examples().keys())
def test_the_documents_examples_are_values(example: dict[str, Any]) -> None:
    own = "redpanda" in example
    base = {} if own else values("minimal")
    if "existingSecret" in example.get("registry", {}):
        base.pop("registry")
    assert len(list(render(merged(base, example)).services())) >= 5


def test_the_document_has_examples() -> None:
    assert len(examples()) >= 4


def checksums(found: Any) -> dict[str, dict[str, str]]:
    return {
        component: {key: value for key, value in pod["metadata"]["annotations"].items() if key.startswith("checksum/")}
        for component, pod in found.services()
    }


def test_pods_are_replaced_when_their_configuration_changes() -> None:
    before = checksums(minimal())
    assert checksums(minimal(settings={"log": {"level": "DEBUG"}})).keys() == before.keys()
    for component, now in checksums(minimal(settings={"log": {"level": "DEBUG"}})).items():
        assert now["checksum/services"] != before[component]["checksum/services"]
    venues = [*yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))["venues"]]
    venues[0] = {**venues[0], "settings": {"symbols": ["BTC-USD"]}}
    changed = {component for component, now in checksums(minimal(venues=venues)).items() if now != before[component]}
    assert changed == {"processors", "gateway"}, "collectors follow the file by themselves"
    restarted = checksums(minimal(venues=venues, collectors={"restartOnVenueChange": True}))
    changed = {component for component, now in restarted.items() if now != before[component]}
    assert changed == before.keys() - {"sink-clickhouse", "sink-parquet"}


def test_more_variables_and_placement() -> None:
    variable = {"name": "ALPHAPULSE_LOG__LEVEL", "value": "DEBUG"}
    sections = ("collectors", "processors", "sinkClickhouse", "sinkParquet", "gateway")
    over: dict[str, Any] = {
        section: {
            "extraEnv": [variable],
            "podLabels": {"team": section},
            "podAnnotations": {"note": section},
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "priorityClassName": "high",
        }
        for section in sections
    }
    found = minimal(**over)
    groups = set()
    for _, pod in found.services():
        group = pod["metadata"]["labels"]["alphapulse.io/group"]
        groups.add(group)
        assert variable in container(pod)["env"]
        assert pod["metadata"]["labels"]["team"] == pod["metadata"]["annotations"]["note"] == group
        assert pod["spec"]["nodeSelector"] == {"disk": "fast"}
        assert pod["spec"]["tolerations"] == [{"key": "a", "operator": "Exists"}]
        assert pod["spec"]["affinity"] == {"nodeAffinity": {}}
        assert pod["spec"]["priorityClassName"] == "high"
    assert groups == set(sections)


def test_a_venue_may_have_bounds_of_its_own() -> None:
    pods = dict(rendered("production").services())
    assert container(pods["collector-kraken"])["resources"]["limits"]["memory"] == "1Gi"
    assert container(pods["collector-coinbase"])["resources"]["limits"]["memory"] == "512Mi"
    assert pods["collector-coinbase"]["spec"]["nodeSelector"] == {"topology.kubernetes.io/region": "us-east-1"}
    assert "nodeSelector" not in pods["collector-kraken"]["spec"]
    assert "collector-bitstamp" not in pods
