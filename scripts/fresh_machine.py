#!/usr/bin/env python3
"""A new user's first steps on a machine with Python, make, git and POSIX's base tools only, checked and timed.

``scripts/fresh_machine.py [--whole]`` clones the repository (what is committed) into a temporary folder with nothing
beside it, and there, with a PATH that holds links to those programs and no more (no node, npm, java, mvn, uv, browser):

1. ``make demo``, until it says that it runs; page and JavaScript come from the gateway, a book moves; Ctrl-C: the demo
   ends with 0 and no process is left.
2. The replay command of README.md, as it stands there.
3. ``make test`` of the replay and the page: what depends on the recordings and on what builds the page. Of the others
   only those on a real Kafka depend on the machine's programs, and are skipped without Java, saying so; all of them run
   in the same CI with everything there, and running them twice would tell nothing more. ``--whole`` runs them all.

The package managers keep their configuration and caches; nothing else of the caller's environment is passed on. Prints
the seconds of each step; the exit code is 0 if all of them work.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

ROOT = Path(__file__).resolve().parent.parent
TOOLS = """
    git make sh find grep sed which xargs basename cat chmod cp cut date dirname echo env expand expr false head id
    install kill ln ls mkdir mktemp mv nohup od paste printf pwd readlink rm rmdir sleep sort stat tail tee test touch
    tr true uname uniq wc
""".split()  # noqa: SIM905 a list of words is easier to read
"""git, make, and what POSIX has: coreutils, sh, find, grep, sed."""
FORBIDDEN = ("node", "npm", "java", "mvn", "uv", "chromium", "docker", "cc")
KEPT = re.compile(r"(PIP_|NPM_CONFIG_|npm_config_|SSL_CERT_|NODE_EXTRA_CA_CERTS|REQUESTS_CA_BUNDLE|.*_proxy|.*_PROXY)")
"""Names of variables that tell package managers where packages come from."""
REPLAY_TESTS = (
    "tests/e2e/test_replay.py",
    "tests/unit/producers/test_recordings.py",
    "tests/unit/calculator",
    "tests/integration/producers/test_venue_servers.py",
    "tests/unit/gateway/test_page.py",
)
MARK = "FRESH_MACHINE"
"""A variable that all processes of a run inherit: by it those are found that are left."""


class Failed(Exception):
    """A step does not do what it should."""


def tools(folder: Path) -> None:
    """Make the PATH: a folder of links."""
    folder.mkdir()
    (folder / "python3").symlink_to(Path(sys.executable).resolve())
    for name in TOOLS:
        if (found := shutil.which(name)) is not None:
            (folder / name).symlink_to(found)
    for name in FORBIDDEN:
        if shutil.which(name, path=str(folder)) is not None:
            raise Failed(f"{name} is on the PATH")


def environment(place: Path, mark: str) -> dict[str, str]:
    """Return the environment of a fresh machine, the package managers' configuration and caches apart."""
    home, user = place / "home", Path.home()
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if KEPT.match(name)}
    for variable, path in (
        ("PIP_CONFIG_FILE", user / ".config/pip/pip.conf"),
        ("NPM_CONFIG_USERCONFIG", user / ".npmrc"),
    ):
        if path.is_file():
            kept.setdefault(variable, str(path))
    kept.setdefault("PIP_CACHE_DIR", str(user / ".cache/pip"))
    kept.setdefault("NPM_CONFIG_CACHE", str(user / ".npm"))
    return {**kept, "PATH": str(place / "bin"), "HOME": str(home), "LANG": "C.UTF-8", MARK: mark}


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Time a step; print its line."""
    began = time.monotonic()
    yield
    print(f"{time.monotonic() - began:7.1f} s  {name}", flush=True)


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait for ``condition``; return what it returns.

    Raises:
        Failed: it does not come true in time.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds:g} s: {what}")
        time.sleep(0.1)
    return found


def left(mark: str) -> list[tuple[int, str]]:
    """Return process ids and command lines of the processes that carry the mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found.append((int(folder.name), command))
        except OSError:  # it ended meanwhile, or is another user's
            continue
    return found


def fetch(url: str) -> tuple[str, str]:
    """Return content type and body.

    Raises:
        Failed: it is not to be had.
    """
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 loopback
            return answer.headers["Content-Type"], answer.read().decode()
    except OSError as error:
        raise Failed(f"{url}: {error}") from error


