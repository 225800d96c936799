from __future__ import annotations

from dataclasses import dataclass

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from alphapulse import topics
from alphapulse.errors import RecordRefused
from schemas.codec import Codec
from schemas.records import DeadLetter, Event, key_of
from schemas.refusals import KEY_BYTES, VALUE_BYTES, count, dead_letter, lost_records, refuse


@dataclass(frozen=True)
class Message:
    """A consumed record."""

    key: bytes | None = b"kraken|BTC-USD"
    value: bytes | None = b"junk"
    topic: str = topics.L2
    partition: int = 3
    offset: int = 2**40
    headers: tuple[tuple[str, bytes], ...] = ()


def letter_of(message: Message) -> DeadLetter:
    return dead_letter(message, RecordRefused("not in the wire format"), service="sink-test", time=17)


def test_a_dead_letter_has_the_place_the_bytes_and_the_reason() -> None:
    assert letter_of(Message()) == DeadLetter(
        time=17,
        service="sink-test",
        source=topics.L2,
        partition=3,
        offset=2**40,
        key=b"kraken|BTC-USD",
        value=b"junk",
        error="RecordRefused",
        reason="not in the wire format",
    )


@pytest.mark.parametrize(("given", "kept"), [(None, None), (b"", b"")])
def test_no_key_is_not_an_empty_key(given: bytes | None, kept: bytes | None) -> None:
    assert letter_of(Message(key=given)).key == kept


def test_a_record_without_value_has_an_empty_one_in_its_letter() -> None:
    assert letter_of(Message(value=None)).value == b""


def test_what_just_fits_is_kept_whole() -> None:
    message = Message(key=b"k" * KEY_BYTES, value=b"v" * VALUE_BYTES)
    letter = letter_of(message)
    assert (letter.key, letter.value) == (message.key, message.value)
    assert letter.reason == "not in the wire format"


def test_what_is_too_large_is_cut_says_so_and_fits_the_topic() -> None:
    letter = letter_of(Message(key=b"k" * (KEY_BYTES + 2), value=b"v" * (VALUE_BYTES + 1)))
    assert (letter.key, letter.value) == (b"k" * KEY_BYTES, b"v" * VALUE_BYTES)
    assert letter.reason == (
        "not in the wire format"
        f" (only the first {KEY_BYTES} of {KEY_BYTES + 2} bytes of the key are kept)"
        f" (only the first {VALUE_BYTES} of {VALUE_BYTES + 1} bytes of the value are kept)"
    )
    assert len(Codec().encode(letter)) + len(key_of(letter)) < topics.MAX_RECORD_BYTES - 60_000


def test_dead_letters_are_counted_by_service_and_error() -> None:
    labels = {"service": "sink-counting", "error": "RecordRefused"}
    letter = dead_letter(Message(), RecordRefused("why"), service="sink-counting", time=1)
    assert REGISTRY.get_sample_value("alphapulse_dead_letters_total", labels) is None
    count(letter)
    count(letter)
    assert REGISTRY.get_sample_value("alphapulse_dead_letters_total", labels) == 2


def test_a_loss_is_told_with_its_place_and_size() -> None:
    event = lost_records(topics.L2, 3, range(20, 55), service="processors", time=17)
    assert event == Event(
        time=17,
        service="processors",
        kind="lost_records",
        severity="ERROR",
        message="35 records of md.l2 [3] were dropped before processors read them",
        details={"topic": "md.l2", "partition": "3", "first_offset": "20", "records": "35"},
    )
    assert lost_records(topics.L2, 3, range(1), service="gateway", time=17, severity="WARNING").severity == "WARNING"


def test_a_refusal_is_counted_and_logged() -> None:
    labels = {"service": "sink-refusing", "error": "RecordRefused"}
    with capture_logs() as logged:
        letter = refuse(Message(), RecordRefused("why"), service="sink-refusing", time=1)
    assert letter == dead_letter(Message(), RecordRefused("why"), service="sink-refusing", time=1)
    assert REGISTRY.get_sample_value("alphapulse_dead_letters_total", labels) == 1
    (line,) = logged
    assert (line["event"], line["log_level"]) == ("record refused, kept in dlq", "warning")
    assert (line["topic"], line["partition"], line["offset"], line["reason"]) == (topics.L2, 3, 2**40, "why")
