from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.fixtures import market
from tests.fixtures.gateway_v2 import BenchV2
from tests.fixtures.market import START
from tests.fixtures.stream_v2 import FollowedBook, sides_of

BOOK: dict[str, Any] = {"op": "subscribe", "channel": "book", "venue": "kraken", "symbol": "BTC-USD"}
BBO = BOOK | {"channel": "bbo"}
MS = 1_000_000


def position(sequence: int, epoch: int = START) -> list[dict[str, Any]]:
    return [{"venue": "kraken", "symbol": "BTC-USD", "epoch": str(epoch), "sequence": sequence}]


@pytest.mark.parametrize("levels", [1, 5, 10, 20])
def test_only_the_best_levels_are_told(levels: int) -> None:
    bench = BenchV2()
    depth = market.depth([(1000 - n, 1 + n) for n in range(20)], [(1001 + n, 1 + n) for n in range(20)])
    bench.put(depth)
    client = bench.client()
    book = FollowedBook()
    (snapshot,) = client.say(**BOOK | {"levels": levels, "checksum": True})[2:]
    book.apply(snapshot)
    assert book.sides == sides_of(depth, levels)
    best_gone = replace(
        depth,
        sequence=2,
        bid_prices=depth.bid_prices[1:],
        bid_sizes=depth.bid_sizes[1:],
    )
    bench.put(best_gone)
    (delta,) = client.read()
    book.apply(delta)
    assert book.sides == sides_of(best_gone, levels)
    assert len(delta["bids"]) == (2 if levels < 20 else 1), "one leaves, one enters"


def test_what_does_not_concern_the_best_levels_is_told_once_a_second() -> None:
    bench = BenchV2()
    client = bench.client()
    bench.put(market.depth(sequence=1, received_time=START))
    client.say(**BOOK | {"levels": 1})
    bench.put(market.depth([(100, 5), (99, 9)], sequence=2, received_time=START + 500 * MS))
    assert client.read() == []
    bench.put(market.depth([(100, 5), (99, 9)], sequence=2, received_time=START + 1000 * MS))
    (delta,) = client.read()
    assert (delta["previous_sequence"], delta["sequence"], delta["bids"]) == (1, 2, [])


def test_faults_are_told_at_once_whatever_the_interval() -> None:
    bench = BenchV2()
    client = bench.client()
    bench.put(market.depth(sequence=1))
    client.say(**BOOK | {"interval_ms": 1000})
    bench.put(market.depth([(100, 9)], sequence=2))
    assert client.read() == []
    bench.put(market.depth((), (), sequence=3, valid=False))
    (snapshot,) = client.read()
    assert (snapshot["valid"], snapshot["reason"], snapshot["sequence"]) == (False, "invalid", 3)
    bench.tick.advance(1)
    assert client.read() == []
    bench.put(market.depth(sequence=0, epoch=START + 1, received_time=bench.tick.clock()))
    bench.tick.advance(1)
    (snapshot,) = client.read()
    assert (snapshot["valid"], snapshot["epoch"]) == (True, str(START + 1))
    bench.tick.advance(5.1)
    assert client.read()[-1]["reason"] == "stale"


def test_a_newcomer_joins_what_the_others_know() -> None:
    bench = BenchV2()
    bench.put(market.depth(sequence=1))
    first, second = bench.client(), bench.client()
    paced = BOOK | {"interval_ms": 250, "checksum": True}
    first.say(**paced)
    bench.put(market.depth([(100, 9)], sequence=2))
    snapshot = second.say(**paced)[-1]
    assert snapshot["sequence"] == 1
    bench.tick.advance(0.25)
    (one,), (other,) = first.read(), second.read()
    assert one == other
    assert (one["previous_sequence"], one["sequence"]) == (1, 2)


