"""Texts of faults: what they hide."""

from __future__ import annotations

import pytest

from alphapulse.config.faults import without_password


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://desk:secret@host/x", "https://***@host/x"),
        ("https://desk:p@ss@host", "https://***@host"),
        ("https://desk:pa/ss@host", "https://***@host"),
        ("https://secret@host", "https://***@host"),
        ("https://host/?password=secret&a=1", "https://host/?password=***&a=1"),
        ("https://host/?a=1&access_token=secret", "https://host/?a=1&access_token=***"),
        ("no answer from 'https://desk:se'cret@host/': refused", "no answer from 'https://***@host/': refused"),
        ("https://host:8081/subjects?deleted=true", "https://host:8081/subjects?deleted=true"),
    ],
)
def test_addresses_are_shown_without_credentials(address: str, shown: str) -> None:
    assert without_password(address) == shown
