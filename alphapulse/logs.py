"""Structured logs: readable lines on a terminal, one JSON object per line elsewhere."""

from __future__ import annotations

import logging
import math
import sys
import threading
from typing import Any, Final, TextIO

import structlog

from alphapulse.config import LogSettings

Logger = structlog.stdlib.BoundLogger

REPEAT_SECONDS: Final = 30.0
"""Minimum interval between equal messages of a client; without a broker they come ten times a second."""

_REPEATING: Final = frozenset({"aiokafka", "clickhouse_connect", "librdkafka"})


def get(name: str, **fields: Any) -> Logger:
    """Return a logger that adds ``fields`` to each line."""
    logger: Logger = structlog.stdlib.get_logger(name).bind(**fields)
    return logger


def configure(settings: LogSettings, *, service: str, stream: TextIO | None = None) -> None:
    """Send all logs to ``stream`` (standard error by default) in the configured format.

    This includes logs of libraries, Python's warnings and uncaught exceptions of threads, so that every line is JSON if
    one is.
    """
    stream = stream if stream is not None else sys.stderr
    readable = settings.format == "text" or (settings.format == "auto" and stream.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if readable else "iso", utc=not readable),
        structlog.processors.StackInfoRenderer(),
    ]
    if readable:
        final: list[structlog.typing.Processor] = [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            # The default formatter of tracebacks shows the values of local variables, passwords among them.
            structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback),
        ]
    else:

        def name_service(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
            event["service"] = service
            return event

        final = [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            name_service,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=final))
    handler.addFilter(_Dampener())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level)
    logging.captureWarnings(True)
    threading.excepthook = _log_thread
    # At INFO the client libraries log what our metrics count.
    for noisy in (
        "aiokafka",
        "librdkafka",
        "kafka",
        "websockets",
        "aiohttp.access",
        "httpx",
        "httpx2",
        "faust",
        "mode",
        "uvicorn.access",
    ):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


class _Dampener(logging.Filter):
    """Rate limit for repeated log messages of clients, whatever the values in them.

    The next message says how many were suppressed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        client = record.name.partition(".")[0]
        if client not in _REPEATING:
            return True
        # librdkafka's lines share one format and begin with the kind of message.
        kind = record.args[0] if client == "librdkafka" and isinstance(record.args, tuple) and record.args else ""
        key = record.name, f"{record.msg}{kind}"
        said, held_back = self._said.get(key, (-math.inf, 0))
        if record.created - said < REPEAT_SECONDS:
            self._said[key] = said, held_back + 1
            return False
        self._said[key] = record.created, 0
        if held_back:
            record.msg = f"{record.msg} ({held_back} more since the last such message)"
        return True


def _log_thread(died: threading.ExceptHookArgs) -> None:
    name = died.thread.name if died.thread is not None else "unknown"
    get("threading").error("thread died", thread=name, exc_info=died.exc_value)
