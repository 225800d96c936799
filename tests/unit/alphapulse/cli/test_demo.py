from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from alphapulse.cli.demo import Demo, DemoFigures
from alphapulse.errors import ArgumentsRefused

FIGURES = DemoFigures(frames=3_000, records=6_000, gaps=0, lag=12, opportunities=1, signals=4)


def test_the_status_line_tells_rates_since_the_one_before() -> None:
    line = replace(FIGURES, frames=3_300, records=6_900).line(FIGURES, 10.0, 75.0, 0)
    assert line == "01:15  30 frames/s  90 records/s  lag 12  gaps 0  opportunities 1 open, 4 signals"


async def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        demo = Demo(data_dir=tmp_path, port=port, venues=["kraken"], symbols=["BTC-USD"], seed=1)
        with pytest.raises(ArgumentsRefused, match=f"--port: 127.0.0.1:{port} is in use by another process"):
            await demo.run()
    assert not (tmp_path / "logs").exists()


def test_a_restarted_collector_makes_no_negative_rate() -> None:
    line = replace(FIGURES, frames=100, records=200, lag=None).line(FIGURES, 10.0, 75.0, 1)
    assert line == "01:15  0 frames/s  0 records/s  lag ?  gaps 0  opportunities 1 open, 4 signals  restarts 1"
