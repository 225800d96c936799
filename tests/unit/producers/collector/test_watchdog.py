from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest

from alphapulse.config import VenueSettings
from producers.collector.watchdog import (
    LONGEST_SECONDS,
    SNAPSHOT_SECONDS,
    StalenessDetector,
    StalenessVerdict,
    Watchdog,
)
from producers.feed.instruments import InstrumentState
from producers.venues.coinbase.protocol import CoinbaseProtocol


def test_what_speaks_is_not_silent() -> None:
    watch = StalenessDetector(10.0)
    assert not any(watch.silent({"A": second}, second) for second in range(100))


def test_one_that_falls_silent_is_named_the_others_are_not() -> None:
    watch = StalenessDetector(10.0)
    for second in range(10):
        assert watch.silent({"A": 7, "B": second}, second) == {}
    assert watch.silent({"A": 7, "B": 10}, 10) == {"A": 10.0}
    assert watch.silent({"A": 7, "B": 11}, 11) == {}, "it has just been asked for"


def test_a_market_in_which_nothing_happens_is_asked_for_ever_more_rarely() -> None:
    watch = StalenessDetector(10.0)
    asked = []
    activity = 0
    for second in range(20_000):
        if watch.silent({"A": activity}, second):
            asked.append(second)
            activity += 1  # the snapshot that answers
    gaps = [late - early for early, late in pairwise(asked)]
    assert asked[0] == 10
    assert gaps == sorted(gaps)
    assert 2 * 10 <= gaps[0] <= 2 * 10 + 1
    assert gaps[-1] <= LONGEST_SECONDS + 1


def test_one_that_speaks_again_gets_the_old_patience() -> None:
    watch = StalenessDetector(10.0)
    watch.silent({"A": 1}, 0)
    assert watch.silent({"A": 1}, 10)
    watch.silent({"A": 2}, 11)  # the answer
    watch.silent({"A": 3}, 12)  # and more
    assert watch.silent({"A": 3}, 22) == {"A": 10.0}


def test_time_in_which_nothing_could_be_heard_does_not_count() -> None:
    watch = StalenessDetector(10.0)
    watch.silent({"A": 1}, 0)
    assert watch.silent({"A": 1}, 9, listening=False) == {}
    assert watch.silent({"A": 1}, 15) == {}
    assert watch.silent({"A": 1}, 19) == {"A": 10.0}


def test_a_symbol_given_up_is_forgotten() -> None:
    watch = StalenessDetector(10.0)
    watch.silent({"A": 1}, 0)
    watch.silent({}, 5)
    assert watch.silent({"A": 1}, 20) == {}


def test_a_request_that_waits_for_its_turn_is_given_time_and_does_not_make_it_forget() -> None:
    watch = StalenessDetector(10.0)
    watch.silent({"A": 1}, 0)
    assert watch.silent({"A": 1}, 10) == {"A": 10.0}
    for second in range(11, 40):
        assert watch.silent({"A": 1}, second, asked={"A"}) == {}
    assert watch.silent({"A": 1}, 58) == {}
    assert watch.silent({"A": 1}, 59) == {"A": 20.0}


def instruments(*symbols: str, valid: bool = True) -> dict[str, InstrumentState]:
    states = CoinbaseProtocol(VenueSettings(symbols=symbols)).instruments
    for state in states.values():
        state.book.follows = valid
    return states


def looks(
    watchdog: Watchdog, states: dict[str, InstrumentState], seconds: Iterable[int]
) -> list[tuple[int, StalenessVerdict]]:
    """Look every second; return what was said but for nothing."""
    said = [(second, watchdog.look(states, (), second, listening=True)) for second in seconds]
    return [(second, verdict) for second, verdict in said if verdict != StalenessVerdict()]


def test_a_book_without_its_snapshot_is_asked_for_again_though_updates_come() -> None:
    states = instruments("BTC-USD", "ETH-USD", valid=False)
    watchdog = Watchdog(300.0)
    for second in range(int(SNAPSHOT_SECONDS)):
        states["BTC-USD"].tally.ignored += 1
        states["ETH-USD"].tally.ignored += 1
        assert watchdog.look(states, (), second, listening=True) == StalenessVerdict()
    states["ETH-USD"].book.follows = True
    verdict = watchdog.look(states, (), SNAPSHOT_SECONDS, listening=True)
    assert verdict == StalenessVerdict(revive={"BTC-USD": SNAPSHOT_SECONDS})


def test_what_is_being_asked_for_is_not_asked_for_again() -> None:
    states = instruments("BTC-USD")
    watchdog = Watchdog(10.0)
    assert all(
        watchdog.look(states, {"BTC-USD"}, second, listening=True) == StalenessVerdict() for second in range(100)
    )


def test_a_quiet_book_is_compared_and_only_doubted_if_its_snapshot_does_not_come() -> None:
    states = instruments("BTC-USD", "ETH-USD")
    watchdog = Watchdog(300.0)
    for second in range(300):
        states["ETH-USD"].tally.deltas += 1
        assert watchdog.look(states, (), second, listening=True) == StalenessVerdict()
    assert watchdog.look(states, (), 300, listening=True) == StalenessVerdict(verify={"BTC-USD": 300.0})
    states["BTC-USD"].book.verifying = True
    for second in range(301, 331):
        states["ETH-USD"].tally.deltas += 1
        assert watchdog.look(states, (), second, listening=True) == StalenessVerdict()
    assert watchdog.look(states, (), 331, listening=True) == StalenessVerdict(revive={"BTC-USD": SNAPSHOT_SECONDS})


