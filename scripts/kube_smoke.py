#!/usr/bin/env python3
"""Smoke test of the chart on a real Kubernetes API server: installs, upgrades, rolls back and removes it there.

    scripts/kube_smoke.py [--binaries FOLDER] [--skip STEP]

Starts etcd and kube-apiserver on loopback (scripts/kubernetes builds them once, for half an hour; FOLDER has other
ones), with the kinds of KEDA, Prometheus' operator and the Gateway API (scripts/crds), what the chart sets of those of
Redpanda's and Altinity's operators (tests/unit/helm/kinds), and namespaces that enforce the Pod Security Standard
"restricted". Every set of values in helm/alphapulse/ci is installed, and every object applied strictly: an unknown
field, a warning or a refusal fails the test. No pod runs there, so what their controllers would report (a Job is done,
a pod has ended) is written by hand. Helm is the library that the tests use. Prints each step with its seconds; the exit
code is 1 if a step fails. Needs the packages of requirements-dev.lock, and Go.
"""

from __future__ import annotations

import argparse
import copy
import logging
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import helm_python  # noqa: E402 the tree is on the path only now
import yaml  # noqa: E402
from steps import Failed, run  # noqa: E402

from tests.fixtures.kubernetes import MERGE, Api, Cluster, Object, Refused  # noqa: E402
from tests.unit.helm.chart import CHART, SETS, Rendered, container, merged, render, rendered, values  # noqa: E402
from tests.unit.helm.test_crds import BY_HAND, KINDS, Loader, pods_and_claims  # noqa: E402

RELEASE: Final = "live"
LONGEST: Final = "a-release-with-the-longest-name-that-helm-takes-of-all"[:53]
RESTRICTED: Final = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
FIRST_DIGEST: Final = values("production")["image"]["digest"]
NEXT_DIGEST: Final = "sha256:" + "fedcba9876543210" * 4
SECRET_LIMIT: Final = 2**20
"""Bytes of a Secret, in which Helm keeps a release."""