def page_is_served(url: str) -> None:
    """Check that the page and its JavaScript come from the gateway.

    Raises:
        Failed: they do not.
    """
    kind, page = fetch(url + "/")
    scripts = re.findall(r'<script[^>]* src="([^"]+\.js)"', page)
    if not kind.startswith("text/html") or not scripts:
        raise Failed(f"no page with JavaScript at {url}: {kind} {page[:300]!r}")
    for path in scripts:
        kind, script = fetch(urljoin(url + "/", path))
        if "javascript" not in kind or len(script) < 10_000:
            raise Failed(f"{path} is no built script: {kind}, {len(script)} characters")


def book_moves(url: str) -> None:
    """Wait until a valid book of two venues changes.

    Raises:
        Failed: none does.
    """

    def books() -> dict[str, Any]:
        told = json.loads(fetch(f"{url}/api/v1/instruments")[1])["instruments"]
        names = [(one["venue"], one["symbol"]) for one in told if one["valid"]]
        return {
            f"{venue} {symbol}": {
                side: json.loads(fetch(f"{url}/api/v1/books/{venue}/{symbol}")[1])[side] for side in ("bids", "asks")
            }
            for venue, symbol in names[:4]
        }

    first = until(books, 30, "a valid book at the gateway")
    until(lambda: any(book != first.get(name) for name, book in books().items()), 30, "a book that changes")


def demo(clone: Path, environment: dict[str, str], log: Path, mark: str) -> None:
    """Run the demo from its installation to Ctrl-C.

    Raises:
        Failed: something is not as a user expects it.
    """
    with step("make demo, until it runs"), log.open("wb") as out:
        make = subprocess.Popen(
            ["make", "demo", "PORT=0"], cwd=clone, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )

        def running() -> re.Match[str] | None:
            if make.poll() is not None:
                raise Failed(f"make demo ended with {make.returncode}:\n{log.read_text()[-3000:]}")
            return re.search(r"running after .*?(http://[0-9.:]+)", log.read_text())

        url = until(running, 900, "running after …")[1]
    try:
        with step("page, JavaScript and a moving book over HTTP"):
            page_is_served(url)
            book_moves(url)
    finally:
        with step("Ctrl-C, until no process is left"):
            # In a terminal make gets the signal as well and says "Interrupt"; the exit code that counts is the demo's.
            children = Path(f"/proc/{make.pid}/task/{make.pid}/children").read_text().split()
            for pid in children:
                os.kill(int(pid), signal.SIGINT)
            code = make.wait(120)
    if code != 0:
        raise Failed(f"the demo ended with {code}:\n{log.read_text()[-3000:]}")
    until(lambda: not left(mark), 10, "no process is left")


def readme_commands(clone: Path) -> str:
    """Return what README.md says to type for a replay, with what puts the command on the PATH."""
    text = (clone / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    (\. \.venv/bin/activate|alphapulse replay recordings/\S+ .*)$", text, re.MULTILINE)
    if len(lines) < 2:
        raise Failed(f"README.md does not say how to replay the recordings: {lines}")
    return "set -e\n" + "\n".join(lines)


def run(what: str, command: list[str], clone: Path, environment: dict[str, str], seconds: float) -> None:
    """Run a command to its end.

    Raises:
        Failed: its exit code is not 0.
    """
    with step(what):
        done = subprocess.run(
            command, cwd=clone, env=environment, stdin=subprocess.DEVNULL, timeout=seconds, check=False
        )
    if done.returncode != 0:
        raise Failed(f"{what}: exit code {done.returncode}")


def main() -> int:
    """Do it; return the exit code."""
    whole = "--whole" in sys.argv[1:]
    mark = uuid.uuid4().hex
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fresh-machine-") as name:
        place = Path(name)
        tools(place / "bin")
        fresh = environment(place, mark)
        clone = place / "alone" / "alphapulse"
        try:
            run("git clone", ["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone)], place, fresh, 60)
            demo(clone, fresh, place / "demo.log", mark)
            run("README's replay", ["sh", "-c", readme_commands(clone)], clone, fresh, 300)
            arguments = [] if whole else [f"ARGS={' '.join(REPLAY_TESTS)}"]
            what = "make test" if whole else "make test of the replay and the page"
            run(what, ["make", "test", *arguments], clone, fresh, 3600)
        except Failed as error:
            print(f"fresh machine: {error}", file=sys.stderr)
            return 1
        finally:
            for pid, _ in left(mark):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = used.ru_utime + used.ru_stime
    print(f"{time.monotonic() - began:7.1f} s  in all ({spent:.0f} s of processor time)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
