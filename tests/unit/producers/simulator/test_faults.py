"""producers.simulator.faults: each kind, alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from producers.simulator.faults import RestFault, Sent, VenueFaults
from producers.simulator.scripts import KINDS, Fault
from tests.fixtures.fault_scripts import random_script

S = 1_000_000_000


def frame(number: int) -> bytes:
    return b'{"number":%d,"checksum":%d}' % (number, number + 100)


def sent(faults: VenueFaults, count: int, symbol: str = "BTC-USD", step_ns: int = 1) -> list[list[Sent]]:
    return [list(faults.frame("t", symbol, frame(n), n * step_ns)) for n in range(1, count + 1)]


def numbers(parts: list[list[Sent]]) -> list[list[int]]:
    return [[one.number for one in part] for part in parts]


def test_frames_that_nothing_befalls_need_no_look() -> None:
    faults = VenueFaults("", [Fault(kind="drop", frame=4), Fault(kind="mute", at=1.0, seconds=1.0)])
    assert not faults.passes(0)  # nobody has looked yet
    assert [one.number for one in faults.frame("t", "", b"{}", 0)] == [1]
    assert [faults.passes(0) for _ in range(3)] == [True, True, False]
    assert faults.number == 3
    assert faults.frame("t", "", b"{}", 0) == []
    assert not faults.passes(2_000_000_000)


def test_without_faults_every_frame_passes_as_it_is() -> None:
    assert sent(VenueFaults(), 3) == [[Sent("t", n, frame(n))] for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(kind="drop", frame=2, count=2), [[1], [], [], [4], [5]]),
        (Fault(kind="duplicate", frame=2, count=2), [[1], [2, 2, 2], [3], [4], [5]]),
        (Fault(kind="reorder", frame=2, count=2), [[1], [], [3], [4, 2], [5]]),
        (Fault(kind="stall", frame=2, seconds=2.0), [[1], [], [], [2, 3, 4], [5]]),
        (Fault(kind="mute", frame=2, seconds=2.0), [[1], [], [], [4], [5]]),
        (Fault(kind="drop", at=3.0), [[1], [2], [], [4], [5]]),
        (Fault(kind="drop", frame=2, symbol="ETH-USD"), [[1], [2], [3], [4], [5]]),
        (Fault(kind="drop", frame=2, venue="kraken"), [[1], [], [3], [4], [5]]),
        (Fault(kind="drop", frame=2, venue="binance"), [[1], [2], [3], [4], [5]]),
        (Fault(kind="cut_snapshot", frame=2), [[1], [2], [3], [4], [5]]),
    ],
    ids=str,
)
def test_which_frames_come(fault: Fault, expected: list[list[int]]) -> None:
    assert numbers(sent(VenueFaults("kraken", [fault]), 5, step_ns=S)) == expected


def test_lost_trades_wait_for_frames_about_trades() -> None:
    faults = VenueFaults("k", [Fault(kind="drop_trades", frame=1, count=2, symbol="A")])
    topics = [("book", "A"), ("trades", "B"), ("trades", "A"), ("book", "A"), ("trades", "A"), ("trades", "A")]
    came = [bool(faults.frame((feed, symbol, ""), symbol, b"x", 0)) for feed, symbol in topics]
    assert came == [True, True, False, True, False, True]


def test_only_what_proves_life_comes() -> None:
    faults = VenueFaults("k", [Fault(kind="only_heartbeats", frame=2, seconds=2.0)])
    assert numbers(sent(faults, 5, step_ns=S)) == [[1], [], [], [4], [5]]
    faults = VenueFaults("k", [Fault(kind="only_heartbeats", frame=1, seconds=9.0)])
    assert not faults.frame("t", "s", b"1", 0)
    assert [one.frame for one in faults.life("c", b"beat", S)] == [b"beat"]
    assert [one.frame for one in faults.answer("c", b"answer", S)] == [b"answer"]
    faults.connected()
    assert faults.frame("t", "s", b"2", S)


def test_what_proves_life_does_not_come() -> None:
    faults = VenueFaults("k", [Fault(kind="no_heartbeats", at=1.0, seconds=2.0)])
    assert [bool(faults.life("c", b"beat", time * S)) for time in range(4)] == [True, False, False, True]
    assert faults.happened == {"no_heartbeats": 1}
    faults = VenueFaults("k", [Fault(kind="no_heartbeats", frame=1, seconds=2.0)])
    assert numbers(sent(faults, 3, step_ns=S)) == [[1], [2], [3]]
    assert not faults.life("c", b"beat", 2 * S)
    assert faults.answer("c", b"answer", 2 * S)
    faults.stop()
    assert faults.life("c", b"beat", 2 * S)


def test_heartbeats_wait_in_a_stall_and_a_mute_venue_has_none() -> None:
    faults = VenueFaults("k", [Fault(kind="stall", at=0.0, seconds=1.0), Fault(kind="mute", at=5.0, seconds=1.0)])
    assert not faults.life("c", b"beat", 0)
    assert [one.frame for one in faults.due(S)] == [b"beat"]
    assert not faults.life("c", b"beat", 5 * S)


def test_orders_are_shown_in_one_book_or_all_for_a_time() -> None:
    script = [Fault(kind="auction", frame=1, seconds=2.0, symbol="A"), Fault(kind="huge", frame=2, seconds=1.0)]
    faults = VenueFaults("k", script)
    assert not faults.shown("A", 0)
    sent(faults, 1, step_ns=S)
    assert [faults.shown(symbol, S) for symbol in "AB"] == [{"auction"}, set()]
    sent(faults, 1, step_ns=2 * S)
    assert [faults.shown(symbol, 2 * S) for symbol in "AB"] == [{"auction", "huge"}, {"huge"}]
    assert [faults.shown(symbol, 3 * S) for symbol in "AB"] == [set(), set()]
    assert faults.happened == {"auction": 1, "huge": 1}


def test_a_fault_of_a_symbol_waits_for_its_frame() -> None:
    faults = VenueFaults("kraken", [Fault(kind="drop", frame=1, symbol="ETH-USD")])
    assert faults.frame("t", "BTC-USD", b"1", 0)
    assert not faults.frame("t", "ETH-USD", b"2", 0)
    assert faults.frame("t", "ETH-USD", b"3", 0)
    assert faults.happened == {"drop": 1}


def test_corrupted_frames_are_no_json_whatever_the_seed() -> None:
    for seed in range(200):
        faults = VenueFaults("kraken", [Fault(kind="corrupt", frame=1)], seed=seed)
        ((one,),) = sent(faults, 1)
        assert one.damage == "corrupt"
        assert one.frame != frame(1)
        with pytest.raises(ValueError, match=r"JSON|Expecting|Unterminated|Invalid|Extra|codec"):
            json.loads(one.frame)


def test_a_wrong_checksum_waits_for_a_frame_that_has_one() -> None:
    faults = VenueFaults("kraken", [Fault(kind="checksum", frame=1)])
    assert list(faults.frame("t", "s", b"{}", 0)) == [Sent("t", 1, b"{}")]
    assert list(faults.frame("t", "s", frame(2), 0)) == [Sent("t", 2, b'{"number":2,"checksum":103}', "checksum")]


def test_what_is_on_its_way_is_lost_with_the_connection() -> None:
    faults = VenueFaults("k", [Fault(kind="reorder", frame=1, count=3), Fault(kind="disconnect", frame=2)])
    assert numbers(sent(faults, 1)) == [[]]
    (end,) = faults.frame("t", "s", b"2", 0)
    assert end.end == "close"
    faults.disconnected()
    faults.connected()
    assert [numbers([list(faults.frame("t", "s", b"x", 0))]) for _ in range(4)] == [[[3]], [[4]], [[5]], [[6]]]


def test_the_snapshot_is_cut_where_one_is_sent() -> None:
    faults = VenueFaults("k", [Fault(kind="cut_snapshot", frame=1)])
    assert [one.end for one in faults.frame("t", "s", b"update", 0)] == [""]
    assert [one.end for one in faults.frame("t", "s", b"snapshot", 0, snapshot=True)] == ["cut"]


def test_a_stall_ends_without_another_frame() -> None:
    faults = VenueFaults("k", [Fault(kind="stall", frame=1, seconds=1.0)])
    assert not faults.frame("t", "s", b"1", 0)
    assert not faults.due(S - 1)
    assert [one.number for one in faults.due(S)] == [1]
    assert not faults.due(S)


def test_pings_are_answered_but_in_a_stall() -> None:
    stalled = VenueFaults("k", [Fault(kind="stall", at=1.0, seconds=2.0)])
    assert [stalled.stalls(time * S) for time in (0, 1, 2, 3)] == [False, True, True, False]
    mute = VenueFaults("k", [Fault(kind="mute", at=1.0, seconds=2.0)])
    assert not any(mute.stalls(time * S) for time in (0, 1, 2, 3))


def test_mute_lasts_until_it_is_over_or_a_new_connection() -> None:
    faults = VenueFaults("k", [Fault(kind="mute", at=1.0, seconds=9.0)])
    assert not faults.silent(0)
    assert faults.silent(S)
    assert not faults.frame("t", "s", b"1", 2 * S)
    faults.connected()
    assert not faults.silent(3 * S)
    assert faults.frame("t", "s", b"2", 3 * S)


def test_rest_faults_and_refusals_are_used_up() -> None:
    script = [
        Fault(kind="rest_429", at=0.0, count=2, seconds=1.5),
        Fault(kind="rest_slow", at=0.0, seconds=0.5),
        Fault(kind="refuse", at=0.0, count=2),
    ]
    faults = VenueFaults("k", script)
    assert [faults.rest(0) for _ in range(4)] == [
        RestFault(429, 0.0, 2),
        RestFault(429, 0.0, 2),
        RestFault(200, 0.5, 0),
        None,
    ]
    assert [faults.refuses(0) for _ in range(3)] == [True, True, False]


def test_refusals_of_one_feed_and_of_messages_are_used_up() -> None:
    faults = VenueFaults("k", [Fault(kind="refuse_trades", at=0.0), Fault(kind="rate", at=0.0, count=2)])
    assert [faults.refuses(0, feed) for feed in ("book", "trades", "trades")] == [False, True, False]
    assert [faults.rations(0) for _ in range(3)] == [True, True, False]
    assert faults.happened == {"refuse_trades": 1, "rate": 2}


def test_a_symbol_is_unknown_for_a_while_from_its_next_subscription_on() -> None:
    script = [Fault(kind="unknown", at=0.0, seconds=2.0), Fault(kind="unknown", at=0.0, seconds=9.0, symbol="C-D")]
    faults = VenueFaults("k", script)
    assert [faults.misses("A-B", second * S) for second in (5, 6, 7)] == [True, True, False]
    assert faults.misses("C-D", 7 * S)
    assert not faults.misses("E-F", 7 * S)
    faults.stop()
    assert not faults.misses("C-D", 8 * S)


def test_the_same_seed_gives_the_same_faults() -> None:
    def course(seed: int) -> tuple[Any, ...]:
        faults = VenueFaults("k", probability=0.2, seed=seed)
        return [one.frame for part in sent(faults, 500, step_ns=S // 50) for one in part], dict(faults.happened)

    assert course(1) == course(1) != course(2)
    assert sum(course(1)[1].values()) > 30
    assert random_script(3, 1000, 20) == random_script(3, 1000, 20) != random_script(4, 1000, 20)
    assert len(random_script(3, 1000, 20)) == 20
    assert {fault.kind for fault in random_script(1, 10_000, 5000)} == set(KINDS)


def test_a_probability_of_one_strikes_every_frame() -> None:
    faults = VenueFaults("k", probability=1.0, seed=5)
    for n in range(200):
        faults.frame("t", "s", frame(n), n * S, snapshot=True)
        faults.rest(n * S)
        faults.refuses(n * S)
    assert faults.happened.total() > 150


def test_stopped_nothing_goes_wrong_any_more() -> None:
    script = [Fault(kind="reorder", frame=1, count=2), Fault(kind="drop", frame=3), Fault(kind="drop", at=0.1)]
    later = [Fault(kind="stall", frame=2, seconds=9.0), Fault(kind="rest_500", at=0.0), Fault(kind="refuse", at=0.0)]
    faults = VenueFaults("k", script + later, probability=0.5)
    sent(faults, 2)
    faults.stop()
    assert [one.number for part in sent(faults, 5, step_ns=S) for one in part] == [2, 3, 1, 4, 5, 6, 7]
    assert faults.rest(S) is None
    assert not faults.refuses(S)


def test_answers_wait_in_a_stall_and_are_lost_on_a_mute_venue() -> None:
    faults = VenueFaults("k", [Fault(kind="stall", frame=1, seconds=1.0), Fault(kind="mute", at=5.0, seconds=1.0)])
    assert [one.frame for one in faults.answer("client", b"a", 0)] == [b"a"]
    assert not faults.frame("t", "s", b"1", 0)
    assert not faults.answer("client", b"b", 1)
    assert [(one.topic, one.frame) for one in faults.due(S)] == [("t", b"1"), ("client", b"b")]
    assert not faults.answer("client", b"c", 5 * S)
    assert faults.answer("client", b"d", 6 * S)
