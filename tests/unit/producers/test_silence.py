from __future__ import annotations

from itertools import pairwise

from alphapulse.config import VenueSettings
from producers.coinbase.protocol import CoinbaseProtocol
from producers.roster import InstrumentState
from producers.silence import LONGEST_SECONDS, SNAPSHOT_SECONDS, SilenceWatch, Verdict, Watchdog


def test_what_speaks_is_not_silent() -> None:
    watch = SilenceWatch(10.0)
    assert not any(watch.silent({"A": second}, second) for second in range(100))


def test_one_that_falls_silent_is_named_the_others_are_not() -> None:
    watch = SilenceWatch(10.0)
    for second in range(10):
        assert watch.silent({"A": 7, "B": second}, second) == {}
    assert watch.silent({"A": 7, "B": 10}, 10) == {"A": 10.0}
    assert watch.silent({"A": 7, "B": 11}, 11) == {}, "it has just been asked for"


def test_a_market_in_which_nothing_happens_is_asked_for_ever_more_rarely() -> None:
    watch = SilenceWatch(10.0)
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
    watch = SilenceWatch(10.0)
    watch.silent({"A": 1}, 0)
    assert watch.silent({"A": 1}, 10)
    watch.silent({"A": 2}, 11)  # the answer
    watch.silent({"A": 3}, 12)  # and more
    assert watch.silent({"A": 3}, 22) == {"A": 10.0}


def test_time_in_which_nothing_could_be_heard_does_not_count() -> None:
    watch = SilenceWatch(10.0)
    watch.silent({"A": 1}, 0)
    assert watch.silent({"A": 1}, 9, listening=False) == {}
    assert watch.silent({"A": 1}, 15) == {}
    assert watch.silent({"A": 1}, 19) == {"A": 10.0}


def test_a_symbol_given_up_is_forgotten() -> None:
    watch = SilenceWatch(10.0)
    watch.silent({"A": 1}, 0)
    watch.silent({}, 5)
    assert watch.silent({"A": 1}, 20) == {}


def instruments(*symbols: str) -> dict[str, InstrumentState]:
    return CoinbaseProtocol(VenueSettings(symbols=symbols)).instruments


def test_a_book_without_its_snapshot_is_asked_for_again_though_updates_come() -> None:
    states = instruments("BTC-USD", "ETH-USD")
    watchdog = Watchdog(300.0)
    for second in range(int(SNAPSHOT_SECONDS)):
        states["BTC-USD"].tally.ignored += 1
        states["ETH-USD"].tally.ignored += 1
        assert watchdog.look(states, (), second, listening=True) == Verdict()
    states["ETH-USD"].book.valid = True
    verdict = watchdog.look(states, (), SNAPSHOT_SECONDS, listening=True)
    assert verdict == Verdict(revive={"BTC-USD": SNAPSHOT_SECONDS})


def test_what_is_being_asked_for_is_not_asked_for_again() -> None:
    states = instruments("BTC-USD")
    watchdog = Watchdog(10.0)
    assert all(watchdog.look(states, {"BTC-USD"}, second, listening=True) == Verdict() for second in range(100))


def test_a_connection_on_which_nothing_is_heard_is_dropped() -> None:
    states = instruments("BTC-USD", "ETH-USD")
    watchdog = Watchdog(10.0)
    watchdog.look(states, (), 0, listening=True)
    assert watchdog.look(states, (), 10, listening=True).drop.endswith("no instrument was heard of for 10 s")


def test_a_single_instrument_is_asked_for_once_before_its_connection_is_dropped() -> None:
    states = instruments("BTC-USD")
    states["BTC-USD"].book.valid = True
    watchdog = Watchdog(10.0)
    watchdog.look(states, (), 0, listening=True)
    assert watchdog.look(states, (), 10, listening=True) == Verdict(revive={"BTC-USD": 10.0})
    assert watchdog.look(states, (), 30, listening=True).drop


def test_without_a_measure_of_silence_nothing_is_ever_silent() -> None:
    states = instruments("BTC-USD")
    watchdog = Watchdog(None)
    assert watchdog.tick == 1.0
    assert all(watchdog.look(states, (), hour * 3600, listening=True) == Verdict() for hour in range(100))
