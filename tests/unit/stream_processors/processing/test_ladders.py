from __future__ import annotations

from decimal import Decimal

import pytest

from schemas.records import Depth
from stream_processors.processing.ladders import Costs, execute
from tests.fixtures.market import Levels, depth

FREE = Costs.of(Decimal(0), Decimal(0), Decimal(0))


def asks(levels: Levels, price_exponent: int = -2, size_exponent: int = -3) -> Depth:
    return depth(bids=(), asks=levels, price_exponent=price_exponent, size_exponent=size_exponent)


def bids(levels: Levels, price_exponent: int = -2, size_exponent: int = -3) -> Depth:
    return depth(bids=levels, asks=(), price_exponent=price_exponent, size_exponent=size_exponent)


def test_costs_are_integers_over_one_power_of_ten() -> None:
    costs = Costs.of(Decimal(26), Decimal("7.5"), Decimal("0.25"))
    assert (costs.unit, costs.digits) == (10**6, 6)
    assert (costs.buy_fee, costs.sell_fee, costs.least) == (2600, 750, 25)
    assert Costs.of(Decimal("1E+1"), Decimal(0), Decimal(0)).buy_fee == 10
    with pytest.raises(ValueError, match="not a finite number: NaN"):
        Costs.of(Decimal("nan"), Decimal(0), Decimal(0))


def test_two_levels_by_hand() -> None:
    """Asks 1 at 100.00, 2 at 100.50; bids 2 at 101.00, 5 at 100.60; no fees: all three units pay.

    Cost 100 + 2 × 100.50 = 301; proceeds 2 × 101 + 100.60 = 302.60; profit 1.60.
    """
    made = execute(asks([(10000, 1000), (10050, 2000)]), bids([(10100, 2000), (10060, 5000)]), FREE)
    assert made is not None
    assert (made.size, made.cost, made.proceeds) == (3000, 30_100_000, 30_260_000)
    assert (made.price_exponent, made.size_exponent) == (-2, -3)
    assert (made.net, made.net_exponent) == (1_600_000_000, -9)  # 160,000 × 10^-5 over 10^4
    assert (made.buy_limit_price, made.sell_limit_price) == (10050, 10060)
    assert made.buy_price == 10034  # 100.333… paid: rounded up
    assert made.sell_price == 10086  # 100.8666… received: rounded down
    assert made.net_basis_points == pytest.approx(1.6 / 301 * 10_000)


def test_fees_stop_the_walk_where_the_next_unit_does_not_pay() -> None:
    """With 10 basis points each way 100.60 × 0.999 = 100.4994 < 100.50 × 1.001; 101 × 0.999 = 100.899 > 100.6005.

    Size 2: 1 at 100 + 1 at 100.50 = 200.50 against 2 × 101 = 202.
    Net 202 × 0.999 − 200.50 × 1.001 = 201.798 − 200.7005 = 1.0975.
    """
    costs = Costs.of(Decimal(10), Decimal(10), Decimal(0))
    made = execute(asks([(10000, 1000), (10050, 2000)]), bids([(10100, 2000), (10060, 5000)]), costs)
    assert made is not None
    assert (made.size, made.buy_limit_price, made.sell_limit_price) == (2000, 10050, 10100)
    assert Decimal(made.net).scaleb(made.net_exponent) == Decimal("1.0975")


def test_different_exponents_by_hand() -> None:
    """Buy 0.5 at 60000.1 (one decimal, sizes in tenths); sell up to 0.25000000 at 60010.12345 (five decimals).

    Size 0.25: cost 15000.025, proceeds 15002.5308625, profit 2.5058625.
    """
    buy = asks([(600_001, 5)], price_exponent=-1, size_exponent=-1)
    sell = bids([(6_001_012_345, 25_000_000)], price_exponent=-5, size_exponent=-8)
    made = execute(buy, sell, FREE)
    assert made is not None
    assert (made.price_exponent, made.size_exponent) == (-5, -8)
    assert made.size == 25_000_000
    assert Decimal(made.cost).scaleb(-13) == Decimal("15000.025")
    assert Decimal(made.proceeds).scaleb(-13) == Decimal("15002.5308625")
    assert Decimal(made.net).scaleb(made.net_exponent) == Decimal("2.5058625")
    assert (made.buy_limit_price, made.sell_limit_price) == (6_000_010_000, 6_001_012_345)


def test_the_least_profit_is_asked_of_every_level() -> None:
    """101/100 is 100 basis points, 100.60/100.50 is less than 10."""
    costs = Costs.of(Decimal(0), Decimal(0), Decimal(10))
    made = execute(asks([(10000, 1000), (10050, 2000)]), bids([(10100, 1000), (10060, 5000)]), costs)
    assert made is not None
    assert made.size == 1000
    assert execute(asks([(10000, 1)]), bids([(10100, 1)]), Costs.of(Decimal(0), Decimal(0), Decimal(100))) is None


@pytest.mark.parametrize(
    ("buy", "sell"),
    [
        ([], [(101, 1)]),
        ([(100, 1)], []),
        ([(100, 1)], [(100, 1)]),
        ([(101, 1)], [(100, 1)]),
    ],
)
def test_nothing_to_earn(buy: Levels, sell: Levels) -> None:
    assert execute(asks(buy), bids(sell), FREE) is None


def test_either_ladder_may_end_first() -> None:
    first = execute(asks([(100, 5)]), bids([(102, 3), (101, 9)]), FREE)
    assert first is not None
    assert first.size == 5
    second = execute(asks([(100, 5), (101, 5)]), bids([(103, 8)]), FREE)
    assert second is not None
    assert second.size == 8


def test_levels_without_size_give_no_trade() -> None:
    assert execute(asks([(100, 0)]), bids([(102, 3)]), FREE) is None
