"""``alphapulse sql``: queries a data directory, through the sink that holds it or directly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from alphapulse.cli.stack import CLICKHOUSE
from alphapulse.errors import ServiceError
from alphapulse.service import EXIT_REFUSED


def run_query(query: str, data_dir: Path, output_format: str) -> int:
    """Print the answer of ``query`` on standard output and return the exit code.

    One process at a time can open an embedded database. While the ClickHouse sink runs it answers on its ops
    port; otherwise a process of its own opens the folder.

    Raises:
        ServiceError: the running sink does not answer.
    """
    port = _live_sink_port(data_dir)
    if port is None:
        command = [sys.executable, "-m", "sinks.clickhouse.query", "--data-dir", str(data_dir)]
        return subprocess.run([*command, "--format", output_format, query], check=False).returncode
    url = f"http://127.0.0.1:{port}/sql?{urllib.parse.urlencode({'format': output_format})}"
    request = urllib.request.Request(url, data=query.encode(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310 loopback
            while block := answer.read(1 << 16):
                sys.stdout.buffer.write(block)
        sys.stdout.flush()
    except urllib.error.HTTPError as error:
        print(f"alphapulse sql: {error.read().decode(errors='replace').strip()}", file=sys.stderr)
        return EXIT_REFUSED
    except OSError as error:
        raise ServiceError(f"the ClickHouse sink on port {port} does not answer: {error}") from error
    return 0


def _live_sink_port(data_dir: Path) -> int | None:
    path = data_dir / "run" / f"{CLICKHOUSE}.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        os.kill(told["pid"], 0)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(told["ops_port"]) if told.get("sql") else None
