"""Profit of buying on one venue and selling on another, walking both books, in exact integers."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from alphapulse.fixed import INT64_MAX, surplus_digits
from schemas.records import Depth

BASIS_POINT_EXPONENT = -4

_UNLIMITED = 1 << 1024
"""Units: more than the levels of two books can sum up to, whatever their exponents (10^100 to 10^-100)."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Fees and minimum profit, as integers over ``unit`` (10^k): a fee of 26 basis points is 26 over 10,000.

    Attributes:
        unit: 100 %.
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
        """Return the costs for fees and minimum profit in basis points, exactly."""
        values = (buy_basis_points, sell_basis_points, least_basis_points)
        finest = min(0, *(_exponent(value) for value in values))
        digits = -finest - BASIS_POINT_EXPONENT
        buy, sell, least = (int(value.scaleb(-finest)) for value in values)
        return cls(int(10**digits), digits, buy, sell, least)

    def pay(self, ask: int, bid: int) -> bool:
        """Return whether one unit bought at ``ask`` and sold at ``bid`` is profitable; prices have one exponent."""
        return bid * (self.unit - self.sell_fee) > ask * (self.unit + self.buy_fee + self.least)


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        raise ValueError(f"not a finite number: {value}")  # noqa: TRY004 the type is right, the value is not
    return exponent


class Prices(NamedTuple):
    """Average prices paid and received, and the worst ones taken; mantissas with one exponent."""

    buy: int
    sell: int
    buy_limit: int
    sell_limit: int


@dataclass(frozen=True, slots=True)
class Execution:
    """The most profitable trade: buy ``size`` from the asks of one venue, sell it to the bids of the other.

    Prices are mantissas at ``price_exponent``, sizes at ``size_exponent``, ``cost`` and ``proceeds`` (before fees) at
    the sum of both, ``net`` (proceeds minus cost after both fees) at ``net_exponent``. ``size`` fits an int64, if
    necessary without its last digits (:attr:`told_size`); prices may not (:attr:`told_prices`).
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
    def told_size(self) -> tuple[int, int]:
        """``size`` as a 64-bit mantissa and its exponent: exact."""
        digits = surplus_digits(self.size)
        return self.size // 10**digits, self.size_exponent + digits

    @property
    def told_prices(self) -> tuple[Prices, int]:
        """Prices as 64-bit mantissas and their exponent.

        Where an int64 cannot hold all of them at ``price_exponent`` they are rounded unfavourably: prices paid up,
            prices
        received down.
        """
        digits = surplus_digits(self.buy_price, self.sell_price, self.buy_limit_price, self.sell_limit_price)
        unit = 10**digits
        return Prices(
            -(-self.buy_price // unit),
            self.sell_price // unit,
            -(-self.buy_limit_price // unit),
            self.sell_limit_price // unit,
        ), self.price_exponent + digits

    @property
    def net_basis_points(self) -> float:
        """Net profit over cost: a ratio, not a price."""
        digits = self.price_exponent + self.size_exponent - self.net_exponent
        return float(Decimal(self.net).scaleb(4 - digits) / Decimal(self.cost))


def execute(buy: Depth, sell: Depth, costs: Costs) -> Execution | None:
    """Return the profit of buying at ``buy``'s asks and selling to ``sell``'s bids; None if there is none.

    Both ladders are taken from the best level on, as long as one more unit is profitable after both fees (by more than
    ``costs.least``). Levels must be best first; exponents of the two may differ. A size over several levels that has
    more digits than an int64 is reduced to one that an int64 can represent exactly.
    """
    made = _walk(buy, sell, costs, _UNLIMITED)
    if made is not None and made.size > INT64_MAX:
        return _walk(buy, sell, costs, made.size - made.size % 10 ** surplus_digits(made.size))
    return made


def _walk(buy: Depth, sell: Depth, costs: Costs, most: int) -> Execution | None:
    """As :func:`execute`, of at most ``most`` units."""
    if not buy.ask_prices or not sell.bid_prices:
        return None
    price_exponent = min(buy.price_exponent, sell.price_exponent)
    size_exponent = min(buy.size_exponent, sell.size_exponent)
    ask_scale = int(10 ** (buy.price_exponent - price_exponent))
    bid_scale = int(10 ** (sell.price_exponent - price_exponent))
    ask_size_scale = int(10 ** (buy.size_exponent - size_exponent))
    bid_size_scale = int(10 ** (sell.size_exponent - size_exponent))
    size = cost = proceeds = ask_limit = bid_limit = 0
    a = b = 0
    ask_left, bid_left = buy.ask_sizes[0] * ask_size_scale, sell.bid_sizes[0] * bid_size_scale
    while True:
        ask, bid = buy.ask_prices[a] * ask_scale, sell.bid_prices[b] * bid_scale
        if size == most or not costs.pay(ask, bid):
            break
        taken = min(ask_left, bid_left, most - size)
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
