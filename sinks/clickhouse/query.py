"""``python -m sinks.clickhouse.query --data-dir D [--format F] "SELECT …"``: SQL on a database no sink holds open."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError

from alphapulse.errors import AlphaPulseError, ServiceError
from alphapulse.service import EXIT_OK, EXIT_REFUSED
from sinks.clickhouse.engine import claim, database_folder, message
from sinks.clickhouse.readonly import ask, restrict

DEFAULT_FORMAT: Final = "PrettyCompact"


def query(data_dir: Path, database: str, text: str, output_format: str) -> bytes:
    """Return the answer to a query on the embedded database under ``data_dir``, which is opened and closed.

    Raises:
        ServiceError: there is no database, or a process holds it.
        QueryRefused: ClickHouse refuses the query, or it does not only read.
    """
    folder = database_folder(data_dir)
    if not folder.is_dir():
        raise ServiceError(f"{folder}: no database there; run 'alphapulse demo' or 'alphapulse replay' first")
    with claim(folder):
        try:
            client = clickhouse_connect.get_client(dsn=f"chdb://{folder.resolve()}", database=database)
        except ClickHouseError as error:
            raise ServiceError(f"{folder}: cannot be opened: {message(error)}") from error
        try:
            restrict(client)
            return ask(client, text, output_format)
        finally:
            client.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the answer on standard output; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sinks.clickhouse.query", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--database", default="alphapulse")
    parser.add_argument("--format", default=DEFAULT_FORMAT, help="any output format of ClickHouse")
    parser.add_argument("query")
    options = parser.parse_args(arguments)
    try:
        answer = query(options.data_dir, options.database, options.query, options.format)
    except AlphaPulseError as error:
        print(f"alphapulse sql: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_REFUSED
    sys.stdout.buffer.write(answer)
    sys.stdout.flush()
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
