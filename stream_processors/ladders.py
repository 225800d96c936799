"""What can be earned by buying on one venue and selling on another, walking both books: exact integers throughout."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from schemas.records import Depth

BASIS_POINT_EXPONENT = -4


@dataclass(frozen=True, slots=True)
class Costs:
    """Fees and the least profit, as integers over ``unit`` (10^k): a fee of 26 basis points is 26 over 10,000.

    Attributes:
        unit: what 100 % is.
        digits: its power of ten.
        buy_fee, sell_fee: taker fees of the two venues.
        least: a level is taken if its net profit over cost is more than this.
    """

    unit: int
    digits: int
    buy_fee: int
    sell_fee: int
    least: int

    @classmethod
    def of(cls, buy_basis_points: Decimal, sell_basis_points: Decimal, least_basis_points: Decimal) -> Costs:
        """Return the costs for fees and least profit given in basis points, exactly."""
        values = (buy_basis_points, sell_basis_points, least_basis_points)
        finest = min(0, *(_exponent(value) for value in values))
        digits = -finest - BASIS_POINT_EXPONENT
        buy, sell, least = (int(value.scaleb(-finest)) for value in values)
        return cls(int(10**digits), digits, buy, sell, least)


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        raise ValueError(f"not a finite number: {value}")  # noqa: TRY004 the type is right, the value is not
    return exponent


@dataclass(frozen=True, slots=True)
class Execution:
    """The most profitable trade: buy ``size`` from the asks of one venue, sell it to the bids of the other.

    Prices are mantissas at ``price_exponent``, sizes at ``size_exponent``, ``cost`` and ``proceeds`` (before fees) at
    the sum of both, ``net`` (proceeds minus cost after both fees) at ``net_exponent``.
    """

    price_exponent: int
    size_exponent: int
    size: int
    cost: int
    proceeds: int
    net: int
    net_exponent: int
    buy_limit_price: int
    sell_limit_price: int

    @property
    def buy_price(self) -> int:
        """Average price paid, rounded up."""
        return -(-self.cost // self.size)

    @property
    def sell_price(self) -> int:
        """Average price received, rounded down."""
        return self.proceeds // self.size

    @property
    def net_basis_points(self) -> float:
        """Net profit over cost: a ratio, not a price."""
        digits = self.price_exponent + self.size_exponent - self.net_exponent
        return float(Decimal(self.net).scaleb(4 - digits) / Decimal(self.cost))


def execute(buy: Depth, sell: Depth, costs: Costs) -> Execution | None:
    """Return what buying at ``buy``'s asks and selling to ``sell``'s bids earns; None if nothing.

    Both ladders are taken from the best level on, for as long as one more unit pays after both fees (by more
    than ``costs.least``). Levels must be best first; exponents of the two may differ.
    """
    if not buy.ask_prices or not sell.bid_prices:
        return None
    price_exponent = min(buy.price_exponent, sell.price_exponent)
    size_exponent = min(buy.size_exponent, sell.size_exponent)
    ask_scale = int(10 ** (buy.price_exponent - price_exponent))
    bid_scale = int(10 ** (sell.price_exponent - price_exponent))
    paid, received = costs.unit + costs.buy_fee + costs.least, costs.unit - costs.sell_fee
    # Nearly always the best levels tell.
    if sell.bid_prices[0] * bid_scale * received <= buy.ask_prices[0] * ask_scale * paid:
        return None
    ask_size_scale = int(10 ** (buy.size_exponent - size_exponent))
    bid_size_scale = int(10 ** (sell.size_exponent - size_exponent))
    size = cost = proceeds = ask_limit = bid_limit = 0
    a = b = 0
    ask_left, bid_left = buy.ask_sizes[0] * ask_size_scale, sell.bid_sizes[0] * bid_size_scale
    while True:
        ask, bid = buy.ask_prices[a] * ask_scale, sell.bid_prices[b] * bid_scale
        if bid * received <= ask * paid:
            break
        taken = min(ask_left, bid_left)
        size, cost, proceeds = size + taken, cost + ask * taken, proceeds + bid * taken
        ask_limit, bid_limit = ask, bid
        ask_left, bid_left = ask_left - taken, bid_left - taken
        if ask_left == 0:
            a += 1
            if a == len(buy.ask_prices):
                break
            ask_left = buy.ask_sizes[a] * ask_size_scale
        if bid_left == 0:
            b += 1
            if b == len(sell.bid_prices):
                break
            bid_left = sell.bid_sizes[b] * bid_size_scale
    if size == 0:
        return None
    return Execution(
        price_exponent=price_exponent,
        size_exponent=size_exponent,
        size=size,
        cost=cost,
        proceeds=proceeds,
        net=proceeds * (costs.unit - costs.sell_fee) - cost * (costs.unit + costs.buy_fee),
        net_exponent=price_exponent + size_exponent - costs.digits,
        buy_limit_price=ask_limit,
        sell_limit_price=bid_limit,
    )
