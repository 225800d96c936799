"""Where the Parquet sink's files are: on a volume, or in a bucket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.s3_server import VARIABLES, S3Server, s3_server
from tests.unit.helm.chart import container, files_of, minimal, rendered, values


def test_parquet_files_in_a_bucket() -> None:
    found = rendered("oauth")
    deployment = found.one("Deployment", "live-alphapulse-sink-parquet")["spec"]
    assert deployment["replicas"] == 3, "no volume to share"
    assert not found.of("StatefulSet")
    pod = deployment["template"]
    assert not [one for one in pod["spec"]["volumes"] if "persistentVolumeClaim" in one]
    told = {one["name"]: one["value"] for one in container(pod)["env"]}
    assert files_of(pod)[told["AWS_SHARED_CREDENTIALS_FILE"]] == ("bucket-writer", "credentials")
    services = tomllib.loads(found.one("ConfigMap", "live-alphapulse-config")["data"]["services.toml"])
    assert services["parquet"]["path"] == values("oauth")["sinkParquet"]["bucket"]["url"]
    google = minimal(sinkParquet={"bucket": {"url": "gs://market/live", "credentialsSecret": {"name": "writer"}}})
    pod = dict(google.services())["sink-parquet"]
    told = {one["name"]: one["value"] for one in container(pod)["env"]}
    assert files_of(pod)[told["GOOGLE_APPLICATION_CREDENTIALS"]] == ("writer", "credentials")
    for _, pod in minimal(sinkParquet={"bucket": {"url": "s3://market"}}).services():
        assert "CREDENTIALS" not in json.dumps(pod), "a role does without"


def test_parquet_files_outlive_their_pods() -> None:
    stateful = rendered("production").one("StatefulSet", "live-alphapulse-sink-parquet")["spec"]
    (claim,) = stateful["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "parquet"
    assert claim["spec"]["resources"]["requests"]["storage"] == "500Gi"
    assert claim["spec"]["storageClassName"] == "fast"
    assert stateful["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    shared = rendered("shared-volume").one("StatefulSet", "live-pulse-sink-parquet")["spec"]
    assert shared["replicas"] == 3
    assert "volumeClaimTemplates" not in shared
    volumes = {one["name"]: one for one in shared["template"]["spec"]["volumes"]}
    assert volumes["parquet"] == {"name": "parquet", "persistentVolumeClaim": {"claimName": "lake"}}


def test_the_client_of_a_bucket_takes_the_mounted_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variables of the pod and nothing else, it signs its requests by the key in the Secret's file."""
    told: list[str] = []
    answer = S3Server._answer

    def kept(server: S3Server, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        told.append(environ.get("HTTP_AUTHORIZATION", "none"))
        return answer(server, environ, start)

    monkeypatch.setattr(S3Server, "_answer", kept)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    pod = dict(rendered("oauth").services())["sink-parquet"]
    (path,) = (path for path, (secret, _) in files_of(pod).items() if secret == "bucket-writer")
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = of-the-secret\naws_secret_access_key = hush\n", encoding="utf-8")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    variables |= {one["name"]: one["value"].replace(path, str(file)) for one in container(pod)["env"]}
    variables |= {"AWS_EC2_METADATA_DISABLED": "true"}
    program = (
        "import sys; from pyarrow import fs; found, at = fs.FileSystem.from_uri(sys.argv[1]); found.create_dir(at)"
    )
    with s3_server() as server:
        told.clear()
        subprocess.run([sys.executable, "-c", program, server.url("live")], env=variables, check=True, timeout=120)
    assert told
    assert all("Credential=of-the-secret/" in one for one in told)
