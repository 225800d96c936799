from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.keys import NO_KEYS
from gateway.access.redaction import redacted
from tests.fixtures.issuer import token


@pytest.mark.parametrize(
    "secret",
    [token(), token()[:60], NO_KEYS.created("a", ["rest:*"], 1)[1], "apk_short_key"],
    # Names of their own: a key is random, and every process of the tests must find the same ones.
    ids=["token", "part of a token", "key", "short key"],
)
def test_credentials_are_not_repeated(secret: str) -> None:
    for text in (secret, f"found '{secret}'", f'{{"token":"{secret}"}}', f"Authorization: Bearer {secret}"):
        assert secret[8:] not in redacted(text)
        assert "***" in redacted(text)


def test_the_rest_stays() -> None:
    assert redacted("query venue: unknown; known: symbol") == "query venue: unknown; known: symbol"
    assert redacted("header Bearer canary-7, symbol BTC-USD") == "header Bearer ***, symbol BTC-USD"


@given(st.text())
def test_it_takes_any_text(text: str) -> None:
    assert redacted(redacted(text)) == redacted(text)