class Told(logging.Handler):
    """What Helm's library warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Controllers(threading.Thread):
    """Reports what controllers and kubelets would: Jobs are done, and so are the pods of `helm test`.

    Attributes:
        fail: Jobs fail instead.
        fault: what went wrong here.
    """

    def __init__(self, api: Api) -> None:
        super().__init__(name="controllers", daemon=True)
        self.fail = False
        self.fault: Exception | None = None
        self._api = api
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.2):
            try:
                for job in self._api.list("batch/v1", "Job"):
                    if not job.get("status", {}).get("conditions"):
                        self._set("batch/v1", "Job", job, _ended_job(fail=self.fail))
                for pod in self._api.list("v1", "Pod", labels={"app.kubernetes.io/component": "test"}):
                    if pod["status"].get("phase") != "Succeeded":
                        self._set("v1", "Pod", pod, {"phase": "Succeeded"})
            except (Refused, OSError) as error:
                self.fault = error

    def _set(self, version: str, kind: str, one: Object, status: Object) -> None:
        try:
            self._api.set_status({"apiVersion": version, "kind": kind, "metadata": one["metadata"]}, status)
        except Refused as error:
            if error.status != 404:  # removed meanwhile
                raise

    def end(self) -> None:
        """Stop, and wait for that."""
        self._ended.set()
        self.join()


def _ended_job(*, fail: bool) -> Object:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    names = ("FailureTarget", "Failed") if fail else ("SuccessCriteriaMet", "Complete")
    reason = "BackoffLimitExceeded" if fail else "CompletionsReached"
    told = {"status": "True", "reason": reason, "message": "by hand", "lastProbeTime": now, "lastTransitionTime": now}
    conditions = [{"type": name, **told} for name in names]
    if fail:
        return {"startTime": now, "failed": 5, "conditions": conditions}
    return {"startTime": now, "completionTime": now, "succeeded": 1, "conditions": conditions}


class Smoke:
    """The steps, in the order of their lines in :func:`main`.

    Args:
        binaries: folder of etcd and kube-apiserver; None: scripts/kubernetes makes it.
        folder: for everything that is written.
    """

    def __init__(self, binaries: Path | None, folder: Path) -> None:
        self._binaries, self._folder = binaries, folder
        self._told = Told()
        self.cluster: Cluster | None = None
        self.controllers: Controllers | None = None
        logging.getLogger("helm_python.native").addHandler(self._told)
        logging.getLogger("helm_python.native").propagate = False
        helm_python.enable_logging(logging.WARNING)

    @property
    def api(self) -> Api:
        if self.cluster is None:
            raise Failed("no server")
        return self.cluster.api

    @contextmanager
    def helm(self, namespace: str) -> Iterator[helm_python.Config]:
        """Yield Helm on a namespace; fail if it or the reports of controllers went wrong."""
        if self.cluster is None or self.controllers is None:
            raise Failed("no server")
        self._told.lines.clear()
        with helm_python.Config(kubeconfig_content=self.cluster.kubeconfig, namespace=namespace) as config:
            try:
                yield config
            finally:
                if self.controllers.fault is not None:
                    raise Failed(f"controllers: {self.controllers.fault}")
        if self._told.lines:
            raise Failed(f"Helm warns: {self._told.lines}")

    # --- the server ---

    def starts(self) -> str:
        """Start the server."""
        if self._binaries is None:
            told = subprocess.run([ROOT / "scripts" / "kubernetes"], stdout=subprocess.PIPE, text=True, check=True)
            self._binaries = Path(told.stdout.strip())
        self.cluster = Cluster(self._binaries, self._folder / "cluster")
        version = self.cluster.start()
        self.controllers = Controllers(self.api)
        self.controllers.start()
        return f"kube-apiserver {version}, Helm {helm_python.helm_sdk_version()}"

    def knows_the_kinds(self) -> str:
        """Define other projects' kinds, and what a cluster has besides."""
        fetched = subprocess.run([ROOT / "scripts" / "crds"], stdout=subprocess.PIPE, text=True, check=True)
        home = Path(fetched.stdout.strip())
        files = [path for kind in KINDS for path in sorted(home.glob(f"*_{kind.lower()}s.yaml"))]
        files += BY_HAND.values()
        told = [one for path in files for one in yaml.load_all(path.read_text(encoding="utf-8"), Loader)]
        made = [one for one in told if one and one["kind"] == "CustomResourceDefinition"]
        for one in made:
            # Not ours: their warnings are not, either.
            self.api.apply(one)
        self._until("kinds served", lambda: all(self._serves(one) for one in made))
        for name in SETS:
            self._namespace(_namespace(name))
        self.api.apply(
            {
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": "high"},
                "value": 1000,
            }
        )
        return f"{len(files)} kinds of others, {len(BY_HAND)} of them with only the fields that the chart sets"

    def _serves(self, definition: Object) -> bool:
        """Whether objects of a defined kind can be asked for."""
        spec = definition["spec"]
        try:
            for version in spec["versions"]:
                if version["served"]:
                    # A kind that is told already may have no storage yet (HTTP 429).
                    self.api.list(f"{spec['group']}/{version['name']}", spec["names"]["kind"])
        except Refused:
            return False
        return _established(self.api.get(definition))

    def _namespace(self, name: str) -> None:
        self.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})
        # As its controller does; pods of the operators have no account of their own.
        self.api.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
        )

    def _until(self, what: str, holds: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise Failed(f"{what}: not within {seconds:g} s")
            time.sleep(0.1)

    # --- nothing is kept ---

    def takes_every_object(self) -> str:
        """Try every set: Helm's own dry run, and each object applied strictly; no warning, no refusal."""
        objects = 0
        for name in SETS:
            namespace = _namespace(name)
            with self.helm(namespace) as helm:
                helm.install(CHART, RELEASE, values(name), namespace=namespace, dry_run="server")
            objects += self._try_all(name, render(values(name), release=RELEASE, namespace=namespace).objects)
            if left := self._ours(namespace):
                raise Failed(f"{name}: a dry run left {left}")
        return f"{objects} objects of {len(SETS)} sets of values"

    def _try_all(self, name: str, objects: tuple[Object, ...]) -> int:
        # A pod needs its ServiceAccount: pods come when those are there.
        tried = [one for one in objects if one["kind"] != "Pod"]
        for one in tried:
            if told := self.api.apply(one, dry=True).warnings:
                raise Failed(f"{name}: {one['kind']} {one['metadata']['name']}: {told}")
        return len(tried)

    def refuses_what_it_should(self) -> str:
        """Look whether the server would tell of what the other steps look for."""
        namespace = _namespace("minimal")
        objects = render(values("minimal"), release=RELEASE, namespace=namespace)
        deployment = copy.deepcopy(objects.one("Deployment", "live-alphapulse-gateway"))
        deployment["spec"]["replica"] = 2
        self._refused(deployment, r"spec\.replica\W.*(unknown field|not declared)|unknown field \"spec\.replica\"")
        deployment = copy.deepcopy(objects.one("Deployment", "live-alphapulse-gateway"))
        container(deployment["spec"]["template"])["securityContext"]["allowPrivilegeEscalation"] = True
        told = self.api.apply(deployment, dry=True).warnings
        if not any(re.search("violate PodSecurity .*restricted", line) for line in told):
            raise Failed(f"no warning of an insecure pod, but {told}")
        route = copy.deepcopy(render(values("tls"), namespace=namespace).one("HTTPRoute", "live-alphapulse-gateway"))
        route["spec"]["rules"][1]["timeouts"]["backendRequest"] = "61s"
        self._refused(route, "backendRequest timeout cannot be longer than request timeout")
        return "an unknown field, an insecure pod, a rule of a custom kind"

    def _refused(self, one: Object, pattern: str) -> None:
        try:
            self.api.apply(one, dry=True)
        except Refused as error:
            if not re.search(pattern, str(error)):
                raise
        else:
            raise Failed(f"{one['kind']} was taken; expected: {pattern}")

    def takes_any_name(self) -> str:
        """Try names of releases at the bounds of what Helm takes."""
        self._namespace("smoke-names")
        for release in (LONGEST, "eu.live"):
            with self.helm("smoke-names") as helm:
                helm.install(CHART, release, values("production"), namespace="smoke-names", dry_run="server")
            objects = render(values("production"), release=release, namespace="smoke-names").objects
            self._try_all(release, objects)
        return f"a release of {len(LONGEST)} characters, one with a dot"

    # --- a release's life ---

    def installs(self) -> str:
        """Install every set in a namespace of its own; the Job `init` is done before."""
        largest = 0
        for name in SETS:
            namespace = _namespace(name)
            with self.helm(namespace) as helm:
                helm.install(CHART, RELEASE, values(name), namespace=namespace, timeout=120, wait="hookOnly")
                if helm.status(RELEASE)["status"] != "deployed":
                    raise Failed(f"{name}: {helm.status(RELEASE)}")
            expected = _named(render(values(name), release=RELEASE, namespace=namespace).objects)
            self._holds(namespace, {key for key, one in expected.items() if not _is_hook(one)})
            for key, one in self._ours(namespace).items():
                if not any(by["operation"] == "Apply" for by in one["metadata"]["managedFields"]):
                    raise Failed(f"{name}: {key} was not applied by the server")
            largest = max(largest, *map(_size, self.api.list("v1", "Secret", namespace, {"owner": "helm"})))
        if largest > SECRET_LIMIT:
            raise Failed(f"a release of {largest} bytes")
        return f"{len(SETS)} releases; the largest has {largest // 1024} KiB, where a Secret may have 1,024"

    def _holds(self, namespace: str, wanted: set[tuple[str, str]]) -> None:
        found = set(self._ours(namespace))
        if found != wanted:
            raise Failed(f"{namespace}: missing {sorted(wanted - found)}, left {sorted(found - wanted)}")

    def _ours(self, namespace: str) -> dict[tuple[str, str], Object]:
        """Return the objects of the chart in a namespace by kind and name."""
        kinds = {(one["apiVersion"], one["kind"]) for name in SETS for one in rendered(name).objects}
        found = {}
        for version, kind in sorted(kinds | {("v1", "PersistentVolumeClaim")}):
            for one in self.api.list(version, kind, namespace, {"app.kubernetes.io/managed-by": "Helm"}):
                found[kind, one["metadata"]["name"]] = {"apiVersion": version, "kind": kind, **one}
        return found

    def admits_every_pod(self) -> str:
        """Try a pod of every template, where "restricted" is enforced."""
        pods = 0
        for name in SETS:
            namespace = _namespace(name)
            found = render(values(name), release=RELEASE, namespace=namespace)
            accounts = [
                one for one in found.of("ServiceAccount").values() if _is_hook(one)
            ]  # removed with their hooks; a pod needs one
            for one in accounts:
                self.api.apply(one)
            for workload, pod in (*found.pods(), *_of_clickhouse(found)):
                tried = {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {**pod["metadata"], "name": f"{workload}-0", "namespace": namespace},
                    "spec": _with_claims(found.of("StatefulSet").get(workload), pod["spec"]),
                }
                if told := self.api.create(tried, dry=True).warnings:
                    raise Failed(f"{name}: {workload}: {told}")
                pods += 1
                insecure = copy.deepcopy(tried)
                container(insecure)["securityContext"]["capabilities"] = {"add": ["NET_ADMIN"]}
                try:
                    self.api.create(insecure, dry=True)
                except Refused as error:
                    if error.status != 403 or "violates PodSecurity" not in str(error):
                        raise
                else:
                    raise Failed(f"{name}: {workload}: a pod with NET_ADMIN was admitted")
            for one in accounts:
                self.api.delete(one)
        return f"{pods} pods; not one of them with a capability added"

    def upgrades(self) -> str:
        """Upgrade to the chart's next version with other values: what stays keeps its identity."""
        namespace = _namespace("production")
        before = self._ours(namespace)
        given = _changed()
        with self.helm(namespace) as helm:
            helm.upgrade(self._next_chart(), RELEASE, given, namespace=namespace, timeout=120, wait="hookOnly")
            if helm.get_values(RELEASE) != given:
                raise Failed("helm get values: not those of the upgrade")
            told = helm.get_all(RELEASE)
            if NEXT_DIGEST not in told["summary"]["manifest"] or not told["hooks"]:
                raise Failed("helm get all: not the upgrade's manifest and hooks")
        after = self._ours(namespace)
        stayed = self._same(before, after)
        gone, came = ({name for _, name in one} for one in (before.keys() - after.keys(), after.keys() - before.keys()))
        if gone != {"live-alphapulse-collector-coinbase"} or came != {"live-alphapulse-collector-okx"}:
            raise Failed(f"gone: {gone}, new: {came}")
        self._images(after, NEXT_DIGEST)
        return f"{stayed} objects stayed the same ones; {len(before) - stayed} of a removed venue went, as many came"

    def _next_chart(self) -> Path:
        made = self._folder / "next" / CHART.name
        if not made.exists():
            shutil.copytree(CHART, made)
            file = made / "Chart.yaml"
            text = file.read_text(encoding="utf-8")
            version = yaml.safe_load(text)["version"]
            file.write_text(text.replace(f"ersion: {version}\n", "ersion: 99.0.0\n"), encoding="utf-8")
        return made

    def _same(self, before: Mapping[Any, Object], after: Mapping[Any, Object]) -> int:
        """Compare the identities of what is in both; return their number."""
        for key in before.keys() & after.keys():
            was, now = before[key], after[key]
            if was["metadata"]["uid"] != now["metadata"]["uid"]:
                raise Failed(f"{key}: deleted and created anew")
            for field in ("selector", "serviceName", "volumeClaimTemplates", "clusterIP"):
                if was.get("spec", {}).get(field) != now.get("spec", {}).get(field):
                    raise Failed(f"{key}: spec.{field} changed")
        return len(before.keys() & after.keys())

    def _images(self, objects: Mapping[Any, Object], digest: str) -> None:
        for one in objects.values():
            if one["kind"] in ("Deployment", "StatefulSet"):
                image = container(one["spec"]["template"])["image"]
                if not image.endswith(digest):
                    raise Failed(f"{one['metadata']['name']}: {image}")

    def stops_at_a_failed_hook(self) -> str:
        """Let `init` fail: nothing else has changed, and the next upgrade works."""
        if self.controllers is None:
            raise Failed("no server")
        namespace = _namespace("production")
        before = self._ours(namespace)
        given = merged(_changed(), {"processors": {"replicas": 7}})
        self.controllers.fail = True
        try:
            told = self._upgrade_fails(namespace, given)
        finally:
            self.controllers.fail = False
        if "init" not in told:
            raise Failed(f"not of the hook: {told}")
        after = self._ours(namespace)
        self._same(before, after)
        if changed := [key for key, one in before.items() if _generation(after[key]) != _generation(one)]:
            raise Failed(f"changed: {changed}")
        if ("Job", "live-alphapulse-init") not in after:
            raise Failed("the failed Job is gone, and its logs with it")
        with self.helm(namespace) as helm:
            helm.upgrade(self._next_chart(), RELEASE, given, namespace=namespace, timeout=120, wait="hookOnly")
        after = self._ours(namespace)
        if after["Deployment", "live-alphapulse-processors"]["spec"]["replicas"] != 7:
            raise Failed("not upgraded")
        self._holds(namespace, set(before))
        return f"nothing changed; afterwards it works ({told.splitlines()[0][:100]})"

    def _upgrade_fails(self, namespace: str, given: dict[str, Any]) -> str:
        told = self._try_upgrade(namespace, given)
        if not told:
            raise Failed("the upgrade was expected to fail")
        return told

    def _try_upgrade(self, namespace: str, given: dict[str, Any]) -> str:
        """Return why an upgrade fails; empty: it does not."""
        if self.cluster is None:
            raise Failed("no server")
        # Helm warns of its own failure.
        with helm_python.Config(kubeconfig_content=self.cluster.kubeconfig, namespace=namespace) as helm:
            try:
                helm.upgrade(CHART, RELEASE, given, namespace=namespace, timeout=120, wait="hookOnly")
            except helm_python.HelmError as error:
                return str(error)
        return ""

    def rolls_back(self) -> str:
        """Go back to the first revision: its objects, its images, the same identities."""
        namespace = _namespace("production")
        before = self._ours(namespace)
        with self.helm(namespace) as helm:
            helm.rollback(RELEASE, version=1, timeout=120, wait="hookOnly")
            states = [one["status"] for one in helm.history(RELEASE)]
        after = self._ours(namespace)
        self._same(before, after)
        wanted = _named(render(values("production"), release=RELEASE, namespace=namespace).objects)
        self._holds(namespace, {key for key, one in wanted.items() if not _is_hook(one)})
        self._images(after, FIRST_DIGEST)
        if after["Deployment", "live-alphapulse-processors"]["spec"]["replicas"] != 4:
            raise Failed("processors.replicas is not that of revision 1")
        return f"revisions: {', '.join(states)}"

    def tests_the_release(self) -> str:
        """Run `helm test`, whose pod is admitted; it leaves nothing."""
        namespace = _namespace("production")
        before = set(self._ours(namespace))
        with self.helm(namespace) as helm:
            helm.test(RELEASE, timeout=120)
        self._holds(namespace, before)
        return "a pod under the namespace's rules; nothing is left of it"

    def changes_how_init_runs(self) -> str:
        """Change between hook and plain Job, both ways."""
        namespace = _namespace("minimal")
        for mode in ("job", "hook", "job"):
            given = merged(values("minimal"), {"init": {"mode": mode}})
            with self.helm(namespace) as helm:
                helm.upgrade(CHART, RELEASE, given, namespace=namespace, timeout=120, wait="hookOnly")
            wanted = _named(render(given, release=RELEASE, namespace=namespace).objects)
            self._holds(namespace, {key for key, one in wanted.items() if not _is_hook(one)})
        return "hook, Job, hook, Job"

    def scales(self) -> str:
        """Let somebody else scale: an upgrade that leaves the number out does not change it."""
        namespace = _namespace("minimal")
        name = "live-alphapulse-processors"
        scaled = merged(values("minimal"), {"processors": {"autoscaling": {"enabled": True}}})
        with self.helm(namespace) as helm:
            helm.upgrade(CHART, RELEASE, scaled, namespace=namespace, timeout=120, wait="hookOnly")
        switched = self._ours(namespace)["Deployment", name]["spec"]["replicas"]
        self._scale(namespace, name, 5)
        more = merged(scaled, {"settings": {"log": {"level": "WARNING"}}})
        with self.helm(namespace) as helm:
            helm.upgrade(CHART, RELEASE, more, namespace=namespace, timeout=120, wait="hookOnly")
        if (found := self._ours(namespace)["Deployment", name]["spec"]["replicas"]) != 5:
            raise Failed(f"an upgrade set {found} replicas, where 5 were scaled to")
        # The number has two owners then, and Helm leaves it to its user which of them is right.
        told = self._try_upgrade(namespace, values("minimal")) or "taken"
        return f"switched on: {switched} pods until it scales; scaled: kept; switched off again: {told[:300]}"

    def _scale(self, namespace: str, name: str, replicas: int) -> None:
        path = f"{self.api.collection('apps/v1', 'Deployment', namespace)}/{name}/scale"
        self.api.request(
            "PATCH",
            path,
            {"spec": {"replicas": replicas}},
            {"fieldManager": "kube-controller-manager"},
            content=MERGE,
        )

    def keeps_the_volume(self) -> str:
        """Change the volume's size: refused, as docs/kubernetes.md says, and done as it says."""
        namespace = _namespace("production")
        given = merged(values("production"), {"sinkParquet": {"persistence": {"size": "600Gi"}}})
        told = self._upgrade_fails(namespace, given)
        if "volumeClaimTemplates" not in told or not ("immutable" in told or "forbidden" in told.lower()):
            raise Failed(told)
        self.api.delete(self._ours(namespace)["StatefulSet", "live-alphapulse-sink-parquet"])
        with self.helm(namespace) as helm:
            helm.upgrade(CHART, RELEASE, given, namespace=namespace, timeout=120, wait="hookOnly")
        (claim,) = self._ours(namespace)["StatefulSet", "live-alphapulse-sink-parquet"]["spec"]["volumeClaimTemplates"]
        if claim["spec"]["resources"]["requests"]["storage"] != "600Gi":
            raise Failed(str(claim))
        return "refused; taken without the StatefulSet, which is made anew"

    def uninstalls(self) -> str:
        """Remove every release, and look for what is left."""
        for name in SETS:
            namespace = _namespace(name)
            with self.helm(namespace) as helm:
                helm.uninstall(RELEASE, timeout=120, wait="hookOnly")
            self._holds(namespace, set())
        return "nothing is left"

    def ends(self) -> None:
        """End what was started."""
        if self.controllers is not None:
            self.controllers.end()
        if self.cluster is not None:
            self.cluster.stop()


def _namespace(name: str) -> str:
    return f"smoke-{name}"


def _named(objects: tuple[Object, ...]) -> dict[tuple[str, str], Object]:
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}


