"""Every secret and every file of the configuration has a Secret in the values, or a reason why it has none."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from pydantic import BaseModel, SecretStr

from alphapulse.config import PREFIX, Settings
from alphapulse.config.settings import VenueSettings
from tests.unit.helm.chart import CHART, RUNNING, SECRETS, component_of, container, files_of, rendered

REASONS: Final[Mapping[str, str]] = {
    "data_dir": "a folder, on a volume of the pod",
    "kafka.sasl_oauth_token_url": "an address only: the client's credentials are in kafka.sasl.existingSecret",
    "gateway.access.jwks_url": "the address of public keys",
    "registry.password": "in the URL of registry.existingSecret",
    "clickhouse.password": "in the address of clickhouse.existingSecret, readerSecret and migratorSecret",
}
"""Secrets, files and addresses with a password that no Secret of the values sets by their own key."""


def kinds(annotation: Any) -> Iterator[Any]:
    """Yield the types in an annotation."""
    yield annotation
    for inner in get_args(annotation):
        yield from kinds(inner)


def secrets_and_files(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Yield the keys (``kafka.sasl_password``) of a section and its sub-sections that are secrets or files.

    An address that may have a password in it counts: it is left out of the section's repr.
    """
    for name, field in model.model_fields.items():
        types = list(kinds(field.annotation))
        sections = [one for one in types if isinstance(one, type) and issubclass(one, BaseModel)]
        if SecretStr in types or Path in types or not field.repr:
            yield f"{path}{name}"
        elif VenueSettings in sections:
            yield from secrets_and_files(VenueSettings, f"{path}{name}.*.")
        else:
            for section in sections:
                yield from secrets_and_files(section, f"{path}{name}.")


def set_by_the_chart() -> dict[str, set[str]]:
    """Return the keys of the configuration that the chart sets by files from Secrets, and in which value sets."""
    found: dict[str, set[str]] = {}
    for name in RUNNING:
        for _, pod in rendered(name).pods():
            for variable in container(pod).get("env", ()):
                if variable["value"] in files_of(pod) and variable["name"].startswith(PREFIX):
                    key = variable["name"].removeprefix(PREFIX).removesuffix("_FILE").lower().split("__")
                    if key[0] == "venues":
                        key[1] = "*"
                    found.setdefault(".".join(key), set()).add(name)
    return found


def test_every_secret_and_file_has_a_secret_or_a_reason() -> None:
    wanted = set(secrets_and_files(Settings))
    assert wanted >= {"kafka.sasl_password", "clickhouse.ssl_keyfile", "venues.*.key", "gateway.access.keys_path"}
    found = set_by_the_chart()
    assert wanted - found.keys() == REASONS.keys()
    assert found.keys() - wanted == {"kafka.sasl_username"}, "not secret, but kept with the password"


def test_no_file_can_be_set_that_nothing_mounts() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))["properties"]
    for key in set(secrets_and_files(Settings)) - {"gateway.access.jwks_url"}:
        place = schema["venues"]["items"]["properties"] if key.startswith("venues") else schema
        names = key.removeprefix("venues.*.").split(".")
        table = place["settings"]["properties"]
        for name in names[:-1]:
            table = table.get(name, {}).get("properties", {})
        assert names[-1] not in table, key


@pytest.mark.parametrize("name", RUNNING)
def test_each_file_is_named_by_one_variable(name: str) -> None:
    for _, pod in rendered(name).pods():
        named = [one["value"] for one in container(pod).get("env", ()) if one["value"].startswith(SECRETS)]
        assert sorted(named) == sorted(files_of(pod)), component_of(pod)


def test_certificates_come_from_the_keys_that_are_named() -> None:
    files = files_of(dict(rendered("mtls").services())["gateway"])
    assert files == {
        f"{SECRETS}/kafka/ca.crt": ("kafka-ca", "ca.crt"),
        f"{SECRETS}/kafka/tls.crt": ("kafka-gateway", "tls.crt"),
        f"{SECRETS}/kafka/tls.key": ("kafka-gateway", "tls.key"),
        f"{SECRETS}/kafka/tls.password": ("kafka-gateway", "tls.password"),
        f"{SECRETS}/registry/ca.crt": ("registry-ca", "ca.pem"),
        f"{SECRETS}/registry/tls.crt": ("registry-client", "tls.crt"),
        f"{SECRETS}/registry/tls.key": ("registry-client", "tls.key"),
        f"{SECRETS}/registry/tls.password": ("registry-client", "tls.password"),
        f"{SECRETS}/clickhouse/dsn": ("clickhouse-reader", "dsn"),
        f"{SECRETS}/clickhouse/ca.crt": ("clickhouse-ca", "ca.crt"),
        f"{SECRETS}/clickhouse/tls.crt": ("clickhouse-reader", "tls.crt"),
        f"{SECRETS}/clickhouse/tls.key": ("clickhouse-reader", "tls.key"),
        f"{SECRETS}/clickhouse/tls.password": ("clickhouse-reader", "tls.password"),
        f"{SECRETS}/access/keys.json": ("gateway-keys", "keys.json"),
    }
    other = files_of(dict(rendered("mtls").services())["sink-clickhouse"])
    assert other[f"{SECRETS}/kafka/tls.crt"] == ("kafka-client", "tls.crt")
    venue = files_of(dict(rendered("oauth").services())["collector-alpaca"])
    assert venue[f"{SECRETS}/venue/key"] == ("alpaca-account", "id")
    assert venue[f"{SECRETS}/venue/secret"] == ("alpaca-account", "password")
