"""Who may talk with whom: nobody, but for the ways that the configuration needs."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from producers import registry
from tests.unit.helm.chart import (
    RUNNING,
    Object,
    Rendered,
    container,
    merged,
    minimal,
    render,
    rendered,
    selects,
    values,
)

POLICED = tuple(name for name in RUNNING if rendered(name).of("NetworkPolicy"))


def policy_of(found: Rendered, component: str) -> Object:
    """Return the policy of a component's pods besides the one that denies everything."""
    (policy,) = (
        one
        for one in found.of("NetworkPolicy").values()
        if one["spec"]["podSelector"]["matchLabels"].get("app.kubernetes.io/component") == component
    )
    return policy


def ways(found: Rendered, component: str) -> dict[tuple[int, ...], Any]:
    """Return the peers by ports that a component may call, except for names; None: any."""
    rules = policy_of(found, component)["spec"]["egress"]
    told = {tuple(port["port"] for port in rule["ports"]): rule.get("to") for rule in rules}
    assert told.pop((53, 53)), "names are looked up"
    return told


@pytest.mark.parametrize("name", POLICED)
def test_everything_is_denied_that_no_policy_allows(name: str) -> None:
    found = rendered(name)
    deny = found.one("NetworkPolicy", f"{'desk' if name == 'single-venue' else 'live-alphapulse'}-default-deny")
    assert deny["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert not deny["spec"].keys() & {"ingress", "egress"}
    for _, pod in found.pods():
        labels = pod["metadata"]["labels"]
        assert selects(deny["spec"]["podSelector"]["matchLabels"], labels)
        policy = policy_of(found, labels["app.kubernetes.io/component"])
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert len(found.of("NetworkPolicy")) == 1 + len(list(found.pods())), "one for each pod, none for nothing"


@pytest.mark.parametrize("name", POLICED)
def test_ports_that_are_opened_are_there(name: str) -> None:
    found = rendered(name)
    for component, pod in found.services():
        listening = {port["containerPort"] for port in container(pod)["ports"]}
        opened = {port["port"] for rule in policy_of(found, component)["spec"]["ingress"] for port in rule["ports"]}
        assert opened == listening
        assert all(rule["from"] for rule in policy_of(found, component)["spec"]["ingress"])
    for component in ("init", "test"):
        assert "ingress" not in policy_of(found, component)["spec"]
    assert ways(found, "test").keys() == {(9100,)}


def test_services_reach_their_servers_and_no_more() -> None:
    found = rendered("production")
    kafka, registry, tables, traces = (9093,), (8443,), (8443,), (4318,)
    expected = {
        "collector-kraken": {kafka, registry, traces, (443,)},
        "processors": {kafka, registry, traces},
        "sink-clickhouse": {kafka, registry, traces, tables},
        "sink-parquet": {kafka, registry, traces},
        "gateway": {kafka, registry, traces, tables, (443,)},
        "init": {kafka, registry, tables},
    }
    for component, ports in expected.items():
        assert ways(found, component).keys() == ports, component
        assert ways(found, component)[kafka] == [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kafka"}}}
        ]
    assert ways(rendered("minimal"), "gateway").keys() == {(9092,), (8081,)}, "no tables to read, no issuer"
    assert ways(rendered("external"), "gateway").keys() == {(9096,), (443,), (8443,)}


def test_tokens_and_buckets_are_reached_by_who_needs_them() -> None:
    found = rendered("oauth")
    storage = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "storage"}}}]
    for component, _ in found.services():
        told = ways(found, component)
        assert told[9443,] == [{"ipBlock": {"cidr": "192.0.2.0/24"}}], component
        assert ((9000,) in told) is (component == "sink-parquet")
        assert (4317,) in told, "traces, at an address in a Secret"
    assert ways(found, "sink-parquet")[9000,] == storage
    assert ways(found, "init")[9443,], "makes topics"
    assert (4317,) not in ways(found, "init")
    assert (9443,) not in ways(found, "test")
    assert ways(minimal(), "sink-parquet").keys() == {(9092,), (8081,)}
    named = {"networkPolicy": {"bucket": {"ports": [443, 80]}}, "sinkParquet": {"bucket": {"url": "gs://market"}}}
    assert ways(minimal(**named), "sink-parquet")[443, 80] is None, "any"


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("s3://market/live?region=eu-central-1", 443),
        ("s3://market?endpoint_override=minio:9000&scheme=http", 9000),
        ("s3://market?scheme=http&endpoint_override=minio%3A9001", 9001),
        ("s3://market?endpoint_override=minio&scheme=http", 80),
        ("s3://market?endpoint_override=https://minio:9002", 9002),
        ("gs://market/live", 443),
        ("abfss://market@desk.dfs.core.windows.net/live", 443),
    ],
)
def test_port_of_a_bucket(url: str, port: int) -> None:
    assert (port,) in ways(minimal(sinkParquet={"bucket": {"url": url}}), "sink-parquet")


