from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from alphapulse import topics
from alphapulse.config import FreshnessSettings, ProcessorSettings, Settings, VenueSettings
from alphapulse.service import Service
from schemas.codec import Codec
from schemas.records import Event
from stream_processors import __main__ as command
from stream_processors.worker import Worker, arbitrage_rules_of, rules_of
from tests.fixtures.market import SECOND, trade


def test_rules_are_in_nanoseconds() -> None:
    settings = Settings(
        processors=ProcessorSettings(
            depth_levels=7,
            depth_interval_ms=25,
            stats_interval_s=2,
            candle_intervals_s=(60, 1, 60),
            candle_lateness_s=1.5,
            arbitrage_min_net_basis_points=0.1,
        ),
        freshness=FreshnessSettings(heartbeat_ms=100, max_book_age_ms=300),
        venues={"kraken": VenueSettings(taker_fee_basis_points=Decimal("26.5"))},
    )
    rules = rules_of(settings)
    assert (rules.depth_levels, rules.depth_interval, rules.stats_interval) == (7, 25_000_000, 2 * SECOND)
    assert (rules.candle_intervals, rules.candle_lateness) == ((SECOND, 60 * SECOND), 1_500_000_000)
    arbitrage = arbitrage_rules_of(settings)
    assert arbitrage.fees == {"kraken": Decimal("26.5")}
    assert (arbitrage.least_basis_points, arbitrage.max_book_age) == (Decimal("0.1"), 300_000_000)


async def test_a_record_of_our_own_that_does_not_fit_becomes_an_event(tmp_path: Path) -> None:
    worker = Worker(Service("processors", Settings(data_dir=tmp_path)))
    worker._publish([trade(size=2**63), trade()])
    made = [(topic, Codec().decode(value)) for topic, _, value, _ in worker._outputs._waiting]
    assert [topic for topic, _ in made] == [topics.EVENTS, topics.TRADES]
    event = made[0][1]
    assert isinstance(event, Event)
    assert (event.kind, event.severity) == ("record_refused", "ERROR")
    assert "9223372036854775808" in event.message


def test_a_configuration_that_cannot_be_used_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "services.toml").write_text("[processors]\ndepth_levls = 5\n")
    assert command.main(["--config", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "depth_levls" in told
    assert "services.toml" in told
