"""Installation of Apache Kafka: downloads its jars once with Maven, checks pinned SHA-256 sums, keeps them in a cache.

``deploy/kafka/pom.xml`` lists the jars, ``deploy/kafka/SHA256SUMS`` their sums; Maven's own configuration names the
repository (by default Maven Central). The sums are checked at every start (40 MB in about 50 ms).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alphapulse import output
from alphapulse.brokers.tied import tied
from alphapulse.errors import BrokerError

JAVA_VERSION: Final = 17
"""Oldest Java version for Kafka 4's brokers."""

POM: Final = "pom.xml"
SUMS: Final = "SHA256SUMS"
LOGGING: Final = "log4j2.properties"

_VERSION: Final = re.compile(r"<kafka\.version>([\w.]+)</kafka\.version>")
_SUM: Final = re.compile(r"([0-9a-f]{64})  ([\w.-]+\.jar)")
_GET_JAVA: Final = (
    "install Java 17 or later (Debian, Ubuntu: apt-get install openjdk-17-jre-headless), or set JAVA_HOME to one"
)
_GET_MAVEN: Final = "install Apache Maven (Debian, Ubuntu: apt-get install maven)"


@dataclass(frozen=True, slots=True)
class Installation:
    """A Kafka installation.

    Attributes:
        java: path of the program.
        jars: folder of the jars.
        logging: configuration of log4j.
        classes: archive of Kafka's classes as loaded by this Java, which halves a node's start-up time; written at the
            end of a first run (:mod:`alphapulse.brokers.kafka.node`).
    """

    version: str
    java: str
    jars: Path
    logging: Path
    classes: Path


@dataclass(frozen=True, slots=True)
class Pins:
    """Jars of one version, name → SHA-256 (hex), and the folder of the pom."""

    folder: Path
    version: str
    sums: dict[str, str]


def pins(folder: Path | None = None) -> Pins:
    """Read the pins in ``folder`` (default: ``deploy/kafka`` of the source tree, or of the installed package).

    Raises:
        BrokerError: a file is missing or invalid.
    """
    folder = folder if folder is not None else _definition()
    try:
        pom = (folder / POM).read_text(encoding="utf-8")
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BrokerError(f"kafka broker: cannot read {error.filename}: {error.strerror or error}") from error
    found = _VERSION.search(pom)
    if found is None:
        raise BrokerError(f"kafka broker: {folder / POM} does not set kafka.version")
    sums: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        entry = _SUM.fullmatch(line)
        if entry is None:
            raise BrokerError(
                f"kafka broker: {folder / SUMS}:{number}: expected '<sha256>  <name>.jar', found {line!r}"
            )
        sums[entry[2]] = entry[1]
    return Pins(folder, found[1], sums)


def _definition() -> Path:
    tree = Path(__file__).resolve().parents[3] / "deploy" / "kafka"
    return tree if (tree / POM).is_file() else Path(sysconfig.get_path("data")) / "share" / "alphapulse" / "kafka"


def cache_folder() -> Path:
    """Return the cache folder for jars of all checkouts: ``$XDG_CACHE_HOME/alphapulse`` (``~/.cache``)."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says to ignore a relative path.
    return (Path(chosen) if Path(chosen).is_absolute() else Path.home() / ".cache") / "alphapulse"


def find_java() -> tuple[str, str]:
    """Return path and version of a suitable Java: of ``$JAVA_HOME``, else of the search path.

    Raises:
        BrokerError: none found, or it is too old; the message says what to install.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    if java is None:
        where = f"JAVA_HOME ({home}) has no bin/java" if home else "java not found"
        raise BrokerError(f"kafka broker: {where}; {_GET_JAVA}")
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, check=True, timeout=60).stderr
    except (OSError, subprocess.SubprocessError) as error:
        raise BrokerError(f"kafka broker: {java} cannot be run: {error}") from error
    # 'openjdk version "17.0.15" 2025-04-15'; Java 8 calls itself 1.8.
    found = re.search(r'version "((?:1\.)?(\d+)[^"]*)"', told)
    if found is None:
        raise BrokerError(f"kafka broker: {java} -version prints no version: {told.strip()!r}")
    if int(found[2]) < JAVA_VERSION:
        raise BrokerError(f"kafka broker: {java} is Java {found[1]}; {_GET_JAVA}")
    return os.path.realpath(java), found[1]


