"""What a pod may: as little as the Pod Security Standard "restricted" wants, and secrets only from Secrets."""

from __future__ import annotations

import json
from typing import Any, Final

import helm_python
import pytest

from alphapulse import service
from alphapulse.config.settings import HandoverSettings, ProcessorSettings
from alphapulse.supervisor.supervisor import KILL_SECONDS
from tests.unit.helm.chart import RUNNING, component_of, container, files_of, merged, minimal, render, rendered, values

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
        allowed = {"name", "configMap", "emptyDir", "projected", "persistentVolumeClaim"}
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
def test_secrets_come_as_files_and_from_secrets_only(name: str) -> None:
    """A process's variables stay in /proc/PID/environ, and do not change with the Secret."""
    found = rendered(name)
    for _, pod in found.pods():
        for variable in container(pod).get("env", ()):
            assert variable.keys() == {"name", "value"}, variable["name"]
            told = variable["name"].removesuffix("_FILE")
            if told.endswith(("PASSWORD", "SECRET", "DSN", "USERNAME", "__KEY", "REGISTRY__URL")):
                assert variable["name"] == f"{told}_FILE"
                assert variable["value"] in files_of(pod)
        assert not container(pod).get("envFrom")
    for config in found.of("ConfigMap").values():
        for text in config["data"].values():
            assert not any(f"{word} =" in text for word in ("password", "dsn", "secret", "key"))


def readers(name: str) -> dict[str, set[str]]:
    """Return who has something of each Secret."""
    who: dict[str, set[str]] = {}
    for _, pod in rendered(name).pods():
        for secret, _ in files_of(pod).values():
            who.setdefault(secret, set()).add(component_of(pod))
    return who


def test_a_secret_is_known_to_who_needs_it() -> None:
    who = readers("production")
    everyone = who.pop("registry")
    assert everyone >= {"init", "processors", "sink-parquet"}
    collectors = {component for component in everyone if component.startswith("collector-")}
    assert who == {
        "kafka-ca": everyone,
        "kafka-admin": {"init"},
        "kafka-collectors": collectors,
        "kafka-processors": {"processors"},
        "kafka-user": everyone - collectors - {"init", "processors"},
        "clickhouse-writer": {"sink-clickhouse"},
        "clickhouse-reader": {"gateway"},
        "clickhouse-migrator": {"init"},
        "alpaca-account": {"collector-alpaca"},
        "gateway-keys": {"gateway"},
    }
    assert readers("tls")["issuer"] == {"gateway"}
    assert readers("external")["gateway-token"] == {"gateway"}
    assert readers("oauth")["bucket-writer"] == {"sink-parquet"}


def test_certificates_are_known_to_who_needs_them() -> None:
    who = readers("mtls")
    everyone = who.pop("kafka-ca")
    collectors = {component for component in everyone if component.startswith("collector-")}
    assert everyone == collectors | {"init", "processors", "sink-clickhouse", "sink-parquet", "gateway"}
    tables = {"sink-clickhouse", "gateway", "init"}
    assert who == {
        "registry-ca": everyone,
        "registry-client": everyone,
        "kafka-admin": {"init"},
        "kafka-collectors": collectors,
        "kafka-gateway": {"gateway"},
        "kafka-client": {"processors", "sink-clickhouse", "sink-parquet"},
        "clickhouse-ca": tables,
        "clickhouse-writer": {"sink-clickhouse"},
        "clickhouse-reader": {"gateway"},
        "clickhouse-migrator": {"init"},
        "gateway-keys": {"gateway"},
    }


@pytest.mark.parametrize("name", RUNNING)
def test_files_of_secrets_are_readable_by_the_processes_and_written_by_nobody(name: str) -> None:
    """They belong to root and to the group of fsGroup; the gateway refuses keys that others may write."""
    for _, pod in rendered(name).pods():
        volumes = [one["projected"] for one in pod["spec"].get("volumes", ()) if "projected" in one]
        assert all(one["defaultMode"] == 0o440 for one in volumes)
        assert not any(
            "mode" in item for one in volumes for source in one["sources"] for item in source["secret"]["items"]
        )
        mounts = [one for one in container(pod).get("volumeMounts", ()) if one["name"] == "secrets"]
        assert len(mounts) == len(volumes) == bool(files_of(pod))
        # A subPath would not follow the Secret.
        assert all(one["readOnly"] and "subPath" not in one for one in mounts)


@pytest.mark.parametrize("name", RUNNING)
def test_everything_that_is_written_has_a_volume(name: str) -> None:
    for component, pod in rendered(name).services():
        volumes = {one["name"]: one for one in pod["spec"]["volumes"]}
        mounts = {one["mountPath"]: one for one in container(pod)["volumeMounts"]}
        assert {one["name"] for one in mounts.values()} <= volumes.keys() | {"parquet"}
        for name_of in SCRATCH.values():
            assert volumes[name_of]["emptyDir"]["sizeLimit"]
        assert SCRATCH.items() <= {path: one["name"] for path, one in mounts.items()}.items()
        bucket = values(name).get("sinkParquet", {}).get("bucket")
        assert ("/parquet" in mounts) is (component == "sink-parquet" and not bucket)
        writable = {path for path, one in mounts.items() if not one.get("readOnly")}
        assert writable <= {*SCRATCH, "/parquet"}


@pytest.mark.parametrize("wait", [None, 0, 60])
@pytest.mark.parametrize("name", RUNNING)
def test_nothing_is_killed_before_it_has_stopped(name: str, wait: int | None) -> None:
    given = values(name) if wait is None else merged(values(name), {"settings": {"handover": {"wait_s": wait}}})
    settings: dict[str, Any] = given.get("settings", {})
    drain = settings.get("processors", {}).get("drain_seconds", ProcessorSettings().drain_seconds)
    handover = settings.get("handover", {}).get("wait_s", HandoverSettings().wait_s)
    collectors = 0
    for component, pod in render(given).services():
        pause = container(pod).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        needed = pause + service.GRACE_SECONDS + service.LAST_GRACE_SECONDS + 1
        needed += drain if component == "processors" else 0
        if component.startswith("collector-"):
            needed += handover + KILL_SECONDS
            collectors += 1
        assert pod["spec"]["terminationGracePeriodSeconds"] > needed, component
    assert collectors


def test_a_grace_period_that_is_shorter_than_the_handover_is_refused() -> None:
    with pytest.raises(helm_python.HelmRenderError, match="terminationGracePeriodSeconds: 89 is less than"):
        minimal(settings={"handover": {"wait_s": 60}}, collectors={"terminationGracePeriodSeconds": 89})


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
    role = {name for name, one in rendered("oauth").of("ServiceAccount").items() if "role-arn" in json.dumps(one)}
    assert role == {"live-alphapulse-sink-parquet"}, "the bucket's alone"
    assert "example.com" not in json.dumps(rendered("minimal").objects)
