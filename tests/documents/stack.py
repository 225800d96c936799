"""Commands of other programs in the documents: whether what they name of ours exists, without running them.

``docker compose``: services, profiles and files; ``helm``: the chart, and the values of ``--set``; every address whose
host is a service of the compose file. What these programs take themselves (options, names in a cluster) is not checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

import yaml

from tests.documents import ROOT

CHART: Final = "helm/alphapulse"
OF_SERVICES: Final = frozenset(
    ["build", "create", "exec", "kill", "logs", "pause", "port", "ps", "pull", "restart", "rm", "run", "start", "stop",
     "top", "unpause", "up", "wait"]
)  # fmt: skip
"""Subcommands of ``docker compose`` that name services."""
FIRST_ONLY: Final = frozenset({"exec", "run", "port"})
"""Those of them that name one; what follows is a command, or a port."""
OF_ALL: Final = frozenset({"config", "down", "images", "ls", "version"})
OF_COMPOSE: Final = frozenset({"-f", "--file", "-p", "--profile", "--project-name"})
"""Options before the subcommand whose value is the next word."""
WITH_VALUE: Final = frozenset(
    ["-e", "--env", "--format", "-n", "--scale", "--since", "--tail", "--timeout", "-t", "--until", "-u", "--user",
     "-w", "--workdir"]
)  # fmt: skip
"""Options of subcommands whose value is the next word."""
ADDRESS: Final = re.compile(r"\bhttps?://([a-z][a-z0-9-]*):\d+\b")
NO_SERVICE: Final = frozenset({"localhost"})
OPS: Final = frozenset({"books", "health", "metrics", "ready", "status"})
"""What the runbooks' ``ops SERVICE PATH`` asks for."""


@cache
def compose() -> tuple[frozenset[str], frozenset[str]]:
    """Return the services and the profiles of the compose files."""
    services: set[str] = set()
    profiles: set[str] = set()
    for path in [ROOT / "docker-compose.yml", *(ROOT / "deploy" / "compose").glob("*.yml")]:
        found = yaml.safe_load(path.read_text(encoding="utf-8")).get("services", {})
        services |= found.keys()
        profiles |= {profile for each in found.values() for profile in each.get("profiles", ())}
    return frozenset(services), frozenset(profiles)


@cache
def _schema() -> Any:
    return json.loads((ROOT / CHART / "values.schema.json").read_text(encoding="utf-8"))


def fault(words: Sequence[str]) -> str | None:
    """Return what is wrong with a simple command: a service, a profile, a file, a chart or a value that there is not.

    Args:
        words: the program and its arguments; programs that are not known here have no faults.
    """
    match list(words):
        case ["docker", "compose", *arguments]:
            said = _compose(arguments)
        case ["helm", *arguments]:
            said = _helm(arguments)
        case ["ops", service, path] if path not in OPS:
            said = f"ops {service} {path}: no such path"
        case ["ops", service, *_]:
            said = _service(service)
        case _:
            said = None
    return said or next(filter(None, map(_host, words)), None)


def _compose(arguments: list[str]) -> str | None:
    found: list[str] = []
    given = iter(arguments)
    for word in given:
        if len(found) > 1 and found[0] in FIRST_ONLY:
            break
        if not word.startswith("-"):
            found.append(word)
            continue
        option, _, value = word.partition("=")
        if option in (OF_COMPOSE if not found else WITH_VALUE):
            value = value or next(given, "")
        if said := _option(option, value):
            return said
    if not found:
        return None
    subcommand, *services = found
    if subcommand not in OF_SERVICES | OF_ALL:
        return f"docker compose {subcommand}: no such command"
    return None if subcommand in OF_ALL else next(filter(None, map(_service, services)), None)


def _option(option: str, value: str) -> str | None:
    match option:
        case "--scale":
            return _service(value.partition("=")[0])
        case "--profile" if value not in compose()[1]:
            return f"docker compose --profile {value}: no such profile"
        case "-f" | "--file" if value and not (ROOT / value).is_file():
            return f"docker compose -f {value}: no such file"
    return None


def _service(name: str) -> str | None:
    return None if name in compose()[0] else f"{name}: no such service in docker-compose.yml"


def _host(word: str) -> str | None:
    wrong = [host for host in ADDRESS.findall(word) if host not in NO_SERVICE]
    return next(filter(None, map(_service, wrong)), None)


def _helm(arguments: list[str]) -> str | None:
    for number, word in enumerate(arguments):
        if word.startswith("helm/") and not (ROOT / word / "Chart.yaml").is_file():
            return f"helm {word}: no such chart"
        option, _, value = word.partition("=")
        if option in {"--set", "--set-string", "--set-file", "--set-json"}:
            value = value or " ".join(arguments[number + 1 : number + 2])
            for key in re.findall(r"(?:^|,)([\w.-]+)(?:\[\d+\])?[\w.\[\]-]*=", value):
                if not is_value(key):
                    return f"helm --set {key}: no such value of the chart"
    return None


def is_value(key: str) -> bool:
    """Return whether the chart's schema has a value ``a.b.c``."""
    below = _schema()
    for part in key.split("."):
        known = below.get("properties", {})
        if part not in known and below.get("additionalProperties", True) is False:
            return False
        below = known.get(part, below.get("additionalProperties", {}))
        if not isinstance(below, dict):
            return True
    return True


def simple_commands(words: Sequence[str], ends: frozenset[str]) -> Iterator[list[str]]:
    """Yield the simple commands of a line: what stands between the words ``ends``, without assignments before it."""
    found: list[str] = []
    for word in [*words, ";"]:
        if word in ends or word.endswith(";"):
            found.append(word.rstrip(";"))
            stripped = [each for each in found if each and each not in ends]
            while stripped and re.match(r"[A-Z][A-Z0-9_]*=", stripped[0]):
                stripped.pop(0)
            if stripped:
                yield stripped
            found = []
        else:
            found.append(word)
