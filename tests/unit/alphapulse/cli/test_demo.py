from __future__ import annotations

from dataclasses import replace

from alphapulse.cli.demo import DemoFigures

FIGURES = DemoFigures(frames=3_000, records=6_000, gaps=0, lag=12, opportunities=1, signals=4)


def test_the_status_line_tells_rates_since_the_one_before() -> None:
    line = replace(FIGURES, frames=3_300, records=6_900).line(FIGURES, 10.0, 75.0, 0)
    assert line == "01:15  30 frames/s  90 records/s  lag 12  gaps 0  opportunities 1 open, 4 signals"


def test_a_restarted_collector_makes_no_negative_rate() -> None:
    line = replace(FIGURES, frames=100, records=200, lag=None).line(FIGURES, 10.0, 75.0, 1)
    assert line == "01:15  0 frames/s  0 records/s  lag ?  gaps 0  opportunities 1 open, 4 signals  restarts 1"