def missing() -> str | None:
    """Return what this machine lacks to run Kafka, None if nothing (the download may still fail)."""
    try:
        find_java()
        pinned = pins()
        if faults(cache_folder() / f"kafka-{pinned.version}", pinned.sums) and shutil.which("mvn") is None:
            raise _no_maven(pinned)
    except BrokerError as error:
        return str(error)
    return None


def install(pinned: Pins | None = None, *, downloading: Callable[[str], None] | None = None) -> Installation:
    """Return the installation; download the jars first unless all are present as pinned.

    Only one process downloads at a time; others wait for it. Call it from the main thread: the download ends with the
    thread.

    Args:
        pinned: jars to install.
        downloading: called with the version when a download begins.

    Raises:
        BrokerError: Java or Maven is missing, the download failed, or a jar does not match its pin.
    """
    java, java_version = find_java()
    pinned = pinned if pinned is not None else pins()
    jars = cache_folder() / f"kafka-{pinned.version}"
    if faults(jars, pinned.sums):
        with _alone(jars.with_name(f"{jars.name}.lock")):
            if faults(jars, pinned.sums):  # checked again, now that no other process downloads
                if downloading is not None:
                    downloading(pinned.version)
                _download(pinned, jars)
    classes = jars.with_name(f"{jars.name}-java-{java_version}.jsa")
    return Installation(pinned.version, java, jars, pinned.folder / LOGGING, classes)


def faults(jars: Path, sums: dict[str, str]) -> list[str]:
    """Return the differences between the jars in a folder and the pins, one line each; empty if they match."""
    there = {path.name: path for path in jars.glob("*.jar")}
    found = [f"{name}: missing" for name in sums.keys() - there.keys()]
    found += [f"{name}: not pinned" for name in there.keys() - sums.keys()]
    for name in sums.keys() & there.keys():
        with there[name].open("rb") as jar:
            told = hashlib.file_digest(jar, "sha256").hexdigest()
        if told != sums[name]:
            found.append(f"{name}: SHA-256 {told}, expected {sums[name]}")
    return sorted(found)


def _download(pinned: Pins, jars: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise _no_maven(pinned)
    draft = jars.with_name(f"{jars.name}.{os.getpid()}.tmp")
    command = [maven, "--batch-mode", "--quiet", "--file", str(pinned.folder / POM), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={draft}"]
    try:
        done = subprocess.run(tied(command), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            reason = "\n".join((done.stdout + done.stderr).strip().splitlines()[:8])
            raise BrokerError(f"kafka broker: Maven could not download Kafka {pinned.version}:\n{reason}")
        if different := faults(draft, pinned.sums):
            listed = "".join(f"\n  - {line}" for line in different)
            raise BrokerError(
                f"kafka broker: the files downloaded by Maven do not match {pinned.folder / SUMS}:{listed}"
            )
        shutil.rmtree(jars, ignore_errors=True)
        draft.rename(jars)
        for outdated in jars.parent.glob(f"{jars.name}-java-*.jsa"):
            outdated.unlink()
    except OSError as error:
        raise BrokerError(f"kafka broker: cannot keep the jars in {jars}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _no_maven(pinned: Pins) -> BrokerError:
    return BrokerError(f"kafka broker: mvn not found, which downloads Kafka {pinned.version}; {_GET_MAVEN}")


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = lock.open("a")
    except OSError as error:
        raise BrokerError(f"kafka broker: cache {lock.parent} is not writable: {error.strerror or error}") from error
    with held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def tell_download(version: str) -> None:
    """Print on standard error that a download begins."""
    output.tell(f"downloading Apache Kafka {version} (once, 45 MB) to {cache_folder()}")
