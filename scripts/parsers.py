"""Parsers of the commands of ``alphapulse`` that hand their arguments over to another program.

``scripts/cli_doc.py`` describes the commands by them, ``tests.documents`` checks by them what the documents type.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Final

from gateway.access.__main__ import parser as keys_parser
from producers.record.__main__ import parser as record_parser
from producers.simulator.__main__ import parser as simulate_parser
from sinks.dead_letters.__main__ import parser as dlq_parser
from sinks.load.arguments import parser as load_parser
from sinks.parquet.arguments import parser as parquet_parser

PARSERS: Final[Mapping[str, Callable[[], argparse.ArgumentParser]]] = {
    "dlq": dlq_parser,
    "keys": keys_parser,
    "load": load_parser,
    "parquet": parquet_parser,
    "record": record_parser,
    "simulate": simulate_parser,
}
"""By the command's name."""
