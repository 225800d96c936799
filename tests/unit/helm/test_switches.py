"""What each switch of the chart does."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import pytest
import yaml

from alphapulse import topics
from producers import registry
from tests.unit.helm.chart import (
    ROOT,
    RUNNING,
    SETS,
    component_of,
    container,
    loaded,
    minimal,
    rendered,
    selects,
    values,
)

OBSERVABILITY: Final = ROOT / "deploy" / "observability"
SECTIONS: Final = {
    "processors": "processors",
    "sinkClickhouse": "sink-clickhouse",
    "sinkParquet": "sink-parquet",
    "gateway": "gateway",
}


@pytest.mark.parametrize("section", SECTIONS)
def test_a_service_that_is_off_leaves_nothing_behind(section: str) -> None:
    found = minimal(**{section: {"enabled": False}})
    assert {component for component, _ in found.services()} == {component for component, _ in minimal().services()} - {
        SECTIONS[section]
    }
    left = [one["metadata"]["name"] for one in found.objects if SECTIONS[section] in one["metadata"]["name"]]
    assert left == []


def test_without_collectors() -> None:
    found = minimal(collectors={"enabled": False})
    assert {component for component, _ in found.services()} == set(SECTIONS.values())
    assert "collector" not in json.dumps([one["metadata"] for one in found.objects])


def test_everything_off() -> None:
    assert [one["kind"] for one in rendered("off").objects] == ["ConfigMap"]


@pytest.mark.parametrize("name", RUNNING)
def test_workloads_select_their_own_pods_only(name: str) -> None:
    found = rendered(name)
    pods = [pod for _, pod in found.pods()]
    for workload in found.of("Deployment", "StatefulSet").values():
        selector = workload["spec"]["selector"]["matchLabels"]
        assert [pod for pod in pods if selects(selector, pod["metadata"]["labels"])] == [workload["spec"]["template"]]


@pytest.mark.parametrize("name", RUNNING)
def test_a_pod_has_at_most_one_budget(name: str) -> None:
    found = rendered(name)
    budgets = [one["spec"] for one in found.of("PodDisruptionBudget").values()]
    for _, pod in found.services():
        (budget,) = (one for one in budgets if selects(one["selector"]["matchLabels"], pod["metadata"]["labels"]))
        assert budget["maxUnavailable"] == 1
    assert len(budgets) == len({pod["metadata"]["labels"]["alphapulse.io/group"] for _, pod in found.services()})
    assert not minimal(podDisruptionBudget={"enabled": False}).of("PodDisruptionBudget")


def test_pods_are_spread() -> None:
    for found, wanted in ((rendered("minimal"), "ScheduleAnyway"), (rendered("production"), "DoNotSchedule")):
        for _, pod in found.services():
            rules = pod["spec"]["topologySpreadConstraints"]
            assert [one["topologyKey"] for one in rules] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
            for rule in rules:
                assert rule["whenUnsatisfiable"] == wanted
                assert selects(rule["labelSelector"]["matchLabels"], pod["metadata"]["labels"])
    assert all("topologySpreadConstraints" not in pod["spec"] for _, pod in rendered("shared-volume").services())


def test_one_collector_of_a_venue_and_its_successor_beside_it() -> None:
    surge = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    for name in RUNNING:
        for deployment in rendered(name).of("Deployment").values():
            if "-collector-" in deployment["metadata"]["name"]:
                assert deployment["spec"]["replicas"] == 1
                single = deployment["metadata"]["name"].endswith("-collector-alpaca")
                assert deployment["spec"]["strategy"] == ({"type": "Recreate"} if single else surge)
        scaled = rendered(name).of("HorizontalPodAutoscaler", "ScaledObject")
        assert not [key for key in scaled if "collector" in key]


@pytest.mark.parametrize("name", registry.names())
def test_a_venue_of_one_connection_is_left_before_the_next_pod_comes(name: str) -> None:
    found = minimal(venues=[{"name": name, "settings": {"symbols": ["BTC-USD"]}}])
    strategy = found.one("Deployment", f"live-alphapulse-collector-{name.replace('_', '-')}")["spec"]["strategy"]
    assert (strategy["type"] == "Recreate") is (registry.load(name).connections_limit == 1)


def test_a_new_pod_has_partitions_left_to_take() -> None:
    surge = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    replace = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    assert rendered("minimal").one("Deployment", "live-alphapulse-processors")["spec"]["strategy"] == surge
    full = rendered("shared-volume")
    assert values("shared-volume")["processors"]["replicas"] == topics.PARTITIONS
    assert full.one("Deployment", "live-pulse-processors")["spec"]["strategy"] == replace
    assert full.one("Deployment", "live-pulse-sink-clickhouse")["spec"]["strategy"] == replace, "may scale as far"
    assert full.one("Deployment", "live-pulse-gateway")["spec"]["strategy"] == surge, "reads everything, joins no group"


@pytest.mark.parametrize("name", RUNNING)
def test_scaling_stays_within_the_partitions(name: str) -> None:
    found = rendered(name)
    for one in found.of("ScaledObject", "HorizontalPodAutoscaler").values():
        spec = one["spec"]
        target = found.one("Deployment", spec["scaleTargetRef"]["name"])
        assert "replicas" not in target["spec"], "an upgrade would undo the scaling"
        most = spec.get("maxReplicaCount") or spec["maxReplicas"]
        assert (spec.get("minReplicaCount") or spec["minReplicas"]) <= most
        if target["spec"]["template"]["metadata"]["labels"]["alphapulse.io/group"] != "gateway":
            assert most <= topics.PARTITIONS
    for workload in found.of("Deployment", "StatefulSet").values():
        scaled = workload["metadata"]["name"] in found.of("ScaledObject", "HorizontalPodAutoscaler")
        assert ("replicas" in workload["spec"]) is not scaled


@pytest.mark.parametrize("name", RUNNING)
def test_init_runs_before_everything_else(name: str) -> None:
    found = rendered(name)
    ((job_name, job),) = found.of("Job").items()
    hook = job["metadata"].get("annotations", {})
    assert container(job["spec"]["template"])["args"] == ["init", "--wait", "120"]
    config = next(one for one in job["spec"]["template"]["spec"]["volumes"] if one["name"] == "config")
    used = {
        "ServiceAccount": job["spec"]["template"]["spec"]["serviceAccountName"],
        "ConfigMap": config["configMap"]["name"],
    }
    if found.of("NetworkPolicy"):
        used["NetworkPolicy"] = job["spec"]["template"]["spec"]["serviceAccountName"]
    if name in ("operators", "shared-volume"):
        assert not hook, "a hook would wait in vain for what the chart itself makes"
        assert len(job_name.rpartition("-")[2]) == 8
        assert used["ConfigMap"].endswith("-config")
        assert all(kind in {one["kind"] for one in found.objects} for kind in used)
        return
    assert hook["helm.sh/hook"] == "pre-install,pre-upgrade"
    for kind, needed in used.items():
        annotations = found.one(kind, needed)["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == hook["helm.sh/hook"], f"{kind} {needed} is not there yet"
        assert int(annotations["helm.sh/hook-weight"]) < int(hook["helm.sh/hook-weight"])
        assert "hook-succeeded" in annotations["helm.sh/hook-delete-policy"], "uninstall does not remove it"
    own = found.one("ConfigMap", used["ConfigMap"])["data"]
    assert own == found.one("ConfigMap", used["ConfigMap"].replace("-init-config", "-config"))["data"]


def test_a_job_gets_a_new_name_when_what_it_does_changes() -> None:
    def name(**over: Any) -> str:
        (found,) = minimal(init={"mode": "job"}, **over).of("Job")
        return found

    assert name() == name(gateway={"replicas": 7})
    assert len({name(), name(image={"tag": "2"}), name(settings={"topics": {"replication": 2}})}) == 3
    assert not minimal(init={"enabled": False}).of("Job")


def test_ingress_does_not_cut_streams() -> None:
    ingress = rendered("production").one("Ingress", "live-alphapulse-gateway")
    annotations = ingress["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"] == "3600"
    assert annotations["nginx.ingress.kubernetes.io/proxy-send-timeout"] == "3600"
    assert annotations["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    assert ingress["spec"]["tls"] == [{"secretName": "market-tls", "hosts": ["market.example"]}]
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    service = rendered("production").one("Service", path["backend"]["service"]["name"])
    assert path["backend"]["service"]["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
    assert not rendered("minimal").of("Ingress", "HTTPRoute")


def test_http_route_does_not_cut_streams() -> None:
    route = rendered("tls").one("HTTPRoute", "live-alphapulse-gateway")
    assert route["spec"]["parentRefs"] == values("tls")["httpRoute"]["parentRefs"]
    assert route["spec"]["hostnames"] == ["market.example"]
    told = {rule["matches"][0]["path"]["value"]: rule["timeouts"]["request"] for rule in route["spec"]["rules"]}
    assert told == {"/ws": "0s", "/": "60s"}
    for rule in route["spec"]["rules"]:
        (backend,) = rule["backendRefs"]
        service = rendered("tls").one("Service", backend["name"])
        assert backend["port"] in {port["port"] for port in service["spec"]["ports"]}


def test_prometheus_names_jobs_and_services_as_alerts_and_dashboards_do() -> None:
    found = rendered("production")
    (monitor,) = found.of("ServiceMonitor").values()
    assert monitor["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    selector = monitor["spec"]["selector"]["matchLabels"]
    selected = [one for one in found.of("Service").values() if selects(selector, one["metadata"]["labels"])]
    assert len(selected) == len(list(found.services()))
    (endpoint,) = monitor["spec"]["endpoints"]
    assert all(endpoint["port"] == one["spec"]["ports"][0]["name"] for one in selected)
    job, service = endpoint["relabelings"]
    assert (job["targetLabel"], job["replacement"]) == ("job", "alphapulse")
    assert (service["targetLabel"], service["sourceLabels"]) == (
        "service",
        ["__meta_kubernetes_pod_label_app_kubernetes_io_component"],
    )
    text = (OBSERVABILITY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    (scraped,) = (one for one in yaml.safe_load(text)["scrape_configs"] if one["job_name"] == job["replacement"])
    named = {name for one in scraped["dns_sd_configs"] for name in one["names"]}
    assert {component for component, _ in rendered("minimal").services()} <= named


def test_alerts_are_those_of_compose() -> None:
    text = (OBSERVABILITY / "prometheus" / "rules.yml").read_text(encoding="utf-8")
    (rule,) = rendered("production").of("PrometheusRule").values()
    assert rule["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    moved = text.replace("runbook_url: docs/runbooks/", "runbook_url: https://docs.example/runbooks/")
    assert rule["spec"]["groups"] == yaml.safe_load(moved)["groups"]
    (plain,) = minimal(prometheusRule={"enabled": True}).of("PrometheusRule").values()
    assert plain["spec"]["groups"] == yaml.safe_load(text)["groups"]


def test_dashboards_are_those_of_compose() -> None:
    found = rendered("production").of("ConfigMap")
    dashboards = [one for one in found.values() if one["metadata"]["labels"].get("grafana_dashboard") == "1"]
    told = {
        name.removeprefix("alphapulse-"): json.loads(text) for one in dashboards for name, text in one["data"].items()
    }
    folder = OBSERVABILITY / "grafana" / "dashboards"
    assert told == {path.name: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    assert len(rendered("minimal").of("ConfigMap")) == 2


def test_resources_of_operators() -> None:
    found = rendered("operators")
    redpanda = found.one("Redpanda", "live-alphapulse-redpanda")["spec"]["clusterSpec"]
    assert redpanda["statefulset"] == {"replicas": 3, "podAntiAffinity": {"type": "hard"}}, "merged"
    assert redpanda["config"]["cluster"]["auto_create_topics_enabled"] is False
    tables = found.one("ClickHouseInstallation", "live-alphapulse-ch")["spec"]
    assert tables["configuration"]["users"]["alphapulse/k8s_secret_password"] == "market/clickhouse-password/password"
    for name in set(SETS) - {"operators"}:
        assert not rendered(name).of("Redpanda", "ClickHouseInstallation")


@pytest.mark.parametrize("switch", ["networkPolicy", "tests"])
def test_what_is_on_unless_switched_off(switch: str) -> None:
    kind = {"networkPolicy": "NetworkPolicy", "tests": "Pod"}[switch]
    assert minimal().of(kind)
    assert not minimal(**{switch: {"enabled": False}}).of(kind)


def test_labels_and_variables_of_ones_own() -> None:
    own: dict[str, Any] = {
        "podLabels": {"team": "desk", "app.kubernetes.io/created-by": "desk"},
        "podAnnotations": {"example.com/checksum": "0"},
        "extraEnv": [{"name": "ALPHAPULSE_LOG__LEVEL", "value": "DEBUG"}],
    }
    pods = dict(minimal(collectors=own, gateway=own).services())
    for component in ("collector-kraken", "gateway"):
        assert own["podLabels"].items() <= pods[component]["metadata"]["labels"].items()
        assert own["podAnnotations"].items() <= pods[component]["metadata"]["annotations"].items()
        assert container(pods[component])["env"][-1:] == own["extraEnv"]
    assert "team" not in pods["processors"]["metadata"]["labels"]


@pytest.mark.parametrize("section", ["init", "tests"])
def test_pods_of_hooks_can_be_placed(section: str) -> None:
    """Where all nodes have taints, `init` and `helm test` have to find one as well."""
    own: dict[str, Any] = {
        "nodeSelector": {"pool": "market"},
        "tolerations": [{"key": "market", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
    }
    told = {"podLabels": {"team": "desk"}, "podAnnotations": {"sidecar.istio.io/inject": "false"}}
    found = minimal(**{section: {**own, **told}}, image={"pullSecrets": ["registry"]})
    placed = 0
    for _, pod in found.pods():
        labels = pod["metadata"]["labels"]
        ours = component_of(pod) == {"tests": "test"}.get(section, section)
        assert ({key: pod["spec"].get(key) for key in own} == own) is ours
        assert (labels.get("team") == "desk") is ours
        assert ("sidecar.istio.io/inject" in pod["metadata"].get("annotations", {})) is ours
        assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
        placed += ours
    assert placed == 1


@pytest.mark.parametrize("name", SETS)
def test_notes_name_what_is_there(name: str) -> None:
    found = rendered(name)
    for kind, named in re.findall(r"exec (\w+)/(\S+)", found.notes):
        assert named in {one["metadata"]["name"] for one in found.objects if one["kind"].lower() == kind}
    for named in re.findall(r"port-forward service/(\S+)", found.notes):
        assert named in found.of("Service")
    assert ("helm test" in found.notes) is bool(found.of("Pod"))
    exposed = [host for route in found.of("Ingress").values() for host in route["spec"]["tls"][0]["hosts"]]
    exposed += [host for route in found.of("HTTPRoute").values() for host in route["spec"]["hostnames"]]
    assert [host for host in exposed if host not in found.notes] == []
    gateway = [component for component, _ in found.services() if component == "gateway"]
    assert ("port-forward" in found.notes) is bool(gateway and not exposed)


def test_notes_of_a_route_for_every_host() -> None:
    route = {"enabled": True, "parentRefs": [{"name": "public"}]}
    assert "through the Gateway public, at each of its hosts" in minimal(httpRoute=route).notes


def test_value_sets_are_not_in_the_package() -> None:
    assert not [one["name"] for one in loaded().files if one["name"].startswith("ci/")]
