"""``python -m stream_processors [--config DIR]``: run the stream processors as a service."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from alphapulse import kafka, service
from alphapulse.arguments import CommandParser
from alphapulse.kafka.lag import unread_text
from alphapulse.kafka.services import processors
from schemas.waiting import prepared_codec
from stream_processors.processing.instrument import SERVICE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until asked to stop; return the exit code."""
    parser = CommandParser(prog="alphapulse process", description="Books, candles and arbitrage.")
    parser.add_argument("--config", type=Path, metavar="DIR", help="folder of services.toml and exchanges.toml")
    options = parser.parse_args(arguments)

    async def serve(running: service.Service) -> None:
        # Faust is slow to import: only once the configuration is known to be valid.
        from stream_processors.engine.ops import Ops
        from stream_processors.engine.worker import Worker

        codec = await prepared_codec(running)
        await kafka.reachable(running, processors(running.settings))
        worker = Worker(running, codec)
        running.grace_seconds += running.settings.processors.drain_seconds
        ops = Ops(worker)
        running.report(ops.status)
        running.route("GET", "/books", ops.books)
        await worker.run()
        if worker.unread:
            text = unread_text(worker.unread)
            running.log.warning(text, unread=dict(worker.unread))
            sys.stderr.write(f"{SERVICE}: {text}\n")

    return service.run(SERVICE, serve, folder=options.config)


def leave(code: int) -> None:
    """End the process with ``code``, even if a client's thread still waits for an unavailable broker."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    leave(main())
