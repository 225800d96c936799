"""producers.venue_server.wire"""

from __future__ import annotations

from producers.venue_server.wire import is_text, joined


def test_frames_of_every_length_have_their_header() -> None:
    for length, header in (
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ):
        for _ in range(2):
            assert joined([b"x" * length]) == header + b"x" * length


def test_what_is_no_text_is_binary_among_text() -> None:
    assert joined([b"a", "ü".encode(), b"\xff"]) == b"\x81\x01a\x81\x02\xc3\xbc\x82\x01\xff"
    assert joined([]) == b""
    assert is_text(b"")
    assert not is_text(b"\xc3")
