from __future__ import annotations

from aiokafka import TopicPartition

from schemas.codec import Codec
from sinks.replay import Outcome, Refused, decoded, passed
from tests.fixtures.records import trade

CODEC = Codec()


def test_only_what_the_sink_has_behind_it_is_replayed() -> None:
    records = [Refused("md.trades", 0, offset, b"") for offset in (3, 4)]
    records += [Refused("md.trades", 1, 3, b""), Refused("md.depth", 0, 9, b"")]
    kept, left = passed(records, "group", ("md.trades",), {TopicPartition("md.trades", 0): 4})
    assert kept == [records[0], records[3]]
    assert left == [
        (
            ("md.trades", 0, 4),
            "the sink may still read it (its group group has committed up to offset 4): replay it again later",
        ),
        (
            ("md.trades", 1, 3),
            "the sink may still read it (its group group has committed nothing of it): replay it again later",
        ),
    ]


def test_a_place_is_one_record_however_many_services_refused_it() -> None:
    value = CODEC.encode(trade(1))
    outcome = Outcome()
    records = [Refused("md.trades", 2, 7, value)] * 3 + [
        Refused("md.trades", 2, 8, value[:-1]),
        Refused("md.l2", 2, 8, value),
        Refused("dlq", 0, 1, value),
        Refused("else", 0, 1, value),
    ]
    assert decoded(CODEC, records, outcome) == {"md.trades": [(records[0], trade(1))]}
    reasons = dict(outcome.refused)
    assert reasons.keys() == {("md.trades", 2, 8), ("md.l2", 2, 8), ("dlq", 0, 1), ("else", 0, 1)}
    assert reasons["dlq", 0, 1] == reasons["else", 0, 1] == "no table takes records of it"