def _is_hook(one: Object) -> bool:
    return "helm.sh/hook" in one["metadata"].get("annotations", {})


def _generation(one: Object) -> Any:
    """Return what changes whenever the specification does; kinds without it change as a whole."""
    return one["metadata"].get("generation", one["metadata"]["resourceVersion"])


def _size(secret: Object) -> int:
    return sum(map(len, secret["data"].values()))


def _of_clickhouse(found: Rendered) -> Iterator[tuple[str, Object]]:
    """Yield the pods that the operator makes of a ClickHouseInstallation's template."""
    for name, one in found.of("ClickHouseInstallation").items():
        for made in pods_and_claims(one):
            if made["kind"] == "Pod":
                yield name, made


def _with_claims(workload: Object | None, spec: Object) -> Object:
    """Return the specification of a StatefulSet's first pod, as its controller completes it."""
    claims = [] if workload is None else workload["spec"].get("volumeClaimTemplates", [])
    made = [
        {
            "name": one["metadata"]["name"],
            "persistentVolumeClaim": {"claimName": f"{one['metadata']['name']}-{workload['metadata']['name']}-0"},
        }
        for one in claims
        if workload is not None
    ]
    return {**spec, "volumes": [*spec["volumes"], *made]} if made else spec


def _established(definition: Object) -> bool:
    conditions = definition.get("status", {}).get("conditions", [])
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


