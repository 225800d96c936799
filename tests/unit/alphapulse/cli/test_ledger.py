"""The account of a run: what was published, what is stored, and exactly what is not."""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.cli.ledger import Account, Ledger
from alphapulse.kafka.lag import GroupLag, PartitionLag

SINKS = {"sink-clickhouse": "ch", "sink-parquet": "pq"}
READ: Mapping[str, tuple[str, ...]] = {
    "proc": ("md.l2", "md.depth"),
    "ch": ("md.l2", "md.candles"),
    "pq": ("md.l2",),
}

Offsets = Mapping[tuple[str, int], int]


def groups(ends: Offsets, commits: Mapping[str, Offsets], starts: Offsets | None = None) -> dict[str, GroupLag]:
    return {
        group: GroupLag(
            group,
            {
                TopicPartition(*key): PartitionLag((starts or {}).get(key, 0), end, commits.get(group, {}).get(key))
                for key, end in ends.items()
                if key[0] in topics
            },
        )
        for group, topics in READ.items()
    }


NOTHING = groups({("md.l2", 0): 0, ("md.l2", 1): 0, ("md.depth", 0): 0, ("md.candles", 0): 0}, {})
ENDS = {("md.l2", 0): 1000, ("md.l2", 1): 500, ("md.depth", 0): 300, ("md.candles", 0): 20}


def close(
    commits: Mapping[str, Offsets],
    *,
    begin: Mapping[str, GroupLag] = NOTHING,
    starts: Offsets | None = None,
    acknowledged: Mapping[str, int] | None = None,
    dropped: Mapping[str, int] | None = None,
    endings: Mapping[str, str] | None = None,
) -> Account:
    return Ledger(SINKS, ("processors", "proc"), begin).close(
        groups(ENDS, commits, starts),
        acknowledged=acknowledged or {},
        dropped=dropped or {},
        endings=endings or {},
    )


ALL = {"proc": ENDS, "ch": ENDS, "pq": ENDS}


def test_all_is_stored() -> None:
    account = close(ALL, acknowledged={"md.l2": 1500, "md.candles": 20}, dropped={"sink-parquet": 0})
    assert account == Account(published={"md.l2": 1500, "md.candles": 20})
    assert account.complete
    # What no sink stores (md.depth) is not among the records.
    assert account.lines("data/demo", kept=False) == ["1,520 records, all stored in data/demo"]


def test_what_a_sink_has_not_committed_is_told_by_topic() -> None:
    account = close({**ALL, "ch": {**ENDS, ("md.l2", 1): 450, ("md.candles", 0): 19}, "pq": {("md.l2", 0): 1000}})
    assert account.unstored == {"sink-clickhouse": {"md.l2": 50, "md.candles": 1}, "sink-parquet": {"md.l2": 500}}
    assert not account.complete
    assert account.lines("out", kept=False) == [
        "1,520 records published; stored in out except:",
        "  sink-clickhouse has not stored 51 records (md.candles 1, md.l2 50)",
        "  sink-parquet has not stored 500 records (md.l2 500)",
        "  unread records: they were only in memory and are lost",
    ]
    assert account.lines("out", kept=True)[-1] == "  unread records: the next run with the same folder reads them"


def test_who_has_left_something() -> None:
    ledger = Ledger(SINKS, ("processors", "proc"), NOTHING)
    assert ledger.unread(groups(ENDS, ALL)) == {}
    behind = {**ALL, "proc": {**ENDS, ("md.depth", 0): 1}, "pq": {**ENDS, ("md.l2", 1): 499}}
    assert ledger.unread(groups(ENDS, behind)) == {"processors": {"md.depth": 299}, "sink-parquet": {"md.l2": 1}}


def test_what_the_processors_have_not_read_is_told() -> None:
    account = close({**ALL, "proc": {**ENDS, ("md.depth", 0): 290}})
    assert account.unprocessed == {"md.depth": 10}
    expected = "  processors have not read 10 records (md.depth 10); nothing was derived from them"
    assert expected in account.lines("out", kept=False)


def test_what_the_broker_dropped_before_the_sink_committed_is_not_stored() -> None:
    late = {("md.l2", 0): 100, ("md.l2", 1): 500}
    account = close({**ALL, "pq": late}, starts={("md.l2", 0): 700}, dropped={"sink-clickhouse": 7})
    assert account.unstored == {"sink-parquet": {"md.l2": 900}}
    assert account.dropped == {"sink-clickhouse": 7}
    assert "  sink-clickhouse: the broker dropped 7 unread" in account.lines("out", kept=False)


def test_a_sink_that_never_committed_has_stored_nothing_of_this_run() -> None:
    older = groups({**ENDS, ("md.l2", 0): 900}, {}, {("md.l2", 0): 600})
    account = close({**ALL, "pq": {}}, begin=older, starts={("md.l2", 0): 950})
    assert account.published == {"md.l2": 100, "md.candles": 0}
    assert account.unstored == {"sink-parquet": {"md.l2": 400 + 500}}


def test_records_of_earlier_runs_are_not_counted_but_told_if_they_are_left() -> None:
    older = groups({**ENDS, ("md.l2", 0): 900}, {**ALL, "pq": {**ENDS, ("md.l2", 0): 800}})
    account = close({**ALL, "pq": {**ENDS, ("md.l2", 0): 850}}, begin=older)
    assert sum(account.published.values()) == 100
    assert account.unstored == {"sink-parquet": {"md.l2": 150}}


def test_what_was_acknowledged_and_is_not_on_the_broker_is_told() -> None:
    account = close(ALL, acknowledged={"md.l2": 1503, "md.candles": 10, "ops.events": 5})
    assert account.vanished == {"md.l2": 3}
    assert any("the broker lost 3 records (md.l2 3)" in line for line in account.lines("out", kept=True))


def test_an_end_in_bad_order_is_told() -> None:
    account = close(ALL, endings={"collector-kraken": "3 records were not acknowledged", "gateway": ""})
    assert not account.complete
    assert account.lines("out", kept=False) == [
        "1,520 records, all stored in out",
        "  collector-kraken did not end cleanly: 3 records were not acknowledged",
    ]


def test_without_offsets_nothing_is_claimed() -> None:
    account = Account(unknown="the broker is gone", endings={"processors": "killed"})
    assert not account.complete
    assert account.lines("out", kept=True) == [
        "the number of stored records is unknown: the broker is gone",
        "  processors did not end cleanly: killed",
    ]


@given(st.dictionaries(st.sampled_from(sorted(ENDS)), st.integers(0, 300), max_size=4), st.sampled_from(["ch", "pq"]))
def test_published_is_stored_plus_unstored(left: Offsets, group: str) -> None:
    mine = {key: end for key, end in ENDS.items() if key[0] in READ[group]}
    commits = {key: max(end - left.get(key, 0), 0) for key, end in mine.items()}
    account = close({**ALL, group: commits})
    name = next(name for name, found in SINKS.items() if found == group)
    stored = sum(commits.values())
    published = sum(count for topic, count in account.published.items() if topic in READ[group])
    assert stored + sum(account.unstored.get(name, {}).values()) == published
    assert account.complete is (stored == published)
