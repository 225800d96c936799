"""Secrets in files: ``NAME_FILE`` names a file that holds the value of ``NAME``.

Containers and orchestrators pass secrets as files. Each load of the configuration reads the file; a trailing line
break is removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from alphapulse.text_files import NoText, read_text

SUFFIX: Final = "_FILE"


def naming(variables: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Return those of ``variables`` with ``prefix`` that name a file."""
    return {
        name: value
        for name, value in variables.items()
        if name.upper().startswith(prefix) and name.upper().endswith(SUFFIX)
    }


def expanded(variables: Mapping[str, str], prefix: str) -> tuple[dict[str, str], list[str]]:
    """Replace file names by file contents; return the variables and the errors.

    Args:
        variables: the environment.
        prefix: other variables are returned unchanged.
    """
    found, faults = dict(variables), []
    for name, value in naming(variables, prefix).items():
        del found[name]
        meant = name[: -len(SUFFIX)]
        if any(other.upper() == meant.upper() for other in variables):
            faults.append(f"{name}: {meant} is also set; set only one of them")
            continue
        try:
            found[meant] = read_text(Path(value)).rstrip("\r\n")
        except NoText as error:
            faults.append(f"{name}: {value}: {error}")
        except OSError as error:
            faults.append(f"{name}: {value}: {error.strerror or error}")
    return found, faults