@pytest.mark.parametrize("figure", ["trades", "duplicate_trades"])
def test_trades_do_not_prove_the_subscription_of_the_book(figure: str) -> None:
    states = instruments("BTC-USD")
    watchdog = Watchdog(300.0)
    said = []
    for second in range(301):
        setattr(states["BTC-USD"].tally, figure, second)
        said.append(watchdog.look(states, (), second, listening=True))
    assert said[-1] == StalenessVerdict(verify={"BTC-USD": 300.0})


@pytest.mark.parametrize("figure", ["unchanged", "deltas", "snapshots", "ignored", "withheld", "crossed"])
def test_what_proves_the_subscription_of_the_book(figure: str) -> None:
    states = instruments("BTC-USD", "ETH-USD")
    watchdog = Watchdog(300.0)
    for second in range(2000):
        for state in states.values():
            setattr(state.tally, figure, second // 60)
        assert watchdog.look(states, (), second, listening=True) == StalenessVerdict()


def test_a_connection_on_which_every_snapshot_is_awaited_in_vain_is_dropped() -> None:
    states = instruments("BTC-USD", "ETH-USD")
    watchdog = Watchdog(300.0)
    assert looks(watchdog, states, range(301)) == [(300, StalenessVerdict(verify=dict.fromkeys(states, 300.0)))]
    for state in states.values():
        state.book.verifying = True
    assert looks(watchdog, states, range(301, 332)) == [(331, StalenessVerdict(revive=dict.fromkeys(states, 30.0)))]
    for state in states.values():
        state.book.follows = state.book.verifying = False
    assert (
        watchdog.look(states, (), 332, listening=True).drop
        == "connection open, but no message about any instrument for 300 s"
    )


def test_a_connection_on_which_no_book_ever_began_is_dropped() -> None:
    states = instruments("BTC-USD", "ETH-USD", valid=False)
    watchdog = Watchdog(10.0)
    watchdog.look(states, (), 0, listening=True)
    assert watchdog.look(states, (), 9, listening=True).drop == ""
    assert watchdog.look(states, (), 10, listening=True).drop.endswith("no message about any instrument for 10 s")


def test_a_quiet_night_costs_nobody_a_connection() -> None:
    """One symbol of which nothing ever comes; the others are quiet, but answer."""
    states = instruments("BTC-USD", "ETH-USD", "XXX-USD")
    states["XXX-USD"].book.follows = False
    watchdog = Watchdog(300.0)
    asked = []
    for second in range(20_000):
        verdict = watchdog.look(states, (), second, listening=True)
        assert not verdict.drop
        assert verdict.revive.keys() <= {"XXX-USD"}
        asked += [second] * ("BTC-USD" in verdict.verify)
        for symbol in verdict.verify:
            states[symbol].tally.unchanged += 1
    assert asked == [300, 901, 2102, 4503, 8104, 11705, 15306, 18907], "ever more rarely, once an hour at least"


def test_the_snapshot_of_a_crossed_book_is_asked_for_ever_more_rarely_until_it_was_good_for_long() -> None:
    states = instruments("BTC-USD", "ETH-USD")
    book, tally = states["BTC-USD"].book, states["BTC-USD"].tally
    watchdog = Watchdog(300.0)
    asked: list[int] = []
    good: list[str] = []
    book.crossing.snapshot()
    for second in range(10_000):
        # It is shown for half a minute now and then.
        book.crossing.hides = second % 700 >= 30
        tally.crossed += 1
        states["ETH-USD"].tally.deltas += 1
        verdict = watchdog.look(states, (), second, listening=True)
        assert not verdict.verify
        assert not verdict.revive
        asked += [second] * ("BTC-USD" in verdict.recheck)
        good += verdict.good
    assert asked == [329, 959, 2219, 4709, 8489], "300 s hidden, then 600, 1200, 2400, 3600"
    assert good == []
    book.crossing.hides = False
    assert looks(watchdog, states, range(10_000, 10_061)) == [(10_060, StalenessVerdict(good=("BTC-USD",)))]


def test_time_in_which_nothing_could_be_heard_is_not_held_against_the_connection() -> None:
    states = instruments("BTC-USD", valid=False)
    watchdog = Watchdog(10.0)
    watchdog.look(states, (), 0, listening=True)
    assert watchdog.look(states, (), 100, listening=False) == StalenessVerdict()
    assert watchdog.look(states, (), 109, listening=True).drop == ""
    assert watchdog.look(states, (), 110, listening=True).drop


def test_without_a_measure_of_silence_nothing_is_ever_silent() -> None:
    states = instruments("BTC-USD")
    watchdog = Watchdog(None)
    assert watchdog.tick == 1.0
    assert all(watchdog.look(states, (), hour * 3600, listening=True) == StalenessVerdict() for hour in range(100))