def test_one_delta_continues_from_any_position_known() -> None:
    bench = BenchV2()
    walk = [market.depth([(100, 5 + n), (99 - n, 1)], sequence=n) for n in range(1, 6)]
    bench.put(*walk)
    for before in walk[:-1]:
        client = bench.client()
        book = FollowedBook()
        book.apply(bench.client().say(**BOOK)[-1])
        answer, delta = client.say(**BOOK | {"since": position(before.sequence), "checksum": True})[1:]
        assert answer["feeds"][0]["recovered"] is True
        assert (delta["previous_sequence"], delta["sequence"]) == (before.sequence, 5)
        book.bids, book.asks = sides_of(before)
        book.sequence = before.sequence
        book.apply(delta)
        assert book.sides == sides_of(walk[-1])
    (answer,) = bench.client().say(**BOOK | {"since": position(5)})[1:]
    assert answer["feeds"][0]["recovered"] is True, "nothing was missed, nothing is sent"


@pytest.mark.parametrize(
    "since",
    [position(4), position(99), position(2, START + 1), position(0, 0), position(-1)],
)
def test_an_unknown_position_gets_a_snapshot(since: list[dict[str, Any]]) -> None:
    bench = BenchV2()
    bench.put(market.depth(sequence=2), market.depth(sequence=7))
    for fields in (BOOK, BBO):
        answer, first = bench.client().say(**fields | {"since": since})[1:]
        assert answer["feeds"][0]["recovered"] is False
        assert first["type"] == ("snapshot" if fields is BOOK else "bbo")


def test_a_position_in_another_epoch_or_of_a_faulty_book_is_not_continued() -> None:
    bench = BenchV2()
    bench.put(market.depth(sequence=2), market.depth(sequence=1, epoch=START + 1))
    answer, snapshot = bench.client().say(**BOOK | {"since": position(2)})[1:]
    assert (answer["feeds"][0]["recovered"], snapshot["epoch"]) == (False, str(START + 1))
    bench.put(market.depth((), (), sequence=2, epoch=START + 1, valid=False))
    answer, snapshot = bench.client().say(**BOOK | {"since": position(1, START + 1)})[1:]
    assert (answer["feeds"][0]["recovered"], snapshot["reason"]) == (False, "invalid")


def test_positions_of_other_feeds_are_ignored() -> None:
    bench = BenchV2()
    answer = bench.client().say(**BOOK | {"since": [position(1)[0] | {"symbol": "ETH-USD"}]})[1]
    assert answer["feeds"][0]["recovered"] is None


def test_bbo_tells_changes_of_the_best_quotes_only() -> None:
    bench = BenchV2()
    client = bench.client()
    bench.put(market.depth(sequence=1, received_time=START))
    (first,) = client.say(**BBO)[2:]
    assert (first["bid"], first["ask"]) == (["1", "0.005"], ["1.01", "0.007"])
    bench.put(market.depth([(100, 5), (98, 1)], sequence=2, received_time=START + MS))
    assert client.read() == []
    bench.put(market.depth([(100, 6)], (), sequence=3, received_time=START + 2 * MS))
    (bbo,) = client.read()
    assert (bbo["bid"], bbo["ask"], bbo["sequence"]) == (["1", "0.006"], None, 3)
    bench.put(market.depth([(100, 6)], (), sequence=3, received_time=START + 1000 * MS))
    assert [each["sequence"] for each in client.read()] == [3], "about once a second"
    bench.put(market.depth((), (), sequence=4, valid=False, received_time=START + 1001 * MS))
    (bbo,) = client.read()
    assert (bbo["valid"], bbo["reason"], bbo["bid"], bbo["ask"]) == (False, "invalid", None, None)


def test_bbo_continues_with_the_newest() -> None:
    bench = BenchV2()
    bench.put(market.depth(sequence=1), market.depth([(100, 9)], sequence=2))
    answer, bbo = bench.client().say(**BBO | {"since": position(1)})[1:]
    assert (answer["feeds"][0]["recovered"], bbo["sequence"]) == (True, 2)
    (answer,) = bench.client().say(**BBO | {"since": position(2)})[1:]
    assert answer["feeds"][0]["recovered"] is True


def test_a_record_without_bytes_is_no_position() -> None:
    bench = BenchV2()
    bench.put(market.depth(sequence=1))
    bench.hub.apply(market.depth(sequence=2), START)
    bench.put(market.depth(sequence=3))
    answers = [bench.client().say(**BOOK | {"since": position(sequence)})[1] for sequence in (1, 2)]
    assert [answer["feeds"][0]["recovered"] for answer in answers] == [True, False]