def _changed() -> dict[str, Any]:
    """Return the values of production after a release: one venue instead of another, and a bit of everything."""
    found = values("production")
    venues = [one for one in found["venues"] if one["name"] != "coinbase"]
    venues.append({"name": "okx", "settings": {"symbols": ["BTC-USDT"], "taker_fee_basis_points": "10"}})
    return merged(
        found,
        {
            "image": {"digest": NEXT_DIGEST},
            "venues": venues,
            "settings": {"log": {"level": "INFO"}, "topics": {"retention_hours": {"md.l2": 48}}},
            "collectors": {"podLabels": {"team": "desk"}},
            "processors": {"replicas": 3},
            "gateway": {"drainSeconds": 20, "service": {"type": "NodePort"}},
            "ingress": {"hosts": ["market.example", "data.example"]},
            "serviceMonitor": {"interval": "30s"},
            "topologySpread": {"whenUnsatisfiable": "ScheduleAnyway"},
        },
    )


def main() -> int:
    """Run the steps; return the exit code."""
    parser = argparse.ArgumentParser(description="Smoke test of the chart on a Kubernetes API server.")
    parser.add_argument("--binaries", type=Path, help="folder of etcd and kube-apiserver (default: they are built)")
    parser.add_argument("--skip", action="append", default=[], metavar="STEP", help="leave a step out, by its name")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="alphapulse-kube-") as folder:
        smoke = Smoke(options.binaries, Path(folder))
        needed = [("server", smoke.starts), ("kinds", smoke.knows_the_kinds)]
        steps: list[tuple[str, Callable[[], str | None]]] = [
            ("dry run", smoke.takes_every_object),
            ("refusals", smoke.refuses_what_it_should),
            ("names", smoke.takes_any_name),
            ("install", smoke.installs),
            ("pods", smoke.admits_every_pod),
            ("upgrade", smoke.upgrades),
            ("failed hook", smoke.stops_at_a_failed_hook),
            ("rollback", smoke.rolls_back),
            ("helm test", smoke.tests_the_release),
            ("init", smoke.changes_how_init_runs),
            ("scaling", smoke.scales),
            ("volume", smoke.keeps_the_volume),
            ("uninstall", smoke.uninstalls),
        ]
        try:
            good = all(run(name, step) for name, step in needed)
            if good:
                # Each of them, so that a run tells everything that is wrong.
                told = [run(name, step) for name, step in steps if name not in options.skip]
                good = all(told)
            elif smoke.cluster is not None:
                print(smoke.cluster.log())
        finally:
            smoke.ends()
    print(f"{time.monotonic() - began:7.1f} s  in all")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
