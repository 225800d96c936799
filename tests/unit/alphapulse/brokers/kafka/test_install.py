"""Tests of the installation of Kafka's jars: what is missing, what is refused, what is fetched, and how often.

Java and Maven are scripts here, because the faults under test are theirs; the real ones work in
``tests/integration/kafka``.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from alphapulse.brokers.kafka import install as kafka_install
from alphapulse.brokers.kafka.install import Pins, cache_folder, faults, find_java, install, missing, pins
from alphapulse.errors import BrokerError

ROOT = Path(__file__).resolve().parents[5]
JARS = {"a-1.jar": b"first", "b-2.jar": b"second"}
SUMS = {name: hashlib.sha256(content).hexdigest() for name, content in JARS.items()}


class Machine:
    """A machine with the programs a test gives it."""

    def __init__(self, root: Path) -> None:
        self.bin = root / "bin"
        self.bin.mkdir()
        self.cache = root / "cache"
        self.calls = root / "calls"
        folder = root / "definition"
        folder.mkdir()
        (folder / "pom.xml").write_text("<kafka.version>9.9.9</kafka.version>")
        (folder / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in SUMS.items()))
        self.pins = pins(folder)

    def has(self, name: str, script: str) -> None:
        """Put a program there."""
        program = self.bin / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def has_java(self, version: str = "17.0.15") -> None:
        """Put a Java there."""
        self.has("java", f"""echo 'openjdk version "{version}" 2025-04-15' >&2""")

    def has_maven(self, jars: dict[str, bytes], then: str = "") -> None:
        """Put a Maven there that brings ``jars`` and counts its calls."""
        lines = [f"echo called >> {self.calls}", 'for last; do :; done; folder="${last#*=}"; /bin/mkdir -p "$folder"']
        lines += [f'printf %s {content.decode()} > "$folder/{name}"' for name, content in jars.items()]
        self.has("mvn", "\n".join([*lines, then]))

    def downloads(self) -> int:
        """Return how often Maven was called."""
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine without Java and Maven, and with an empty cache."""
    made = Machine(tmp_path)
    monkeypatch.setenv("PATH", str(made.bin))
    monkeypatch.setenv("XDG_CACHE_HOME", str(made.cache))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return made


def test_what_the_project_pins_is_whole() -> None:
    pinned = pins()
    assert pinned.folder == ROOT / "deploy" / "kafka"
    assert f"kafka_2.13-{pinned.version}.jar" in pinned.sums
    assert {"log4j-core", "log4j-slf4j-impl", "kafka-clients"} <= {name.rpartition("-")[0] for name in pinned.sums}
    assert (pinned.folder / kafka_install.LOGGING).is_file()
    # Where artifacts come from is the machine's business.
    assert "<repositor" not in (pinned.folder / "pom.xml").read_text()


def test_fetches_once_and_checks_each_time(machine: Machine) -> None:
    machine.has_java()
    machine.has_maven(JARS)
    told: list[str] = []
    made = install(machine.pins, downloading=told.append)
    assert install(machine.pins, downloading=told.append) == made
    assert (told, machine.downloads()) == (["9.9.9"], 1)
    assert (made.version, made.java) == ("9.9.9", str(machine.bin / "java"))
    assert {path.name: path.read_bytes() for path in made.jars.iterdir()} == JARS
    assert made.jars == machine.cache / "alphapulse" / "kafka-9.9.9"
    assert "17.0.15" in made.classes.name  # an archive of classes is of one Java only

    (made.jars / "a-1.jar").write_bytes(b"changed")
    (made.jars / "evil.jar").write_bytes(b"added")
    assert install(machine.pins) == made
    assert machine.downloads() == 2
    assert {path.name: path.read_bytes() for path in made.jars.iterdir()} == JARS


@pytest.mark.parametrize(
    ("jars", "reason"),
    [
        ({**JARS, "b-2.jar": b"other"}, rf"b-2\.jar: SHA-256 {hashlib.sha256(b'other').hexdigest()}, expected"),
        ({"a-1.jar": b"first"}, r"b-2\.jar: missing"),
        ({**JARS, "c-3.jar": b"third"}, r"c-3\.jar: not pinned"),
    ],
)
def test_jars_other_than_those_pinned_are_refused(machine: Machine, jars: dict[str, bytes], reason: str) -> None:
    machine.has_java()
    machine.has_maven(jars)
    with pytest.raises(BrokerError, match=reason):
        install(machine.pins)
    assert [path.name for path in (machine.cache / "alphapulse").iterdir()] == ["kafka-9.9.9.lock"]


