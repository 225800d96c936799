from __future__ import annotations

import pytest

from producers.feed.subscriptions import ANSWER_SECONDS, LONGEST_PAUSE, Item, Subscriptions

A, B, C, D = (("book", name) for name in "ABCD")


def deaf(item: Item, before: int) -> bool:
    return False


def asked(ledger: Subscriptions, number: int, *items: Item) -> None:
    ledger.asked(number, "subscribe", dict.fromkeys(items, 0))


def again(ledger: Subscriptions, now: float) -> list[tuple[Item, ...]]:
    return [tuple(items) for items in ledger.look(now, deaf)[0]]


def test_pauses_double_up_to_the_longest_and_begin_anew_once_confirmed() -> None:
    ledger = Subscriptions()
    pauses = [ledger.refuse([A], "no") for _ in range(12)]
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, LONGEST_PAUSE, LONGEST_PAUSE]
    assert ledger.refused == {A: "no"}
    ledger.confirm([A])
    assert ledger.refused == {}
    assert again(ledger, 1e6) == []
    assert ledger.refuse([A], "no") == 1


def test_what_was_never_answered_is_found_once_an_answer_could_have_been_seen() -> None:
    ledger = Subscriptions()
    asked(ledger, 1, A, B)
    ledger.look(0.0, deaf)
    assert ledger.look(1000.0, deaf)[1] == [], "nothing could be read meanwhile"
    for second in range(1, int(ANSWER_SECONDS) - 2):
        assert ledger.look(1000.0 + second, deaf)[1] == []
    _, unanswered = ledger.look(1000.0 + ANSWER_SECONDS, lambda item, before: item == B)
    assert unanswered == [A], "what comes of B answers for it"
    assert ledger.look(1100.0, deaf)[1] == []


def test_a_named_symbol_is_refused_alone_and_the_others_are_asked_for_at_once() -> None:
    found = Subscriptions().refuse_whole([A, B, C], {"B"}, "no B", passing=False)
    assert (found.alone, found.again, found.pause) == ([B], [A, C], 1)


def test_a_refusal_that_names_nothing_is_halved_until_the_bad_one_stands_alone() -> None:
    ledger = Subscriptions()
    open_: list[tuple[Item, ...]] = [(A, B, C, D)]
    good: set[Item] = set()
    alone: list[Item] = []
    for now in range(10):
        for items in open_:
            if C not in items:
                good |= {*items}
                ledger.confirm(items)
            elif found := ledger.refuse_whole(items, (), "no", passing=False):
                alone += found.alone
        open_ = again(ledger, now)
    assert good == {A, B, D}
    assert set(alone) == {C}


def test_a_refusal_in_passing_is_repeated_as_a_whole_before_it_is_halved() -> None:
    ledger = Subscriptions()
    pauses = [ledger.refuse_whole([A, B], (), "rate", passing=True).pause for _ in range(3)]
    assert pauses == [1, 2, 0]
    assert again(ledger, 5) == [(A,), (B,)]


def test_only_some_requests_are_made_again_at_a_time() -> None:
    ledger = Subscriptions()
    for number in range(10):
        ledger.refuse([("book", str(number))], "no")
    ledger.look(0.0, deaf)
    assert [len(again(ledger, 10 + now)) for now in range(4)] == [4, 4, 2, 0]


def test_a_new_connection_asks_soon_and_apart_for_what_was_refused() -> None:
    ledger = Subscriptions()
    asked(ledger, 1, A, B)
    ledger.refuse([B], "no")
    for _ in range(8):
        assert ledger.refuse([B], "no") > 1
    ledger.disconnected()
    assert ledger.oldest() is None
    assert ledger.apart(B)
    assert not ledger.apart(A)
    assert again(ledger, 0.0) == [(B,)]
    assert ledger.refuse([B], "no") == 512, "the pauses go on growing"


def test_what_is_given_up_is_forgotten() -> None:
    ledger = Subscriptions()
    ledger.refuse([A], "no")
    asked(ledger, 1, A, B)
    ledger.forget("A")
    assert ledger.refused == {}
    assert list(getattr(ledger.request(1), "items", ())) == [B]
    ledger.forget("B")
    assert ledger.request(1) is None


@pytest.mark.parametrize("in_order", [False, True])
def test_unsubscriptions_are_answered_only_where_each_message_is(in_order: bool) -> None:
    ledger = Subscriptions(in_order=in_order)
    ledger.asked(1, "unsubscribe", {A: 0})
    asked(ledger, 2, A)
    assert ledger.oldest() == (1 if in_order else 2)
    assert ledger.oldest("subscribe", ["A"]) == 2
    assert ledger.oldest("subscribe", ["B"]) is None
