"""KEDA reads the lag of the services' groups, as a user of the brokers."""

from __future__ import annotations

import json

from alphapulse import topics
from tests.unit.helm.chart import minimal, rendered, values


def test_scaling_by_lag_reads_the_group_and_topics_of_the_service() -> None:
    found = rendered("keda")
    processors = found.one("ScaledObject", "live-alphapulse-processors")["spec"]
    assert processors["maxReplicaCount"] == topics.PARTITIONS, "40 were asked for"
    told = [trigger["metadata"] for trigger in processors["triggers"]]
    assert [one["topic"] for one in told] == [topics.L2, topics.TRADES]
    assert {one["consumerGroup"] for one in told} == {"desk-processors"}
    assert {one["lagThreshold"] for one in told} == {"30000"}
    assert all(one["tls"] == "enable" and one["sasl"] == "scram_sha256" for one in told)
    sink = found.one("ScaledObject", "live-alphapulse-sink-clickhouse")["spec"]
    assert [one["metadata"]["topic"] for one in sink["triggers"]] == [topics.TRADES, topics.CANDLES]
    (authentication,) = found.of("TriggerAuthentication").values()
    assert {one["parameter"]: (one["name"], one["key"]) for one in authentication["spec"]["secretTargetRef"]} == {
        "username": ("kafka-user", "username"),
        "password": ("kafka-user", "password"),
        "ca": ("kafka-ca", "ca.pem"),
    }
    for one in found.of("ScaledObject").values():
        for trigger in one["spec"]["triggers"]:
            assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    assert found.of("HorizontalPodAutoscaler").keys() == {"live-alphapulse-gateway"}
    plain = minimal(processors={"autoscaling": {"enabled": True, "type": "keda"}})
    assert not plain.of("TriggerAuthentication")
    assert "authenticationRef" not in json.dumps(plain.of("ScaledObject"))


def test_scaling_by_lag_with_a_certificate() -> None:
    found = rendered("mtls")
    (authentication,) = found.of("TriggerAuthentication").values()
    assert {one["parameter"]: (one["name"], one["key"]) for one in authentication["spec"]["secretTargetRef"]} == {
        "ca": ("kafka-ca", "ca.crt"),
        "cert": ("kafka-keda", "tls.crt"),
        "key": ("kafka-keda", "tls.key"),
        "keyPassword": ("kafka-keda", "tls.password"),
    }
    for trigger in found.one("ScaledObject", "live-alphapulse-processors")["spec"]["triggers"]:
        assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
        assert trigger["metadata"]["tls"] == "enable"
        assert "sasl" not in trigger["metadata"]


def test_scaling_by_lag_with_tokens() -> None:
    found = rendered("oauth")
    (authentication,) = found.of("TriggerAuthentication").values()
    assert {one["parameter"]: (one["name"], one["key"]) for one in authentication["spec"]["secretTargetRef"]} == {
        "username": ("kafka-keda", "client-id"),
        "password": ("kafka-keda", "client-secret"),
        "ca": ("kafka-ca", "ca.crt"),
    }
    told = {
        one["parameter"]: found.one("ConfigMap", one["name"])["data"][one["key"]]
        for one in authentication["spec"]["configMapTargetRef"]
    }
    given = values("oauth")["kafka"]["sasl"]["oauth"]
    assert told == {"oauthTokenEndpointUri": given["tokenUrl"], "scopes": given["scope"]}
    for trigger in found.one("ScaledObject", "live-alphapulse-sink-clickhouse")["spec"]["triggers"]:
        assert trigger["metadata"]["sasl"] == "oauthbearer"
    assert "configMapTargetRef" not in json.dumps(rendered("keda").objects)
