"""One node of a local Kafka cluster: Java process, folder and log."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from alphapulse.brokers.kafka.install import Installation
from alphapulse.brokers.kafka.plan import ClusterPlan, Ports
from alphapulse.brokers.tied import tied
from alphapulse.errors import BrokerError

# A small heap, a garbage collector without extra threads, no files outside our folder; out of memory ends the node.
_JVM: Final = ("-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true")

HEAP_MEGABYTES: Final = {1: 512, 3: 256}
"""Maximum heap by number of nodes; a process takes about 150 MB more."""

_STOPPED: Final = 128 + signal.SIGTERM
"""Java's exit code after a graceful stop."""

_REASON_LINES: Final = 6


Properties: TypeAlias = Callable[[dict[str, str]], Mapping[str, str]]
"""Given a node's ``server.properties``, returns those to add or to replace."""


class KafkaNode:
    """Node ``number`` (from 1) of a cluster; all its data is in ``folder``.

    The process ends with the thread that called :meth:`start` (on Linux, even after ``kill -9``), so call it from the
    main thread.
    """

    def __init__(
        self,
        number: int,
        folder: Path,
        plan: ClusterPlan,
        installation: Installation,
        *,
        properties: Properties | None = None,
    ) -> None:
        self.number = number
        self.folder = folder
        self.log = folder / "node.log"
        self._stderr = folder / "stderr.log"
        self._properties = folder / "server.properties"
        self._classes = folder / "classes.jsa"
        self._plan = plan
        self._further = properties
        self._installation = installation
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def ports(self) -> Ports:
        """Listening ports."""
        return self._plan.ports[self.number - 1]

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """Exit code of an ended process; negative: the signal that killed it."""
        return self._process.poll() if self._process is not None else None

    def prepare(self) -> None:
        """Write the configuration, and format the log folder on first use.

        Raises:
            BrokerError: the folder cannot be written, or Kafka refuses it.
        """
        data = self.folder / "data"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            properties = self._plan.properties(self.number, data)
            if self._further is not None:
                properties |= self._further(properties)
            lines = (f"{key}={_escaped(value)}\n" for key, value in properties.items())
            self._properties.write_text("".join(lines), encoding="utf-8")
        except OSError as error:
            raise BrokerError(f"kafka broker: cannot write {error.filename}: {error.strerror or error}") from error
        if (data / "meta.properties").is_file():
            return
        tool = ("kafka.tools.StorageTool", "format", "--cluster-id", self._plan.cluster_id, "--ignore-formatted")
        options = ("-XX:TieredStopAtLevel=1", *self._shared_classes())
        command = self._java(*options, *tool, "--config", str(self._properties))
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            reason = "\n".join((done.stdout + done.stderr).strip().splitlines()[-_REASON_LINES:])
            raise BrokerError(f"kafka broker: node {self.number}: cannot format {data}:\n{reason}")

    def _java(self, *arguments: str) -> list[str]:
        made = self._installation
        logging = (f"-Dlog4j2.configurationFile={made.logging}", f"-Dalphapulse.log={self.log}")
        return [made.java, *_JVM, *logging, "-cp", f"{made.jars}/*", *arguments]

    def start(self) -> None:
        """Start the process, without waiting until it is ready.

        Raises:
            BrokerError: it is already running, or cannot be started.
        """
        if self.pid is not None:
            raise BrokerError(f"kafka broker: node {self.number} is already running as process {self.pid}")
        heap = f"-Xmx{HEAP_MEGABYTES[len(self._plan.ports)]}m"
        command = tied(self._java(heap, *self._class_archive(), "kafka.Kafka", str(self._properties)))
        try:
            self._log_start = self.log.stat().st_size if self.log.exists() else 0
            with self._stderr.open("wb") as errors:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    # Ctrl-C in the terminal goes to our parent process, which stops us in order.
                    start_new_session=True,
                )
        except OSError as error:
            raise BrokerError(f"kafka broker: node {self.number}: cannot start: {error}") from error

    def _class_archive(self) -> list[str]:
        """Return Java options for the class archive; if there is none, node 1 writes it when it stops."""
        if shared := self._shared_classes():
            return shared
        self._classes.unlink(missing_ok=True)
        return [f"-XX:ArchiveClassesAtExit={self._classes}"] if self.number == 1 else []

    def _shared_classes(self) -> list[str]:
        # Java ignores an archive that does not match its jars or version.
        archive = self._installation.classes
        return [f"-XX:SharedArchiveFile={archive}"] if archive.is_file() else []

    def keep_classes(self) -> None:
        """Move the class archive, if the process wrote one at a graceful stop, to the folder shared by all nodes."""
        if self.exit_code != _STOPPED or not self._classes.is_file():
            return
        archive = self._installation.classes
        draft = archive.with_name(f"{archive.name}.{os.getpid()}.tmp")
        try:
            shutil.move(self._classes, draft)
            draft.replace(archive)
        except OSError:
            # This costs only speed.
            draft.unlink(missing_ok=True)

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal, if it runs."""
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """Kill it (SIGKILL) and wait for its end. Acknowledged records are in its files."""
        if self._process is not None:
            self.send(signal.SIGKILL)
            self._process.wait()

    def reason(self) -> str:
        """Return the last lines of its output and the errors in its log since its last start."""
        lines = _lines(self._stderr, 0)
        logged = _lines(self.log, self._log_start)
        for line, after in itertools.pairwise([*logged, ""]):
            if " ERROR " in line or " FATAL " in line:
                # The next line names the exception, if any.
                lines += [line] if after[:1].isdigit() else [line, after]
        return "\n".join(lines[-_REASON_LINES:]) or f"no reason in {self.log}"


def _escaped(value: str) -> str:
    # In Java's properties a backslash is the escape character.
    return value.replace("\\", "\\\\")


def _lines(file: Path, start: int) -> list[str]:
    try:
        with file.open("rb") as source:
            source.seek(start)
            return source.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
