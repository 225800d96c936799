from __future__ import annotations

import pytest
import structlog

from gateway.origin import Origins, origin_allowed


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "127.0.0.1:8000"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://Desk.Example", "desk.example"),
        ("http://desk.example:80", "desk.example"),
        ("https://desk.example", "desk.example:443"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("http://[::1]", "[::1]:80"),
    ],
)
def test_programs_and_the_gateways_own_page_may_connect(origin: str | None, host: str) -> None:
    assert origin_allowed(origin, host, ())


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.example", "127.0.0.1:8000"),
        ("http://127.0.0.1:9000", "127.0.0.1:8000"),
        ("http://[::1", "[::1]:8000"),
        ("http://desk.example.evil.example", "desk.example"),
        ("https://desk.example", "desk.example:80"),
        ("null", "desk.example"),
        ("", "desk.example"),
        ("file://", "desk.example"),
        ("http://desk.example", None),
    ],
)
def test_other_pages_may_not(origin: str, host: str | None) -> None:
    assert not origin_allowed(origin, host, ())


def test_configured_origins_may() -> None:
    assert origin_allowed("https://Desk.example", "127.0.0.1:8000", ("https://desk.example/",))
    assert not origin_allowed("http://desk.example", "127.0.0.1:8000", ("https://desk.example",))
    assert origin_allowed("http://any.example", "127.0.0.1:8000", ("*",))


def test_refusals_do_not_fill_the_log() -> None:
    seconds = 0.0
    origins = Origins(("https://desk.example",), now=lambda: seconds)
    with structlog.testing.capture_logs() as logged:
        for number in range(50):
            text = origins.refusal("http://" + "e" * 5000, "h" * 5000, f"2001:db8::{number}")
            assert text is not None
            assert "gateway.allowed_origins" in text
            assert len(text) < 500
        assert len(logged) == 1
        assert len(logged[0]["reason"]) < 500
        assert origins.refusal("http://evil.example", None, "203.0.113.9")
        assert len(logged) == 2, "another address"
        seconds = 1.0
        assert origins.refusal("http://evil.example", None, "2001:db8::1")
        assert origins.refusal("https://desk.example", None, "2001:db8:1::1") is None
        assert len(logged) == 3
