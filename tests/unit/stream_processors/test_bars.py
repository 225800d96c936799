from __future__ import annotations

import pytest

from stream_processors.bars import CREDIBLE_NS, Bar, _divide, candle_of, place_of, time_of
from tests.fixtures.market import SECOND, START, trade


@pytest.mark.parametrize("offset", [0, -CREDIBLE_NS - 1, CREDIBLE_NS + 1])
def test_without_a_credible_exchange_time_the_receipt_counts(offset: int) -> None:
    received = START + SECOND
    exchange = received + offset if offset else 0
    assert time_of(trade(exchange_time=exchange, received_time=received)) == received
    assert time_of(trade(exchange_time=received - CREDIBLE_NS, received_time=received)) == received - CREDIBLE_NS


def test_trades_of_one_time_have_their_places_by_id() -> None:
    assert place_of(1, "9") < place_of(1, "10") < place_of(2, "1")
    assert place_of(1, "a") < place_of(1, "b") < place_of(1, "5")


@pytest.mark.parametrize(
    ("dividend", "divisor", "quotient"), [(5, 2, 2), (7, 2, 4), (1, 3, 0), (2, 3, 1), (6, 3, 2), (0, 7, 0), (-5, 2, -2)]
)
def test_half_goes_to_the_even_neighbour(dividend: int, divisor: int, quotient: int) -> None:
    assert _divide(dividend, divisor) == quotient


def test_a_bar_survives_as_text() -> None:
    bar = Bar.of(START, trade(), place_of(1, "7"))
    bar.quote = 10**30
    bar.closed = True
    bar.revision = 3
    bar.first, bar.last = (START, 7, "7"), (START + 5, -1, "a b,c")
    assert Bar.restored(bar.state()) == bar
    with pytest.raises(ValueError, match="2 numbers instead of 15"):
        Bar.restored(("1 2", "", ""))


def test_a_candle_of_one_trade() -> None:
    bar = Bar.of(START, trade(price=101, size=2500), place_of(START, "1"))
    made = candle_of("kraken", "BTC-USD", SECOND, bar)
    assert (made.open, made.high, made.low, made.close, made.volume, made.trades) == (101, 101, 101, 101, 2500, 1)
    assert (made.quote_volume, made.vwap, made.vwap_exponent, made.revision) == ("2.525", 1_010_000, -6, 0)
