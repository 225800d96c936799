"""``alphapulse health``: ask the services of this machine or container whether they are ready.

Lightweight: container engines run it every few seconds, so it imports neither the configuration nor the rest of the
command line.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any, Final

USAGE: Final = """usage: alphapulse health [--live] [URL ...]

Ask services whether they are ready (/ready), or with --live only whether they run (/health).
URL: address of a service's ops port; default: http://127.0.0.1:$ALPHAPULSE_OPS__PORT.
Exit code: 0 all are, 1 at least one is not, 2 invalid arguments."""

ANSWER_SECONDS: Final = 3.0
_PORT: Final = "ALPHAPULSE_OPS__PORT"


def ask(url: str, path: str) -> tuple[bool, str]:
    """Return whether the service at ``url`` answers ``path`` with yes, and a line about it."""
    try:
        with urllib.request.urlopen(url.rstrip("/") + path, timeout=ANSWER_SECONDS) as response:  # noqa: S310 http only
            said = _decoded(response.read())
    except urllib.error.HTTPError as error:
        said = _decoded(error.read())
        return False, f"{said.get('service', url)}: {said.get('waiting') or 'not ready'}"
    except (OSError, ValueError) as error:
        return False, f"{url}: {getattr(error, 'reason', error)}"
    return True, f"{said.get('service', url)}: {said.get('status', 'ready')}"


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def main(arguments: Sequence[str]) -> int:
    """Ask each service, print a line for each, and return the exit code."""
    options = {argument for argument in arguments if argument.startswith("-")}
    urls = [argument for argument in arguments if not argument.startswith("-")]
    if options & {"-h", "--help"}:
        print(USAGE)
        return 0
    if unknown := options - {"--live"}:
        print(f"alphapulse health: unknown option {min(unknown)} (see alphapulse health --help)", file=sys.stderr)
        return 2
    if not urls:
        port = os.environ.get(_PORT, "")
        if not port.isdecimal() or port == "0":
            told = f"no port known: give a URL, or set {_PORT} (found {port!r})"
            print(f"alphapulse health: {told}", file=sys.stderr)
            return 2
        urls = [f"http://127.0.0.1:{port}"]
    if wrong := [url for url in urls if not url.startswith(("http://", "https://"))]:
        print(f"alphapulse health: {wrong[0]!r} is not an http:// address", file=sys.stderr)
        return 2
    answers = [ask(url, "/health" if "--live" in options else "/ready") for url in urls]
    for _, line in answers:
        print(line)
    return 0 if all(yes for yes, _ in answers) else 1
