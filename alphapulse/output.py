"""Output of a command: wrapped on a terminal, and with the usual Unix behaviour when its reader ends (``| head``).

Python ignores SIGPIPE, which services need (a closed socket would end them), and raises ``BrokenPipeError`` instead. A
command that only prints should end by the signal, silently: the shell then shows 141, or nothing.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import textwrap
from collections.abc import Callable
from typing import Final, NoReturn, TextIO

from alphapulse.absent import leave_out

EXIT_NOT_WRITTEN: Final = 1
"""Standard output cannot be written (disk full, descriptor closed)."""

_USUAL_COLUMNS: Final = 80
"""Of a terminal that does not know its width, such as a serial line: it says 0."""


def finish(main: Callable[[], int]) -> NoReturn:
    """Run ``main``, flush standard output, and end the process with the exit code of ``main``.

    What no program of ours needs is not imported (:mod:`alphapulse.absent`).
    The process ends by SIGPIPE if its reader has ended, and with :data:`EXIT_NOT_WRITTEN` and one message if output
    cannot be written for another reason.
    """
    leave_out()
    try:
        code = main()
    except BaseException as error:
        if _reader_gone(error):
            _end_by_signal()
        if not isinstance(error, SystemExit):
            raise
        code = error.code if isinstance(error.code, int) else EXIT_NOT_WRITTEN if error.code else 0
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _end_by_signal()
    except OSError as error:
        code = _not_written(error)
    sys.exit(code)


def write(data: bytes) -> None:
    """Write ``data`` to standard output unchanged.

    Raises:
        BrokenPipeError: the reader has ended; :func:`finish` handles it.
        SystemExit: it cannot be written; the reason has been printed.
    """
    if sys.stdout is None:  # closed by the parent process
        sys.exit(_not_written(OSError(0, "it is closed")))
    rest = memoryview(data)
    try:
        # Unbuffered output (PYTHONUNBUFFERED) may be written in part by one call.
        while rest:
            rest = rest[sys.stdout.buffer.write(rest) :]
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        sys.exit(_not_written(error))


def columns(stream: TextIO | None) -> int | None:
    """Return the width of the terminal that ``stream`` writes to; None: it is none, so lines may have any length.

    ``COLUMNS`` overrides the terminal's own answer, as in other commands.
    """
    if stream is None or not stream.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return int(told)
    return os.get_terminal_size(stream.fileno()).columns or _USUAL_COLUMNS


def wrapped(text: str, width: int | None, *, indent: int = 2) -> str:
    """Return ``text`` with lines longer than ``width`` columns broken between words; None: as it is.

    Words are never broken, so that paths, addresses and commands can be copied. What follows a break is indented by
    ``indent`` columns more than the line, or than the text of an item of a list.
    """
    if width is None:
        return text
    lines: list[str] = []
    for line in text.split("\n"):
        start = len(line) - len(line.lstrip())
        start += 2 * line.startswith("- ", start)
        lines += textwrap.wrap(
            line,
            width,
            subsequent_indent=" " * (start + indent),
            break_long_words=False,
            break_on_hyphens=False,
            expand_tabs=False,
            replace_whitespace=False,
        ) or [""]
    return "\n".join(lines)


def tell(text: str) -> None:
    """Print a message for a person on standard error, wrapped if that is a terminal."""
    print(wrapped(text, columns(sys.stderr)), file=sys.stderr, flush=True)  # noqa: T201


def _not_written(error: OSError) -> int:
    tell(f"alphapulse: cannot write standard output: {error.strerror}")
    # Otherwise the interpreter retries at exit and prints an error.
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_NOT_WRITTEN


def _reader_gone(error: BaseException) -> bool:
    """Whether ``error`` comes from a write to a standard stream whose reader has ended.

    A socket may break as well. But only for broken streams do typer and rich raise ``SystemExit`` with code 1; they
    then replace standard output, so that it cannot be inspected; passing through tasks, the exit may lose its cause.
    """
    closed = any(map(_closed, (1, 2)))
    if isinstance(error, SystemExit) and error.code == 1 and closed:
        return True
    chain: BaseException | None = error
    while chain is not None and not isinstance(chain, BrokenPipeError):
        chain = chain.__cause__ or chain.__context__
    return chain is not None and (closed or isinstance(error, SystemExit))


def _closed(descriptor: int) -> bool:
    look = select.poll()
    look.register(descriptor, 0)
    return any(events & select.POLLERR for _, events in look.poll(0))


def _end_by_signal() -> NoReturn:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # ClickHouse's engine blocks it in the thread that loaded it.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPIPE})
    # To this thread: kill() may leave it to another one, and return before that has taken it.
    signal.raise_signal(signal.SIGPIPE)
    os._exit(128 + signal.SIGPIPE)  # another thread is already ending the process