def public_ports(name: str) -> set[int]:
    """Return the ports of a venue's public addresses."""
    venue = registry.load(name)
    found = {urlsplit(url) for url in (venue.websocket_url, venue.rest_url) if url}
    return {url.port or {"wss": 443, "https": 443}[url.scheme] for url in found}


@pytest.mark.parametrize("name", registry.names())
def test_a_collector_reaches_its_venue(name: str) -> None:
    """Binance's and OKX's streams are at ports of their own."""
    component = f"collector-{name.replace('_', '-')}"
    settings: dict[str, Any] = {"symbols": ["BTC-USD"]}
    told = ways(minimal(venues=[{"name": name, "settings": settings}]), component)
    ((ports, peers),) = ((ports, peers) for ports, peers in told.items() if ports not in {(9092,), (8081,)})
    assert len(ports) == len(set(ports))
    assert set(ports) == public_ports(name)
    assert peers == ways(rendered("minimal"), "collector-kraken")[443,]
    settings["websocket_url"] = "ws://10.0.0.1:9009/stream"
    assert 9009 in set().union(*ways(minimal(venues=[{"name": name, "settings": settings}]), component))


def test_a_venue_of_an_image_of_ones_own_is_reached_by_https() -> None:
    found = minimal(venues=[{"name": "deskbook", "settings": {"symbols": ["BTC-USD"]}}])
    assert (443,) in ways(found, "collector-deskbook")


def test_venues_are_on_the_internet_and_not_in_the_cluster() -> None:
    for component, _ in rendered("minimal").services():
        if component.startswith("collector-"):
            told = ways(rendered("minimal"), component)
            (peers,) = (to for ports, to in told.items() if 443 in ports)
            four, six = (peer["ipBlock"] for peer in peers)
            assert (four["cidr"], six["cidr"]) == ("0.0.0.0/0", "::/0")
            assert {"10.0.0.0/8", "169.254.0.0/16"} <= set(four["except"])
    simulated = ways(rendered("single-venue"), "collector-binance-us")
    assert simulated[9004,] == [{"podSelector": {"matchLabels": {"app": "simulator"}}}]


