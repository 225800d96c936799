from __future__ import annotations

import asyncio

import pytest

from producers.collector.sharding import split
from producers.feed.venue import Limit
from producers.net.rate_limit import SLACK, Allowance, RateLimiter, SlidingWindow
from producers.registry import load
from tests.fixtures.virtual_time import run


def test_a_burst_may_use_the_whole_limit_and_comes_back_a_window_later() -> None:
    budget = SlidingWindow(Limit(3, 10.0))
    for _ in range(3):
        assert budget.wait(100.0) == 0
        budget.spend(100.0)
    assert budget.wait(100.0) == 10.0
    assert budget.wait(104.0) == 6.0
    assert budget.wait(110.0) == 0


def test_weights_are_waited_for_until_enough_is_back() -> None:
    budget = SlidingWindow(Limit(100, 60.0))
    budget.spend(0.0, 50)
    budget.spend(10.0, 40)
    assert budget.wait(10.0, 10) == 0
    assert budget.wait(10.0, 11) == 50.0
    assert budget.wait(10.0, 61) == 60.0


def test_what_exceeds_the_whole_limit_passes_alone() -> None:
    budget = SlidingWindow(Limit(10, 1.0))
    assert budget.wait(0.0, 25) == 0
    budget.spend(0.0, 25)
    assert budget.wait(0.5, 1) == 0.5


def test_a_closed_budget_lets_nothing_through() -> None:
    budget = SlidingWindow(Limit(10, 1.0))
    budget.close(7.0)
    budget.close(5.0)
    assert budget.wait(2.0) == 5.0
    assert budget.wait(7.0) == 0


def test_a_gate_without_a_limit_can_be_closed_all_the_same() -> None:
    async def work() -> float:
        gate = RateLimiter(None)
        await asyncio.gather(*(gate.enter(1e6) for _ in range(100)))
        gate.close(3.0)
        await gate.enter()
        return asyncio.get_running_loop().time()

    assert run(work()) == 3.0


def test_whoever_gives_up_waiting_spends_nothing() -> None:
    async def work() -> float:
        gate = RateLimiter(Limit(1, 10.0 / SLACK))
        await gate.enter()
        impatient = [asyncio.create_task(gate.enter()) for _ in range(5)]
        await asyncio.sleep(1)
        for task in impatient:
            task.cancel()
        await gate.enter()
        return asyncio.get_running_loop().time()

    assert run(work()) == pytest.approx(10.0)


def test_what_may_be_left_out_takes_no_more_than_half_and_waits_for_nobody() -> None:
    async def work() -> list[bool]:
        gate = RateLimiter(Limit(4, 1.0))
        entered = [gate.enter_if_idle() for _ in range(3)]
        await asyncio.sleep(1.1)
        for _ in range(4):
            await gate.enter()
        waiting = asyncio.create_task(gate.enter())
        await asyncio.sleep(0.9)
        entered.append(gate.enter_if_idle())  # somebody waits
        await waiting
        await asyncio.sleep(1.1)
        gate.close(5.0)
        entered.append(gate.enter_if_idle())
        return entered

    assert run(work()) == [True, True, False, False, False]
    assert RateLimiter(None, lambda: 0.0).enter_if_idle()
    assert RateLimiter(Limit(1, 1.0), lambda: 0.0).enter_if_idle()


@pytest.mark.parametrize(
    ("venue", "depth", "seconds"),
    [
        # 500 snapshots of weight 250 within 6000 a minute: 24 a minute, the last after 20 full minutes.
        ("binance", 5000, 20 * 60),
        ("binance", 1000, 4 * 60),
        ("binance", 100, 0),
        ("binance_us", 5000, 20 * 60),
    ],
)
def test_500_symbols_start_as_fast_as_the_rest_limit_allows_and_no_faster(
    venue: str, depth: int, seconds: float
) -> None:
    limits = load(venue)

    async def work() -> list[float]:
        gate = RateLimiter(limits.rest_limit)
        times: list[float] = []

        async def one() -> None:
            await gate.enter(limits.rest_weight(f"/api/v3/depth?symbol=BTCUSDT&limit={depth}"))
            times.append(asyncio.get_running_loop().time())

        await asyncio.gather(*(one() for _ in range(500)))
        return times

    times = run(work())
    assert times[-1] == pytest.approx(seconds * SLACK)
    assert limits.rest_limit is not None
    weight = limits.rest_weight(f"/api/v3/depth?symbol=BTCUSDT&limit={depth}")
    for start in times:
        within = sum(start <= time < start + limits.rest_limit.seconds for time in times)
        assert within * weight <= limits.rest_limit.amount


@pytest.mark.parametrize("venue", ["kraken", "coinbase", "binance", "binance_us"])
def test_500_symbols_connect_within_the_limit(venue: str) -> None:
    limits = load(venue)
    shards = split([f"A{n}-USD" for n in range(500)], limits.symbols_per_connection)
    assert len(shards) <= limits.connects.amount, "all connections may be opened at once"


@pytest.mark.parametrize(
    ("path", "weight"),
    [
        ("/api/v3/depth?symbol=BTCUSDT&limit=100", 5),
        ("/api/v3/depth?symbol=BTCUSDT", 5),
        ("/api/v3/depth?symbol=BTCUSDT&limit=101", 25),
        ("/api/v3/depth?symbol=BTCUSDT&limit=1000", 50),
        ("/api/v3/depth?symbol=BTCUSDT&limit=5000", 250),
        ("/api/v3/exchangeInfo?permissions=SPOT", 20),
    ],
)
def test_binances_weights(path: str, weight: float) -> None:
    assert load("binance").rest_weight(path) == weight


def test_repairs_of_one_thing_leave_half_and_rare_ones_a_tenth() -> None:
    allowance = Allowance(Limit(20, 100.0))

    def repaired(symbol: str) -> int:
        for count in range(50):
            if allowance.wait_to_repair(0.0, symbol, 2) > 0:
                return count
            allowance.repaired(0.0, symbol)
            for _ in range(2):
                allowance.spend(0.0)
        return 50

    assert [repaired("bad"), repaired("good")] == [5, 3]
    assert allowance.wait_to_repair(0.0, "third", 2) == 0
    assert allowance.wait_to_retry(0.0) > 100.0
    assert allowance.wait(0.0) == 0, "what is asked for first may have the rest"
    assert allowance.wait_to_repair(110.0, "bad", 2) == 0


def test_without_a_limit_nothing_waits() -> None:
    allowance = Allowance(None)
    for _ in range(100):
        allowance.repaired(0.0, "a")
        allowance.spend(0.0)
    assert allowance.wait(0.0) == allowance.wait_to_repair(0.0, "a", 2) == allowance.wait_to_retry(0.0) == 0


def test_what_is_left_is_a_share_and_nothing_while_closed() -> None:
    budget = SlidingWindow(Limit(4, 10.0))
    assert budget.left(0.0) == 1.0
    budget.spend(0.0)
    budget.spend(5.0, 2)
    assert budget.left(5.0) == 0.25
    assert budget.left(10.0) == 0.5
    budget.spend(10.0, 25)
    assert budget.left(10.0) == 0.0
    budget.close(90.0)
    assert (budget.left(89.0), budget.left(90.0)) == (0.0, 1.0)


async def test_without_a_limit_all_is_left_but_while_closed() -> None:
    now = 0.0
    gate = RateLimiter(None, lambda: now)
    await gate.enter(1000)
    assert gate.left == 1.0
    gate.close(5.0)
    assert gate.left == 0.0
