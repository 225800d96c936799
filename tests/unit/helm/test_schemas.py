"""Every value set renders to what Kubernetes takes, and the chart's schema refuses what nobody reads."""

from __future__ import annotations

import json
import re
from typing import Any

import helm_python
import pytest
import yaml

from tests.unit.helm.chart import CHART, ROOT, RUNNING, SETS, loaded, merged, minimal, render, rendered, values
from tests.unit.helm.kubernetes_schemas import VERSIONS, validator

RESOURCES_OF_OTHERS = {
    "ScaledObject", "TriggerAuthentication", "ServiceMonitor", "PrometheusRule", "HTTPRoute", "Redpanda",
    "ClickHouseInstallation",
}  # fmt: skip


def test_there_are_sets_for_what_people_run() -> None:
    wanted = {"minimal", "production", "external", "operators", "keda", "tls", "mtls", "oauth", "single-venue", "off"}
    assert wanted <= SETS.keys()


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_it(version: str) -> None:
    checked = set()
    faults = []
    for name in SETS:
        for one in rendered(name).objects:
            if one["kind"] in RESOURCES_OF_OTHERS:
                continue
            text = json.dumps(one, sort_keys=True)
            if text in checked:
                continue
            checked.add(text)
            found = validator(version, one["apiVersion"], one["kind"]).iter_errors(one)
            faults += [f"{name}: {one['kind']} {one['metadata']['name']}: {error.message[:300]}" for error in found]
    assert not faults
    assert len(checked) > 200


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_the_schemas_refuse_what_kubernetes_does(version: str) -> None:
    """That the check above is one."""
    deployment = json.loads(json.dumps(rendered("minimal").one("Deployment", "live-alphapulse-gateway")))
    assert validator(version, "apps/v1", "Deployment").is_valid(deployment)
    deployment["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["httpget"] = {"port": 1}
    assert not validator(version, "apps/v1", "Deployment").is_valid(deployment)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_lint_has_nothing_to_say(name: str, version: str) -> None:
    report = helm_python.lint(CHART, values(name), strict=True, kube_version=f"v{version}.0", namespace="market")
    # An icon is for a catalogue of charts.
    told = [one for one in report["messages"] if "icon is recommended" not in one["error"]]
    assert (told, report["errors"]) == ([], [])


@pytest.mark.parametrize("name", SETS)
def test_names_are_unique_and_valid(name: str) -> None:
    objects = rendered(name).objects
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(set(names)) == len(names)
    for one in objects:
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", one["metadata"]["name"])
        assert len(one["metadata"]["name"]) <= 63
        assert one["metadata"]["namespace"] == "market"
        assert one["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"


def test_long_names_stay_within_bounds() -> None:
    long = {"name": "a_venue_of_18_char", "settings": {"symbols": ["BTC-USD"]}}
    over = {"venues": [long], "init": {"mode": "job"}, "dashboards": {"enabled": True}}
    objects = render(merged(values("minimal"), over), release="r" * 53).objects
    assert max(len(one["metadata"]["name"]) for one in objects) <= 63
    assert all(len(one["metadata"]["name"]) <= 52 for one in objects if one["kind"] == "StatefulSet"), "+ its revision"


def test_names_of_services_have_no_dots() -> None:
    """A release's may."""
    for name in ("production", "operators"):
        found = render(values(name), release="eu.live.1")
        assert found.of("Service").keys() >= {"eu-live-1-alphapulse-gateway"}
        assert all(re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", one["metadata"]["name"]) for one in found.objects)


@pytest.mark.parametrize("name", ["4x", "2026.live"])
def test_names_of_services_begin_with_a_letter(name: str) -> None:
    with pytest.raises(helm_python.HelmRenderError, match="fullnameOverride: set one that begins with a letter"):
        render(values("minimal"), release=name)
    assert render(merged(values("minimal"), {"fullnameOverride": "x4"}), release=name).of("Service")


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("kafka.brokers", "x:1"),
        ("kafka.bootstrap", "no-port"),
        ("kafka.sasl.mechanism", "GSSAPI"),
        ("registry.url", "http://user:password@registry"),
        ("settings.processor", {}),
        ("settings.processors.drain_secs", 3),
        ("settings.processors.drain_seconds", 600),
        ("settings.kafka.sasl_password", "secret"),
        ("settings.kafka.ssl_certfile", "/etc/cert.pem"),
        ("settings.kafka.sasl_oauth_cafile", "/etc/ca.pem"),
        ("settings.kafka.sasl_oauth_token_url", "https://login.example/token"),
        ("settings.clickhouse.ssl_cafile", "/etc/ca.pem"),
        ("settings.ops.port", 9101),
        ("settings.parquet.path", "s3://market"),
        ("kafka.sasl.oauth.tokenUrl", "http://login.example/token"),
        ("kafka.tls.clientSecret.keyKey", ""),
        ("sinkParquet.bucket.url", "/parquet"),
        ("sinkParquet.bucket.url", "s3://user:secret@market"),
        ("sinkParquet.bucket.url", "file:///parquet"),
        ("settings.clickhouse.dsn", "clickhouse://a:b@c:1"),
        ("settings.gateway.access.secret", "0123456789abcdef0123456789abcdef"),
        ("gateway.replicas", "two"),
        ("processors.replicas", 13),
        ("processors.autoscaling.type", "cron"),
        ("gateway.resource", {}),
        ("gateway.resources.limit", {}),
        ("sinkParquet.persistence.storageclass", "fast"),
        ("venues", [{"name": "kraken"}]),
        ("venues", [{"name": "kraken", "settings": {"symbol": ["BTC-USD"]}}]),
        ("venues", [{"name": "kraken", "settings": {"key": "secret"}}]),
        ("venues", [{"name": "Kraken", "settings": {}}]),
        ("networkPolicy.monitoring.form", []),
        ("image.digest", "sha256:abc"),
        ("httpRoute.websocketTimeout", "never"),
        ("fullnameOverride", "4x"),
        ("collectors.podLabels", {"app.kubernetes.io/component": "mine"}),
        ("gateway.podLabels", {"alphapulse.io/group": "mine"}),
        ("gateway.podAnnotations", {"checksum/services": "0"}),
        ("serviceMonitor.labels", {"app.kubernetes.io/name": "mine"}),
        ("image.pullSecrets", ["registry", "registry"]),
        ("ingress.hosts", ["market.example", "market.example"]),
        ("networkPolicy.kafka.to", [{"namespaceSelector": {}, "podSelectors": {}}]),
        ("networkPolicy.venues.to", [{}]),
        ("networkPolicy.dns.ports", []),
        ("gateway.tolerations", [{"key": "a", "operators": "Exists"}]),
        ("init.affinity", {"nodeAffinities": {}}),
        ("processors.extraEnv", [{"name": "A", "vale": "b"}]),
        ("processors.extraEnv", [{"name": "A", "value": 1}]),
        ("httpRoute.parentRefs", [{"name": "public", "section": "https"}]),
    ],
)  # fmt: skip
def test_the_schema_refuses(path: str, wrong: Any) -> None:
    over: Any = wrong
    for key in reversed(path.split(".")):
        over = {key: over}
    with pytest.raises(helm_python.HelmValuesError, match=path.rpartition(".")[2]):
        minimal(**over)


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ({"kafka": {"bootstrap": ""}}, "kafka.bootstrap: name your brokers"),
        ({"redpanda": {"enabled": True}}, "kafka.bootstrap and redpanda.enabled are both set"),
        ({"registry": {"existingSecret": {"name": "a"}}}, "registry.url and registry.existingSecret"),
        (
            {"tracing": {"endpoint": "http://traces:4318", "existingSecret": {"name": "a"}}},
            "tracing.endpoint and tracing.existingSecret are both set",
        ),
        ({"clickhouse": {"existingSecret": {"name": ""}}}, "clickhouse.existingSecret.name: sinkClickhouse needs"),
        ({"clickhouseInstallation": {"enabled": True}}, "clickhouseInstallation.passwordSecret.name"),
        ({"sinkParquet": {"replicas": 2}}, "sinkParquet.replicas: 2 sinks need one folder"),
        ({"venues": []}, "venues: empty"),
        ({"venues": [{"name": "okx", "settings": {}}] * 2}, "venues: okx is listed twice"),
        ({"processors": {"autoscaling": {"enabled": True, "minReplicas": 9, "maxReplicas": 3}}}, "minReplicas 9"),
        ({"processors": {"terminationGracePeriodSeconds": 20}}, "20 is less than the 40 s that its stop may take"),
        ({"settings": {"gateway": {"access": {"mode": "open"}}}}, "settings.gateway.access.mode: open to everyone"),
        ({"gateway": {"access": {"tokenSecret": {"name": "a"}}}}, "settings.gateway.access.issuer: empty"),
        ({"gateway": {"kafkaSecret": "a"}}, "gateway.kafkaSecret: set, but kafka.sasl.existingSecret.name is empty"),
        ({"gateway": {"kafkaClientSecret": "a"}}, "gateway.kafkaClientSecret: set, but kafka.tls.clientSecret.name"),
        ({"keda": {"kafkaSecret": "a"}}, "keda.kafkaSecret: set, but kafka.sasl.existingSecret.name is empty"),
        ({"kafka": {"tls": {"clientSecret": {"name": "a"}}}}, "kafka.tls.clientSecret: set, but kafka.tls.enabled"),
        ({"kafka": {"tls": {"caSecret": {"name": "a"}}}}, "kafka.tls.caSecret: set, but kafka.tls.enabled is false"),
        ({"registry": {"tls": {"caSecret": {"name": "a"}}}}, "registry.tls.caSecret: set, but http://redpanda:8081"),
        (
            {"registry": {"url": "", "tls": {"clientSecret": {"name": "a"}}}},
            "registry.tls.clientSecret: set, but there is no registry",
        ),
        (
            {
                "clickhouse": {"tls": {"caSecret": {"name": "a"}}},
                "clickhouseInstallation": {"enabled": True, "passwordSecret": {"name": "a"}},
            },
            "clickhouse.tls.caSecret: set, but the server of clickhouseInstallation has no TLS",
        ),
        ({"kafka": {"sasl": {"mechanism": "OAUTHBEARER"}}}, "kafka.sasl.existingSecret.name: OAUTHBEARER needs"),
        (
            {"kafka": {"sasl": {"mechanism": "OAUTHBEARER", "existingSecret": {"name": "a"}}}},
            "kafka.sasl.oauth.tokenUrl: OAUTHBEARER needs the token endpoint",
        ),
        ({"kafka": {"sasl": {"oauth": {"scope": "a"}}}}, "kafka.sasl.mechanism is SCRAM-SHA-256, not OAUTHBEARER"),
        (
            {"sinkParquet": {"bucket": {"url": "s3://market"}, "persistence": {"existingClaim": "lake"}}},
            "sinkParquet.bucket.url and sinkParquet.persistence.existingClaim are both set",
        ),
        (
            {"sinkParquet": {"bucket": {"credentialsSecret": {"name": "a"}}}},
            "sinkParquet.bucket.credentialsSecret: set, but sinkParquet.bucket.url is empty",
        ),
        (
            {"sinkParquet": {"bucket": {"url": "abfss://m@a.dfs.example", "credentialsSecret": {"name": "a"}}}},
            "sinkParquet.bucket.credentialsSecret: a file of credentials is for s3:// and gs://",
        ),
        ({"ingress": {"enabled": True}}, "ingress.hosts: empty"),
        ({"gateway": {"port": 9100}}, "gateway.port: 9100 is the port of metrics"),
        ({"gateway": {"extraEnv": [{"name": "A"}, {"name": "A"}]}}, "extraEnv: A of gateway is set twice"),
        (
            {"init": {"extraEnv": [{"name": "ALPHAPULSE_CLICKHOUSE__DSN", "value": "x"}]}},
            "extraEnv: ALPHAPULSE_CLICKHOUSE__DSN of init is set twice, or by the chart",
        ),
        (
            {"gateway": {"extraEnv": [{"name": "ALPHAPULSE_X"}, {"name": "ALPHAPULSE_X_FILE"}]}},
            "extraEnv: ALPHAPULSE_X_FILE of gateway is set twice",
        ),
        ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs: empty"),
        ({"ingress": {"enabled": True, "hosts": ["a"]}, "gateway": {"enabled": False}}, "gateway.enabled: ingress"),
        (
            {"init": {"mode": "hook"}, "clickhouseInstallation": {"enabled": True, "passwordSecret": {"name": "a"}}},
            "init.mode: a hook runs before",
        ),
    ],
)
def test_templates_refuse(over: dict[str, Any], told: str) -> None:
    with pytest.raises(helm_python.HelmRenderError, match=re.escape(told)):
        minimal(**over)


def test_kubernetes_before_the_oldest_tested_is_refused() -> None:
    assert loaded().metadata["kubeVersion"] == f">={VERSIONS[0]}.0-0"


@pytest.mark.parametrize("name", RUNNING)
def test_notes_name_every_service(name: str) -> None:
    found = rendered(name)
    for component, _ in found.services():
        assert f"\n  {component}\n" in found.notes
    assert "helm test live --namespace market" in found.notes


def test_notes_tell_how_to_get_in() -> None:
    assert "knows none yet" in rendered("minimal").notes
    assert "knows none yet" not in rendered("production").notes
    assert "https://market.example/" in rendered("production").notes
    assert "clickhouse-live-alphapulse-ch.market.svc:8123" in rendered("operators").notes
    assert "nothing is switched on" in rendered("off").notes


def test_versions_are_the_packages() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    told = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert told is not None
    assert chart["appVersion"] == told[1]
