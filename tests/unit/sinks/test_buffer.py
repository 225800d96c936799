from __future__ import annotations

import pytest
from aiokafka import TopicPartition

from sinks import buffer
from sinks.buffer import FetchBuffer, Message
from tests.fixtures.log import message

KEY = TopicPartition("md.trades", 0)
OTHER = TopicPartition("md.l2", 3)


def messages(key: TopicPartition, *offsets: int, size: int = 10) -> list[Message]:
    return [message(key, offset, b"x" * size) for offset in offsets]


def test_counts_messages_bytes_and_the_oldest() -> None:
    made = FetchBuffer()
    assert (made.records, made.bytes) == (0, 0)
    made.add(KEY, messages(KEY, 1, 2), 7.0)
    made.add(OTHER, messages(OTHER, 5), 8.0)
    assert (made.records, made.bytes, made.oldest) == (3, 30, 7.0)


def test_hands_out_what_is_undecoded_once_and_in_order() -> None:
    made = FetchBuffer()
    made.add(KEY, messages(KEY, 1, 2), 7.0)
    made.add(OTHER, messages(OTHER, 5), 8.0)
    made.add(KEY, messages(KEY, 3), 9.0)
    handed = {key: [each.offset for each in of_key] for key, of_key in made.undecoded().items()}
    assert handed == {KEY: [1, 2, 3], OTHER: [5]}
    assert made.undecoded() == {}
    # What was decoded is still of the batch.
    made.add(KEY, messages(KEY, 4), 10.0)
    assert (made.records, made.bytes, made.oldest) == (5, 50, 7.0)


def test_many_messages_or_bytes_are_decoded_before_the_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "DECODE_RECORDS", 3)
    monkeypatch.setattr(buffer, "DECODE_BYTES", 100)
    made = FetchBuffer()
    made.add(KEY, messages(KEY, 1, 2), 7.0)
    assert [made.decode_now] == [False]
    made.add(KEY, messages(KEY, 3), 7.0)
    assert [made.decode_now] == [True]
    made.undecoded()
    assert [made.decode_now] == [False]
    made.add(KEY, messages(KEY, 4, size=100), 7.0)
    assert [made.decode_now] == [True]


def test_a_message_without_value_has_no_size() -> None:
    made = FetchBuffer()
    made.add(KEY, messages(KEY, 1, size=0), 7.0)
    assert (made.records, made.bytes) == (1, 0)
