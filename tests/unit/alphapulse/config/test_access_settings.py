from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from alphapulse.config import AccessSettings, environment, load
from alphapulse.errors import ConfigError

SECRET = "canary-secret-of-thirty-two-bytes-or-more"
ISSUED = {"issuer": "https://login.example", "audience": "alphapulse"}


def test_reading_is_open_by_default_and_no_token_is_accepted() -> None:
    assert AccessSettings().mode == "open"
    assert not AccessSettings().allow_public
    assert not AccessSettings().accepts_tokens


@pytest.mark.parametrize(
    "given", [{"secret": SECRET}, {"public_key_path": Path("a.pem")}, {"jwks_url": "https://login.example/keys"}]
)
def test_tokens_need_issuer_and_audience(given: dict[str, Any]) -> None:
    assert AccessSettings(**ISSUED, **given).accepts_tokens
    for missing in ISSUED:
        with pytest.raises(ValidationError, match=f"{missing}\n.*must be set, because {next(iter(given))} is"):
            AccessSettings(**{**ISSUED, missing: ""}, **given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"secret": "short"}, "must have at least 32 bytes, has 5"),
        ({"jwks_url": "http://login.example/keys"}, r"http:// is accepted for loopback addresses only"),
        ({"jwks_url": "http://10.0.0.1/keys"}, r"http:// is accepted for loopback addresses only"),
        ({"jwks_url": "ftp://login.example"}, "must be https://host or http://host"),
        ({"trusted_proxies": ["10.0.0.1/8"]}, r"must be a network such as 10\.0\.0\.0/8"),
        ({"trusted_proxies": ["proxy"]}, "must be a network"),
        ({"mode": "closed"}, "'open' or 'required'"),
        ({"requests_per_second": 0}, "greater than 0"),
        ({"scope_claim": ""}, "must not be empty"),
    ],
)
def test_what_is_wrong_is_told(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        AccessSettings(**ISSUED, **given)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/k", "http://localhost/k", "http://[::1]/k", "https://a.example/k"])
def test_keys_are_fetched_in_clear_from_this_machine_only(url: str) -> None:
    assert AccessSettings(**ISSUED, jwks_url=url).jwks_url == url


def test_the_secret_comes_from_a_file_and_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jwt").write_text(SECRET + "\n", encoding="utf-8")
    monkeypatch.setenv("ALPHAPULSE_GATEWAY__ACCESS__SECRET_FILE", str(tmp_path / "jwt"))
    monkeypatch.setenv("ALPHAPULSE_GATEWAY__ACCESS__ISSUER", "https://login.example")
    with pytest.raises(ConfigError, match=r"gateway\.access\.audience: must be set") as refused:
        load()
    assert SECRET not in str(refused.value)
    monkeypatch.setenv("ALPHAPULSE_GATEWAY__ACCESS__AUDIENCE", "alphapulse")
    monkeypatch.setenv("ALPHAPULSE_GATEWAY__ACCESS__KEYS_PATH", str(tmp_path / "keys.json"))
    monkeypatch.setenv("ALPHAPULSE_GATEWAY__ACCESS__TRUSTED_PROXIES", "10.0.0.0/8,fd00::/8")
    settings = load()
    access = settings.gateway.access
    assert access.secret.get_secret_value() == SECRET
    assert access.keys_path == tmp_path / "keys.json"
    assert access.trusted_proxies == ("10.0.0.0/8", "fd00::/8")
    assert SECRET not in repr(settings)
    assert environment(settings)["ALPHAPULSE_GATEWAY__ACCESS__SECRET"] == SECRET


def test_a_short_secret_is_not_shown_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHAPULSE_GATEWAY__ACCESS__SECRET", "canary-short")
    with pytest.raises(ConfigError, match="must have at least 32 bytes") as refused:
        load()
    assert "canary" not in str(refused.value)


def test_a_url_with_a_password_is_not_shown() -> None:
    access = AccessSettings(**ISSUED, jwks_url="https://user:canary@login.example/keys")
    assert "canary" not in repr(access)