def test_ports_of_brokers() -> None:
    several = minimal(kafka={"bootstrap": "a:9092, b:9093,c:9092"})
    assert (9092, 9093) in ways(several, "processors")
    named = minimal(networkPolicy={"kafka": {"ports": [9094, 9095], "to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}})
    assert ways(named, "processors")[9094, 9095] == [{"ipBlock": {"cidr": "192.0.2.0/24"}}]
    assert ways(minimal(), "processors")[9092,] is None, "any: the chart does not know where the brokers are"


def test_ports_of_pods_behind_services_of_other_ports() -> None:
    """A policy is about the pods' ports, whatever those of their Services are."""
    named = {
        "dns": {"ports": [53, 5353]},
        "kafka": {"tokenPorts": [8080]},
        "registry": {"ports": [8081]},
        "tracing": {"ports": [14318]},
        "gateway": {"identityProviderPorts": [8443]},
    }
    access = {"mode": "required", "issuer": "i", "audience": "a", "jwks_url": "https://login/keys"}
    given = merged(values("oauth"), {"networkPolicy": named, "settings": {"gateway": {"access": access}}, "venues": []})
    found = render({**given, "collectors": {"enabled": False}})
    for component, _ in found.services():
        rules = policy_of(found, component)["spec"]["egress"]
        assert [(one["protocol"], one["port"]) for one in rules[0]["ports"]] == [
            (protocol, port) for port in (53, 5353) for protocol in ("UDP", "TCP")
        ]
        opened = {tuple(one["port"] for one in rule["ports"]) for rule in rules[1:]}
        own = {"gateway": {(8443,)}, "sink-clickhouse": {(8443,)}, "sink-parquet": {(9000,)}}.get(component, set())
        assert opened == {(9093,), (8080,), (8081,), (14318,)} | own, component


@pytest.mark.parametrize(
    ("url", "port"), [("https://r", 443), ("http://r", 80), ("http://r:81/a", 81), ("https://[::1]:8443", 8443)]
)
def test_port_of_a_url(url: str, port: int) -> None:
    assert (port,) in ways(minimal(registry={"url": url}), "processors")


def test_own_servers_are_reached_by_their_labels() -> None:
    found = rendered("operators")
    brokers = {"app.kubernetes.io/name": "redpanda", "app.kubernetes.io/instance": "live-alphapulse-redpanda"}
    tables = {"clickhouse.altinity.com/chi": "live-alphapulse-ch"}
    assert ways(found, "sink-clickhouse") == {
        (9093,): [{"podSelector": {"matchLabels": brokers}}],
        (8081,): [{"podSelector": {"matchLabels": brokers}}],
        (8123,): [{"podSelector": {"matchLabels": tables}}],
    }
    ours = found.one("NetworkPolicy", "live-alphapulse-default-deny")["spec"]["podSelector"]["matchLabels"]
    for one in found.of("Redpanda", "ClickHouseInstallation").values():
        assert not selects(ours, one["metadata"]["labels"]), "labels are handed on to pods, which would be cut off"


def test_who_reaches_the_gateway() -> None:
    def clients(found: Rendered) -> Any:
        (rule,) = (
            rule
            for rule in policy_of(found, "gateway")["spec"]["ingress"]
            if rule["ports"] == [{"protocol": "TCP", "port": 8000}]
        )
        return rule["from"]

    assert clients(rendered("minimal")) == [{"podSelector": {}}], "the pods of its namespace"
    assert clients(rendered("external")) == [{"ipBlock": {"cidr": "0.0.0.0/0"}}]
    assert "Only pods of this namespace" in rendered("minimal").notes
    assert "Only pods of this namespace" not in rendered("external").notes


@pytest.mark.parametrize("name", RUNNING)
def test_services_lead_to_pods_and_ports(name: str) -> None:
    found = rendered(name)
    pods = list(found.services())
    for service in found.of("Service").values():
        selected = [pod for _, pod in pods if selects(service["spec"]["selector"], pod["metadata"]["labels"])]
        (pod,) = selected
        ports = {port["name"]: port["containerPort"] for port in container(pod)["ports"]}
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]
    for stateful in found.of("StatefulSet").values():
        assert stateful["spec"]["serviceName"] in found.of("Service")
    exposed = [one for one in found.of("Service").values() if one["spec"].get("clusterIP") != "None"]
    assert all({port["name"] for port in one["spec"]["ports"]} == {"http"} for one in exposed), "ops ports stay inside"


def test_helm_test_asks_every_service() -> None:
    for name in RUNNING:
        found = rendered(name)
        prefix = "desk" if name == "single-venue" else "live-pulse" if name == "shared-volume" else "live-alphapulse"
        command, *urls = container(found.one("Pod", f"{prefix}-test-ready"))["args"]
        assert command == "health"
        asked = {url.removeprefix("http://").removesuffix(":9100") for url in urls}
        ops = {key for key, one in found.of("Service").items() if one["spec"]["ports"][0]["name"] == "ops"}
        assert asked == ops
        assert len(asked) == len(list(found.services()))
