from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest

from alphapulse.config import AccessSettings, GatewaySettings, Settings
from alphapulse.errors import ServiceError, ValueRefused
from gateway.access import keys as key_file
from gateway.access.keys import NO_KEYS, PREFIX, ApiKeys, keys_path, read, write

NOW = 1_800_000_000 * 10**9


def test_a_key_is_found_by_its_text_and_kept_as_a_hash() -> None:
    keys, text = NO_KEYS.created("desk-1", ["rest:market"], NOW)
    other, another = keys.created("desk-2", ["rest:*"], NOW)
    assert text.startswith(PREFIX)
    assert len(text) == len(PREFIX) + 43, "256 bits"
    found = other.find(text)
    assert found is not None
    assert (found.name, found.identity.key) == ("desk-1", found.id)
    assert found.identity.scopes == {"rest:market"}
    assert other.find(another) != found
    assert other.find(f"{text}x") is None
    assert other.find("apk_\ud800") is None
    assert text not in repr(other)


def test_the_file_has_no_key_and_is_its_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys, text = NO_KEYS.created("desk-1", ["rest:market", "stream:*:kraken"], NOW, NOW + 1)
    write(path, keys)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert text[len(PREFIX) :] not in path.read_text(encoding="utf-8")
    assert read(path) == keys
    assert [each.name for each in tmp_path.iterdir()] == ["keys.json"]


def test_a_revoked_key_stays_in_the_list_and_its_name_is_free() -> None:
    keys, text = NO_KEYS.created("desk-1", ["rest:market"], NOW)
    revoked = keys.revoked("desk-1", NOW + 1)
    found = revoked.find(text)
    assert found is not None
    assert found.revoked == NOW + 1
    assert revoked.active(NOW + 2) == ()
    again, _ = revoked.created("desk-1", ["rest:market"], NOW + 3)
    assert len(again.keys) == 2
    assert again.revoked(again.keys[1].id, NOW + 4).active(NOW + 5) == ()


def test_refusals_name_what_is_wrong() -> None:
    keys, _ = NO_KEYS.created("desk-1", ["rest:market"], NOW)
    with pytest.raises(ValueRefused, match="name desk-1: in use"):
        keys.created("desk-1", ["rest:market"], NOW)
    with pytest.raises(ValueRefused, match="name 'a b': expected"):
        keys.created("a b", ["rest:market"], NOW)
    with pytest.raises(ValueRefused, match="scope 'rest:orders': unknown"):
        keys.created("desk-2", ["rest:orders"], NOW)
    with pytest.raises(ValueRefused, match="without a scope"):
        keys.created("desk-2", [], NOW)
    with pytest.raises(ValueRefused, match="'desk-9': no active key has this name; active: desk-1"):
        keys.revoked("desk-9", NOW)


def test_an_expired_name_is_free() -> None:
    keys, _ = NO_KEYS.created("desk-1", ["rest:market"], NOW, NOW + 10)
    assert len(keys.created("desk-1", ["rest:market"], NOW + 10)[0].keys) == 2


def test_a_missing_file_holds_no_keys(tmp_path: Path) -> None:
    assert read(tmp_path / "keys.json") == NO_KEYS


VALID = {"name": "a", "hash": "0" * 64, "scopes": ["rest:market"], "created": 1}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "Invalid JSON"),
        ("{}", "version"),
        ('{"version": 2, "keys": []}', "version"),
        (json.dumps({"version": 1, "keys": [VALID | {"hash": "x"}]}), r"keys\.0\.hash"),
        (json.dumps({"version": 1, "keys": [VALID | {"scopes": ["all"]}]}), r"keys\.0\.scopes\.0"),
        (json.dumps({"version": 1, "keys": [VALID | {"admin": True}]}), r"keys\.0\.admin"),
    ],
)
def test_an_invalid_file_is_told_with_its_place(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(ServiceError, match=rf"^gateway\.access\.keys_path: {path}: .*{said}"):
        read(path)


def test_a_file_that_others_may_change_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write(path, NO_KEYS)
    path.chmod(0o660)
    with pytest.raises(ServiceError, match="may be changed by other users"):
        read(path)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ServiceError, match="cannot write"), key_file.changing(tmp_path / "file" / "keys.json"):
        raise AssertionError("unreachable")


def test_changes_at_the_same_time_lose_none(tmp_path: Path) -> None:
    path = tmp_path / "access" / "keys.json"

    def create(number: int) -> None:
        with key_file.changing(path):
            keys, _ = read(path).created(f"desk-{number}", ["rest:market"], NOW)
            write(path, keys)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.name for key in read(path).keys} == {f"desk-{number}" for number in range(8)}


def test_the_path_is_configured_or_in_the_data_directory(tmp_path: Path) -> None:
    assert keys_path(Settings(data_dir=tmp_path)) == tmp_path / "access" / "keys.json"
    named = Settings(gateway=GatewaySettings(access=AccessSettings(keys_path=tmp_path / "k.json")))
    assert keys_path(named) == tmp_path / "k.json"


def test_ids_are_the_beginning_of_the_hash() -> None:
    keys, _ = ApiKeys().created("desk-1", ["rest:market"], NOW)
    assert keys.by_id[keys.keys[0].hash[:12]] is keys.keys[0]
