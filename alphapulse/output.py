"""Standard output of a command: a reader that goes away (``| head``) ends it as it ends any Unix tool.

Python ignores SIGPIPE, which services need (their sockets would end them), and raises ``BrokenPipeError`` instead. A
command that only prints is to die of the signal, silently: the shell then shows 141, or nothing at all.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable
from typing import Final, NoReturn

EXIT_NOT_WRITTEN: Final = 1
"""Standard output could not be written (a full disk, a closed descriptor)."""


def finish(main: Callable[[], int]) -> NoReturn:
    """Run ``main``, flush standard output, and end the process with the exit code that ``main`` returns.

    The process ends by SIGPIPE if nobody reads its output any more, and with :data:`EXIT_NOT_WRITTEN` and one message
    if it cannot be written for another reason.
    """
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
    """Write ``data`` to standard output as it is.

    Raises:
        BrokenPipeError: nobody reads it any more; :func:`finish` deals with that.
        SystemExit: it cannot be written; the reason has been told.
    """
    if sys.stdout is None:  # closed by whoever started us
        sys.exit(_not_written(OSError(0, "it is closed")))
    rest = memoryview(data)
    try:
        # Where output is not buffered (PYTHONUNBUFFERED) one call need not write all.
        while rest:
            rest = rest[sys.stdout.buffer.write(rest) :]
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        sys.exit(_not_written(error))


def _not_written(error: OSError) -> int:
    print(f"alphapulse: cannot write standard output: {error.strerror}", file=sys.stderr)  # noqa: T201
    # Else the interpreter tries again while it ends, and complains.
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_NOT_WRITTEN


def _reader_gone(error: BaseException) -> bool:
    """Whether ``error`` came of a write to a standard stream that nobody reads any more.

    A socket may break as well. But typer and rich turn only broken streams into a ``SystemExit`` of code 1, and then
    replace standard output, so that it cannot be looked at any more; on its way through tasks the exit may forget what
    it came of.
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
    os.kill(os.getpid(), signal.SIGPIPE)
    os._exit(128 + signal.SIGPIPE)  # the signal is blocked
