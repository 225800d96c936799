"""``python -m sinks.clickhouse.migrate``: migrate the tables of the configured ClickHouse server.

The sink also does so at its start; a deployment does it once before, so that readers find the tables.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from alphapulse import config, logs, output
from alphapulse.config import Settings
from alphapulse.errors import AlphaPulseError, ServiceError
from alphapulse.service import EXIT_OK, EXIT_REFUSED
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.tables import migrate, migrations, tune


async def run(settings: Settings, wait_seconds: float) -> str:
    """Apply pending migrations; return a message.

    Args:
        settings: name the server.
        wait_seconds: maximum wait for a server that does not answer.

    Raises:
        ServiceError: the server does not answer in time, or refuses.
    """
    engine, given_up, applied = Engine(settings), asyncio.Event(), 0
    lacking = ""

    def waiting(reason: str) -> None:
        nonlocal lacking
        lacking = reason

    async def attempt() -> None:
        nonlocal applied
        applied = await migrate(engine)
        if engine.embedded:
            await tune(engine)

    engine.waiting = waiting
    timer = asyncio.get_running_loop().call_later(wait_seconds, given_up.set)
    try:
        await engine.open(given_up)
        if lacking or not await engine.retry(attempt, given_up):
            raise ServiceError(lacking or f"clickhouse.dsn: {engine.place} does not answer")
    finally:
        timer.cancel()
        await engine.close()
    place = f"{engine.place}, database {engine.database}"
    return f"tables of {place}: {applied} of {len(migrations())} migrations applied now, the others before"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(prog="alphapulse init", description="Migrate the ClickHouse tables.")
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="seconds to wait for the server")
    options = parser.parse_args(arguments)
    try:
        settings = config.load()
        logs.configure(settings.log, service="init")
        print(asyncio.run(run(settings, options.wait)))  # noqa: T201
    except AlphaPulseError as error:
        print(f"alphapulse init: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_REFUSED
    return EXIT_OK


if __name__ == "__main__":
    output.finish(main)
