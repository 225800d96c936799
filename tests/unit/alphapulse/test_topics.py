"""The list of topics."""

from __future__ import annotations

from alphapulse import topics
from alphapulse.topics import STATE_TOPICS, TOPICS, Topic


def test_every_name_is_a_topic_once() -> None:
    names = [value for name, value in vars(topics).items() if name.isupper() and isinstance(value, str)]
    assert sorted(names) == sorted(topic.name for topic in (*TOPICS, *STATE_TOPICS))


def test_all_topics_share_partitions_so_that_keys_stay_together() -> None:
    assert {topic.partitions for topic in (*TOPICS, *STATE_TOPICS)} == {topics.PARTITIONS}


def test_no_topic_of_deltas_is_compacted() -> None:
    assert not any(topic.compacted for topic in TOPICS)


def test_broker_settings() -> None:
    assert Topic("x", 5).broker_config() == {
        "cleanup.policy": "delete",
        "retention.ms": "5",
        "max.message.bytes": "16777216",
    }
    assert Topic("x", 5, compacted=True).broker_config()["cleanup.policy"] == "compact"
