"""``alphapulse init``: prepare a deployment before its services start. Idempotent.

Creates topics and sets their retention, registers schemas, migrates ClickHouse and sets its TTLs; each where the
configuration names a server.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys

from alphapulse.cli.topics import create
from alphapulse.config import Settings
from alphapulse.service import EXIT_OK


async def init(settings: Settings, wait_seconds: float) -> int:
    """Prepare broker, registry and database; return the exit code of the first step that fails.

    Args:
        settings: name the servers.
        wait_seconds: maximum wait for each server that does not answer.

    Raises:
        BrokerError: the broker cannot be reached or refuses a topic.
    """
    await create(settings, None, wait_seconds)
    steps = [
        ("schemas", ("schemas", "register", "--wait", str(wait_seconds)), bool(settings.registry.url)),
        ("tables", ("sinks.clickhouse.admin", "init", "--wait", str(wait_seconds)), bool(settings.clickhouse.dsn)),
    ]
    for what, (module, *arguments), wanted in steps:
        if not wanted:
            print(f"{what}: no server is configured")
            continue
        sys.stdout.flush()
        done = await asyncio.to_thread(subprocess.run, [sys.executable, "-m", module, *arguments], check=False)
        if done.returncode != EXIT_OK:
            return done.returncode
    return EXIT_OK
