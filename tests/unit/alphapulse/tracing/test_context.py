from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from alphapulse import logs
from alphapulse.config import LogSettings
from alphapulse.tracing import HEADER, TraceContext, context_of, kept, logged

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HERE = TraceContext(int(TRACE, 16), int(SPAN, 16))


def test_the_header_is_that_of_w3c() -> None:
    assert HERE.headers == [("traceparent", f"00-{TRACE}-{SPAN}-01".encode())]
    assert context_of(HERE.headers) == HERE


def test_small_ids_keep_their_zeros() -> None:
    assert TraceContext(1, 2).headers == [(HEADER, b"00-" + b"0" * 31 + b"1-" + b"0" * 15 + b"2-01")]


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff\xfe\x00",
        "00-text-instead-of-bytes",
        f"00-{TRACE}-{SPAN}".encode(),
        f"00-{TRACE}-{SPAN}-00".encode(),  # not sampled
        f"00-{TRACE}-{SPAN}-01-more".encode(),  # version 00 has four fields
        f"ff-{TRACE}-{SPAN}-01".encode(),
        f"00-{TRACE.upper()}-{SPAN}-01".encode(),
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE}-{SPAN}-01\n".encode(),
        f" 00-{TRACE}-{SPAN}-01".encode(),
    ],
)
def test_a_header_that_is_none_is_ignored(value: bytes | None) -> None:
    assert context_of([(HEADER, value)]) is None
    assert kept([(HEADER, value)]) is None


@pytest.mark.parametrize("value", [f"01-{TRACE}-{SPAN}-01-more", f"00-{TRACE}-{SPAN}-ff", f"cc-{TRACE}-{SPAN}-03"])
def test_later_versions_and_other_flags_are_read(value: str) -> None:
    assert context_of([(HEADER, value.encode())]) == HERE


def test_other_headers_do_not_matter() -> None:
    others: list[tuple[str, bytes | None]] = [("content-type", b"avro"), ("Traceparent", b"x"), ("none", None)]
    assert context_of(others) is None
    assert context_of([*others, *HERE.headers]) == HERE
    assert kept([*others, *HERE.headers]) == HERE.headers


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure(LogSettings(format="json"), service="gateway", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def test_lines_about_a_traced_record_have_its_trace_id(lines: io.StringIO) -> None:
    with logged(HERE.headers):
        logs.get("gateway").warning("ours")
        logging.getLogger("library").warning("a library's")
    logs.get("gateway").warning("later")
    with logged([(HEADER, b"junk")]):
        logs.get("gateway").warning("untraced")
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [line.get("trace_id") for line in told] == [TRACE, TRACE, None, None]
