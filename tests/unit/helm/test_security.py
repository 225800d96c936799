"""What a pod may: as little as the Pod Security Standard "restricted" wants, and secrets only from Secrets."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from alphapulse import service
from alphapulse.supervisor.supervisor import KILL_SECONDS
from tests.unit.helm.chart import RUNNING, container, minimal, rendered, values

SECRETS: Final = frozenset(
    {
        "ALPHAPULSE_KAFKA__SASL_USERNAME",
        "ALPHAPULSE_KAFKA__SASL_PASSWORD",
        "ALPHAPULSE_CLICKHOUSE__DSN",
        "ALPHAPULSE_GATEWAY__ACCESS__SECRET",
    }
)

SCRATCH: Final = {"/data": "data", "/tmp": "tmp"}  # noqa: S108 a path in the container


@pytest.mark.parametrize("name", RUNNING)
def test_every_pod_is_restricted(name: str) -> None:
    for _, pod in rendered(name).pods():
        spec = pod["spec"]
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] == security["runAsGroup"] == security["fsGroup"] == 10001
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"}
        for one in spec["containers"]:
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "privileged": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert not any("hostPort" in port for port in one.get("ports", ()))
        allowed = {"name", "configMap", "emptyDir", "secret", "persistentVolumeClaim"}
        assert all(volume.keys() <= allowed for volume in spec.get("volumes", ()))


@pytest.mark.parametrize("name", RUNNING)
def test_no_pod_has_a_token_of_the_cluster(name: str) -> None:
    found = rendered(name)
    accounts = found.of("ServiceAccount")
    used = [pod["spec"]["serviceAccountName"] for _, pod in found.pods()]
    assert len(set(used)) == len(used), "each has its own"
    assert set(used) == accounts.keys()
    assert all(account["automountServiceAccountToken"] is False for account in accounts.values())
    assert all(pod["spec"]["automountServiceAccountToken"] is False for _, pod in found.pods())
    assert not found.of("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "Secret")


@pytest.mark.parametrize("name", RUNNING)
def test_secrets_come_from_secrets_only(name: str) -> None:
    found = rendered(name)
    for _, pod in found.pods():
        for variable in container(pod).get("env", ()):
            told = variable["name"]
            secret = told in SECRETS or told.startswith("ALPHAPULSE_VENUES__") or told == "ALPHAPULSE_REGISTRY__URL"
            assert ("value" in variable) is not secret, told
            if secret:
                assert variable["valueFrom"].keys() == {"secretKeyRef"}
                assert variable["valueFrom"]["secretKeyRef"]["name"]
    for config in found.of("ConfigMap").values():
        for text in config["data"].values():
            assert not any(f"{word} =" in text for word in ("sasl_password", "dsn", "secret", "key"))


def test_a_secret_is_known_to_who_needs_it() -> None:
    who: dict[str, set[str]] = {}
    for _, pod in rendered("production").pods():
        component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        for variable in container(pod).get("env", ()):
            if "valueFrom" in variable:
                reference = variable["valueFrom"]["secretKeyRef"]["name"]
                who.setdefault(reference, set()).add(component)
    everyone = who.pop("registry")
    assert everyone >= {"init", "processors", "sink-parquet"}
    collectors = {component for component in everyone if component.startswith("collector-")}
    assert who == {
        "kafka-admin": {"init"},
        "kafka-collectors": collectors,
        "kafka-processors": {"processors"},
        "kafka-user": everyone - collectors - {"init", "processors"},
        "clickhouse-writer": {"sink-clickhouse"},
        "clickhouse-reader": {"gateway"},
        "clickhouse-migrator": {"init"},
        "alpaca-account": {"collector-alpaca"},
    }


def test_files_of_secrets_are_mounted_where_the_configuration_looks_for_them() -> None:
    found = rendered("production")
    gateway = dict(found.services())["gateway"]
    volumes = {one["name"]: one for one in gateway["spec"]["volumes"]}
    assert volumes["access"]["secret"]["secretName"] == "gateway-keys"
    assert volumes["access"]["secret"]["defaultMode"] & 0o022 == 0, "the gateway refuses a file that others may write"
    mounts = {one["name"]: one["mountPath"] for one in container(gateway)["volumeMounts"]}
    text = found.one("ConfigMap", "live-alphapulse-config")["data"]["services.toml"]
    assert f'keys_path = "{mounts["access"]}/keys.json"' in text
    assert f'ssl_cafile = "{mounts["kafka-ca"]}/ca.crt"' in text
    tls = rendered("tls")
    gateway = dict(tls.services())["gateway"]
    mounts = {one["name"]: one["mountPath"] for one in container(gateway)["volumeMounts"]}
    text = tls.one("ConfigMap", "live-alphapulse-config")["data"]["services.toml"]
    assert f'public_key_path = "{mounts["issuer"]}/issuer.pem"' in text
    for component, pod in tls.services():
        assert ("issuer" in {one["name"] for one in pod["spec"]["volumes"]}) is (component == "gateway")


@pytest.mark.parametrize("name", RUNNING)
def test_everything_that_is_written_has_a_volume(name: str) -> None:
    for component, pod in rendered(name).services():
        volumes = {one["name"]: one for one in pod["spec"]["volumes"]}
        mounts = {one["mountPath"]: one for one in container(pod)["volumeMounts"]}
        assert {one["name"] for one in mounts.values()} <= volumes.keys() | {"parquet"}
        for name_of in SCRATCH.values():
            assert volumes[name_of]["emptyDir"]["sizeLimit"]
        assert SCRATCH.items() <= {path: one["name"] for path, one in mounts.items()}.items()
        assert ("/parquet" in mounts) is (component == "sink-parquet")
        writable = {path for path, one in mounts.items() if not one.get("readOnly")}
        assert writable <= {*SCRATCH, "/parquet"}


@pytest.mark.parametrize("name", RUNNING)
def test_nothing_is_killed_before_it_has_stopped(name: str) -> None:
    settings: dict[str, Any] = values(name).get("settings", {})
    drain = settings.get("processors", {}).get("drain_seconds", 10)
    for component, pod in rendered(name).services():
        pause = container(pod).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        needed = pause + service.GRACE_SECONDS + service.LAST_GRACE_SECONDS + 1
        needed += drain if component == "processors" else 0
        needed += KILL_SECONDS if component.startswith("collector-") else 0
        assert pod["spec"]["terminationGracePeriodSeconds"] > needed, component


def test_the_gateway_leaves_its_service_before_it_stops() -> None:
    for name, seconds in (("minimal", 5), ("production", 10)):
        for component, pod in rendered(name).services():
            hook = container(pod).get("lifecycle")
            assert hook == ({"preStop": {"sleep": {"seconds": seconds}}} if component == "gateway" else None)
    assert "lifecycle" not in container(dict(rendered("single-venue").services())["gateway"])


@pytest.mark.parametrize("name", RUNNING)
def test_every_container_has_bounds_and_probes(name: str) -> None:
    for _, pod in rendered(name).pods():
        bounds = container(pod)["resources"]
        assert bounds["limits"].keys() >= {"cpu", "memory"}
        assert bounds["requests"].keys() >= {"cpu", "memory"}
    for _, pod in rendered(name).services():
        one = container(pod)
        assert one["livenessProbe"]["httpGet"] == one["startupProbe"]["httpGet"] == {"path": "/health", "port": "ops"}
        assert one["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "ops"}
        assert {"name": "ops", "containerPort": 9100, "protocol": "TCP"} in one["ports"]


def test_images_by_tag_or_digest() -> None:
    images = {container(pod)["image"] for _, pod in rendered("production").pods()}
    assert images == {f"registry.example/alphapulse@{values('production')['image']['digest']}"}
    assert {container(pod)["image"] for _, pod in rendered("minimal").pods()} == {"alphapulse:0.1.0"}
    tagged = minimal(image={"repository": "r/a", "tag": "2"})
    assert {container(pod)["image"] for _, pod in tagged.pods()} == {"r/a:2"}


def test_annotations_of_accounts() -> None:
    accounts = rendered("external").of("ServiceAccount")
    owned = {name for name, one in accounts.items() if "example.com/owner" in one["metadata"].get("annotations", {})}
    assert owned == accounts.keys() - {"live-alphapulse-test"}
    assert "example.com" not in json.dumps(rendered("minimal").objects)
