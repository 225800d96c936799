from __future__ import annotations

from dataclasses import replace

import pytest

from alphapulse.fixed import INT64_MAX, decimal_text
from stream_processors.processing.bars import Bar, candle_of, place_of
from tests.fixtures.market import SECOND, START, trade


def test_trades_of_one_time_have_their_places_by_id() -> None:
    assert place_of(1, "9") < place_of(1, "10") < place_of(2, "1")
    assert place_of(1, "a") < place_of(1, "b") < place_of(1, "5")


def test_a_bar_survives_as_text() -> None:
    bar = Bar.of(START, trade(), place_of(1, "7"))
    bar.quote = 10**30
    bar.closed = True
    bar.revision = 3
    bar.first, bar.last = (START, 7, "7"), (START + 5, -1, "a b,c")
    assert Bar.restored(bar.state()) == bar
    with pytest.raises(ValueError, match="2 numbers instead of 16"):
        Bar.restored(("1 2", "", ""))


def test_a_candle_of_one_trade() -> None:
    bar = Bar.of(START, trade(price=101, size=2500), place_of(START, "1"))
    made = candle_of("kraken", "BTC-USD", SECOND, bar)
    assert (made.open, made.high, made.low, made.close, made.volume, made.trades) == (101, 101, 101, 101, 2500, 1)
    assert (made.quote_volume, made.vwap, made.vwap_exponent, made.revision) == ("2.525", 1_010_000, -6, 0)


@pytest.mark.parametrize("changes", [{"volume": 2 * INT64_MAX + 1}, {"volume": 10**40 + 5, "quote": 10**59 + 1}])
def test_a_volume_beyond_64_bits_keeps_18_digits(changes: dict[str, int]) -> None:
    bar = Bar.of(START, trade(price=101, size=2500), place_of(START, "1"))
    for name, value in changes.items():
        setattr(bar, name, value)
    made = candle_of("kraken", "BTC-USD", SECOND, bar)
    told, exact = made.volume * 10 ** (made.size_exponent - bar.size_exponent), bar.volume
    assert made.volume <= INT64_MAX
    assert abs(told - exact) * 10**18 <= exact
    assert made.quote_volume.replace(".", "").lstrip("0") == str(bar.quote).rstrip("0")


def test_prices_whose_exponents_have_nothing_in_common_are_told_at_one_that_holds_them() -> None:
    bar = Bar.of(START, trade(price=INT64_MAX, size=1), place_of(START, "1"))
    bar.add(replace(trade(price=7, size=1), price_exponent=-18), place_of(START, "2"))
    made = candle_of("kraken", "BTC-USD", SECOND, bar)
    assert (made.open, made.low, made.price_exponent) == (INT64_MAX, 0, -2)
    assert made.quote_volume == decimal_text(bar.quote, -21)


def test_an_average_keeps_within_the_exponents_of_the_wire() -> None:
    bar = Bar.of(START, replace(trade(price=1, size=1), price_exponent=-100), place_of(START, "1"))
    made = candle_of("kraken", "BTC-USD", SECOND, bar)
    assert (made.vwap, made.vwap_exponent) == (1, -100)
