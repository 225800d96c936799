"""Entry point of the ``alphapulse`` command."""

from __future__ import annotations

import sys
from typing import NoReturn

from alphapulse import output

EXIT_INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line; an expected error becomes one message and exit code 2."""
    output.finish(run)


def run() -> int:
    """Run the command line of this process; return the exit code."""
    if sys.argv[1:2] == ["health"]:
        from alphapulse.cli import health

        return health.main(sys.argv[2:])
    return _run()


def _run() -> int:
    import typer

    from alphapulse.cli import wording
    from alphapulse.cli.app import app
    from alphapulse.cli.invocation import NAME
    from alphapulse.errors import AlphaPulseError
    from alphapulse.service import EXIT_REFUSED

    try:
        return int(wording.command(app)(prog_name=NAME, standalone_mode=False) or 0)
    except typer.Abort:
        return EXIT_INTERRUPTED
    except typer.TyperException as error:
        # Typer draws a frame of 80 columns, which breaks paths over two lines.
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else NAME
        if text := wording.refusal(error):
            output.tell(f"{path}: {text} (see {path} --help)")
        return EXIT_REFUSED
    except AlphaPulseError as error:
        output.tell(f"{NAME}: {error}")
        return EXIT_REFUSED
