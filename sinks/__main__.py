"""``python -m sinks clickhouse|parquet [--config DIR]``: the services ``sink-clickhouse`` and ``sink-parquet``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alphapulse import output, service
from alphapulse.arguments import CommandParser
from sinks.clickhouse import service as clickhouse
from sinks.parquet import service as parquet
from sinks.runner import tame_collector

TARGETS = {"clickhouse": clickhouse.serve, "parquet": parquet.serve}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sink until it is asked to stop; return the exit code."""
    parser = CommandParser(prog="alphapulse sink", description="Run a sink.")
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--config", type=Path, metavar="DIR", help="folder of services.toml")
    options = parser.parse_args(arguments)
    tame_collector()
    return service.run(f"sink-{options.target}", TARGETS[options.target], folder=options.config)


if __name__ == "__main__":
    output.finish(main)
