"""``alphapulse health``: ask the services of this machine or container whether they are ready.

Lightweight: container engines run it every few seconds, so it imports neither the configuration nor the rest of the
command line.

With ``--end-hung`` it is also a watchdog for engines that restart what has ended but not what hangs, as Docker does: it
ends a service that accepts connections and answers none of them. From outside the process, since nothing within helps
one whose threads all stand still.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from alphapulse import output

USAGE: Final = """usage: alphapulse health [--live] [URL ...]
       alphapulse health --end-hung

Ask services whether they are ready (/ready), or with --live only whether they
run (/health).
--end-hung, for health checks of containers: ask, and end the service if it has
not answered 6 times in a row (SIGABRT; a second later SIGKILL).
URL: address of a service's ops port, not of the gateway's page; default:
http://127.0.0.1:$ALPHAPULSE_OPS__PORT.
Exit code: 0 all are, 1 at least one is not, 2 invalid arguments."""

ANSWER_SECONDS: Final = 3.0
HUNG_AFTER: Final = 6
"""So many questions in a row without an answer: 80 s at the image's interval of 10 s."""
ABORT_SECONDS: Final = 1.0
"""Time for a hung service to write the stacks of its threads (PYTHONFAULTHANDLER) and end."""
_PORT: Final = "ALPHAPULSE_OPS__PORT"
_DATA_DIR: Final = "ALPHAPULSE_DATA_DIR"


def ask(url: str, path: str) -> tuple[bool, str]:
    """Return whether the service at ``url`` answers ``path`` with yes, and a line about it."""
    yes, line, _ = _ask(url, path)
    return yes, line


def _ask(url: str, path: str) -> tuple[bool, str, bool]:
    """Return in addition whether a connection was accepted, but nothing came."""
    try:
        with urllib.request.urlopen(url.rstrip("/") + path, timeout=ANSWER_SECONDS) as response:  # noqa: S310 http only
            said = _decoded(response.read())
    except urllib.error.HTTPError as error:
        said = _decoded(error.read())
        if error.code == HTTPStatus.NOT_FOUND:
            return False, f"{url}: has no {path}: not the ops port of a service", False
        return False, f"{said.get('service', url)}: {said.get('waiting') or 'not ready'}", False
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        told = getattr(reason, "strerror", None) or reason
        return False, f"{url}: {told}", isinstance(reason, TimeoutError)
    return True, f"{said.get('service', url)}: {said.get('status', 'ready')}", False


def end_hung(folder: Path, port: str, *, timed_out: bool) -> str:
    """Take what became of a question, and end the service on ``port`` if it hangs; return a line about that.

    Timeouts in a row are counted, in a file of ``folder`` (data_dir/run): each health check is a process of its own.
    Not seconds: while a container is paused no check runs, and a service that was paused does not hang.
    """
    path = folder / f"unanswered-{port}"
    if not timed_out:
        path.unlink(missing_ok=True)
        return ""
    folder.mkdir(parents=True, exist_ok=True)
    times = (int(path.read_text(encoding="utf-8") or 0) if path.exists() else 0) + 1
    if times < HUNG_AFTER or (pid := _announced_by(folder, port)) is None:
        path.write_text(str(times), encoding="utf-8")
        return ""
    path.unlink(missing_ok=True)
    _end(pid)
    return f"no answer {times} times in a row: ended process {pid}"


def _announced_by(folder: Path, port: str) -> int | None:
    for path in sorted(folder.glob("*.json")):
        announced = json.loads(path.read_text(encoding="utf-8"))
        if str(announced.get("ops_port")) == port:
            return int(announced["pid"])
    return None


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
        os.kill(pid, signal.SIGABRT)
        deadline = time.monotonic() + ABORT_SECONDS
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)


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
    if unknown := options - {"--live", "--end-hung"}:
        output.tell(f"alphapulse health: unknown option {min(unknown)} (see alphapulse health --help)")
        return 2
    if "--end-hung" in options and urls:
        output.tell("alphapulse health: --end-hung is for the service of this container: it takes no URL")
        return 2
    if not urls:
        port = os.environ.get(_PORT, "")
        if not port.isdecimal() or port == "0":
            told = f"no port known: give a URL, or set {_PORT} (found {port!r})"
            output.tell(f"alphapulse health: {told}")
            return 2
        urls = [f"http://127.0.0.1:{port}"]
    if wrong := [url for url in urls if not url.startswith(("http://", "https://"))]:
        output.tell(f"alphapulse health: {wrong[0]!r} is not an http:// address")
        return 2
    answers = [_ask(url, "/health" if "--live" in options else "/ready") for url in urls]
    for _, line, _ in answers:
        print(line)
    if "--end-hung" in options:
        folder = Path(os.environ.get(_DATA_DIR, "data")) / "run"
        if told := end_hung(folder, os.environ[_PORT], timed_out=answers[0][2]):
            print(told)
    return 0 if all(yes for yes, _, _ in answers) else 1
