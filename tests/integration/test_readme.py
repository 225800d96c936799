"""What README shows works."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from alphapulse.config import KafkaSettings
from alphapulse.kafka import producer, running
from schemas.codec import Codec
from schemas.records import ArbitrageOpportunity, key_of

ROOT = Path(__file__).resolve().parents[2]

OPPORTUNITY = ArbitrageOpportunity(
    opportunity_id="1",
    state="OPENED",
    symbol="BTC-USD",
    buy_venue="kraken",
    sell_venue="coinbase",
    buy_price=6168599,
    sell_price=6189900,
    buy_limit_price=6168599,
    sell_limit_price=6189900,
    size=1,
    price_exponent=-2,
    size_exponent=0,
    gross_profit="213.01",
    net_profit="151.22",
    net_basis_points=24.5,
    buy_fee_basis_points=5.0,
    sell_fee_basis_points=5.0,
    opened_time=1,
    updated_time=1,
    buy_book_time=1,
    sell_book_time=1,
)


async def test_the_strategy_of_the_readme_sees_an_opportunity(kafka: KafkaSettings) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    strategy = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", blocks[0]),
        cwd=ROOT,
        env={**os.environ, "ALPHAPULSE_KAFKA__BOOTSTRAP": kafka.bootstrap},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        await publish(kafka)
        assert strategy.stdout is not None
        line = await asyncio.wait_for(strategy.stdout.readline(), 30)
        assert line == b"OPENED BTC-USD kraken coinbase 151.22\n"
    finally:
        strategy.kill()
        await strategy.wait()


async def publish(settings: KafkaSettings) -> None:
    async with running(producer(settings, client_id="test"), settings) as writer:
        await writer.send_and_wait("signals.arbitrage", Codec().encode(OPPORTUNITY), key=key_of(OPPORTUNITY))