def test_a_download_that_fails_says_why(machine: Machine) -> None:
    machine.has_java()
    machine.has_maven(
        {"a-1.jar": b"first"}, then="echo '[ERROR] Could not transfer artifact: Connection refused'; exit 1"
    )
    with pytest.raises(BrokerError, match=r"could not download Kafka 9\.9\.9:\n.*Connection refused"):
        install(machine.pins)
    assert [path.name for path in (machine.cache / "alphapulse").iterdir()] == ["kafka-9.9.9.lock"]


def test_several_processes_fetch_once(machine: Machine) -> None:
    machine.has_java()
    machine.has_maven(JARS, then="/bin/sleep 0.3")
    code = (
        "from pathlib import Path; from alphapulse.brokers.kafka.install import install, pins;"
        f"print(install(pins(Path({str(machine.pins.folder)!r}))).jars)"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        for _ in range(3)
    ]
    told = {process.communicate()[0].strip() for process in started}
    assert told == {str(machine.cache / "alphapulse" / "kafka-9.9.9")}
    assert [process.returncode for process in started] == [0, 0, 0]
    assert machine.downloads() == 1


def test_no_java_says_what_to_install(machine: Machine) -> None:
    with pytest.raises(BrokerError, match=r"java not found; install Java 17 or later .*openjdk-17-jre-headless"):
        find_java()
    assert "java not found" in (missing() or "")


@pytest.mark.parametrize("version", ["11.0.2", "1.8.0_392", "16"])
def test_an_old_java_is_refused(machine: Machine, version: str) -> None:
    machine.has_java(version)
    with pytest.raises(BrokerError, match=rf"java is Java {re.escape(version)}; install Java 17"):
        find_java()


@pytest.mark.parametrize("version", ["17", "17.0.15", "21.0.1", "25-ea"])
def test_a_newer_java_will_do(machine: Machine, version: str) -> None:
    machine.has_java(version)
    assert find_java() == (str(machine.bin / "java"), version)


@pytest.mark.parametrize(("script", "reason"), [("exit 1", "cannot be run"), ("echo what >&2", "prints no version")])
def test_a_java_that_does_not_answer_is_named(machine: Machine, script: str, reason: str) -> None:
    machine.has("java", script)
    with pytest.raises(BrokerError, match=rf"{re.escape(str(machine.bin / 'java'))}.* {reason}"):
        find_java()


def test_java_home_comes_first(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine.has_java("11")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    with pytest.raises(BrokerError, match=r"JAVA_HOME \(.*jdk\) has no bin/java"):
        find_java()
    (tmp_path / "jdk" / "bin").mkdir(parents=True)
    (machine.bin / "java").rename(tmp_path / "jdk" / "bin" / "java")
    with pytest.raises(BrokerError, match="is Java 11"):
        find_java()


def test_maven_is_needed_for_the_download_only(machine: Machine) -> None:
    machine.has_java()
    with pytest.raises(BrokerError, match=r"mvn not found, which downloads Kafka 9\.9\.9; install Apache Maven"):
        install(machine.pins)
    assert "mvn not found" in (missing() or "")
    folder = machine.cache / "alphapulse" / "kafka-9.9.9"
    folder.mkdir()
    for name, content in JARS.items():
        (folder / name).write_bytes(content)
    assert install(machine.pins).jars == folder


def test_a_cache_that_cannot_be_written_is_named(machine: Machine) -> None:
    machine.has_java()
    machine.cache.write_text("a file")
    with pytest.raises(BrokerError, match=r"cache .*alphapulse is not writable: Not a directory"):
        install(machine.pins)


def test_the_cache_follows_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for ignored in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache_folder() == tmp_path / ".cache" / "alphapulse"


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("pom.xml", "<project/>", r"pom\.xml does not set kafka\.version"),
        (
            "SHA256SUMS",
            f"{'0' * 64}  a.jar\nnonsense\n",
            r"SHA256SUMS:2: expected '<sha256>  <name>\.jar', found 'nonsense'",
        ),
        ("SHA256SUMS", f"{'0' * 64}  ../a.jar\n", r"SHA256SUMS:1: expected"),
    ],
)
def test_a_wrong_definition_is_named(machine: Machine, file: str, text: str, reason: str) -> None:
    (machine.pins.folder / file).write_text(text)
    with pytest.raises(BrokerError, match=reason):
        pins(machine.pins.folder)


def test_a_missing_definition_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"cannot read .*pom\.xml: No such file"):
        pins(tmp_path)


def test_faults_are_told_in_order(tmp_path: Path) -> None:
    assert faults(tmp_path / "none", SUMS) == ["a-1.jar: missing", "b-2.jar: missing"]
    assert Pins(tmp_path, "1", SUMS).sums == SUMS
