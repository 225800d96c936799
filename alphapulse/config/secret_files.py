"""Secrets in files: a variable ``NAME_FILE`` names the file whose content is the value of ``NAME``.

Containers and orchestrators hand secrets over as files. The file is read each time the configuration is; a line break
at its end does not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from alphapulse.text_files import NoText, read_text

SUFFIX: Final = "_FILE"


def expanded(variables: Mapping[str, str], prefix: str) -> tuple[dict[str, str], list[str]]:
    """Return ``variables`` with the content of files in place of their names, and a fault for each that is wrong.

    Args:
        variables: the environment.
        prefix: variables that do not begin with it are left as they are.
    """
    found, faults = dict(variables), []
    for name, value in variables.items():
        upper = name.upper()
        if not (upper.startswith(prefix) and upper.endswith(SUFFIX)):
            continue
        del found[name]
        meant = name[: -len(SUFFIX)]
        if any(other.upper() == meant.upper() for other in variables):
            faults.append(f"{name}: {meant} is set as well; set one of them")
            continue
        try:
            found[meant] = read_text(Path(value)).rstrip("\r\n")
        except NoText as error:
            faults.append(f"{name}: {value}: {error}")
        except OSError as error:
            faults.append(f"{name}: {value}: {error.strerror or error}")
    return found, faults
