"""Words of the command line's help and errors, instead of those of typer and pydantic.

Typer shows a value's type as ``<str>`` and says of a flag that it takes a ``<bool>``; a value that does not fit is
refused with one of pydantic's sentences, which name its types and one bound at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import typer
from annotated_types import Ge, Le
from pydantic import ValidationError

from alphapulse.config.expected import described

_VALUES: Final = {
    "str": "TEXT",
    "int": "N",
    "int range": "N",
    "float": "N",
    "float range": "N",
    "list[str]": "NAME",
    "list[Path]": "FILE",
}
"""Type as typer shows it → word for a value of it."""


def command(app: typer.Typer) -> Any:
    """Return the command of ``app`` whose help shows words instead of types, and nothing for flags."""
    made: Any = typer.main.get_command(app)
    for each in _all(made):
        context = typer.Context(each, info_name=each.name)
        for parameter in each.get_params(context):
            parameter.display_type = parameter.display_type_rich = _word(parameter, context)
    return made


def refusal(error: typer.TyperException) -> str:
    """Return the message of a refused command line, on one line."""
    cause, parameter = error.__cause__, getattr(error, "param", None)
    if isinstance(cause, ValidationError) and parameter is not None and isinstance(error, typer.BadParameter):
        (fault, *_) = cause.errors()
        if fault["type"] != "value_error":
            limits = (Ge(parameter.min), Le(parameter.max))
            kind = described(parameter.type_descriptor.annotation, tuple(limit for limit in limits if _set(limit)))
            error.message = f"expected {kind}, found {fault['input']!r}"
    # Lists of choices span several lines; empty after an implicit help.
    return " ".join(error.format_message().replace("Value error, ", "").split())


def _set(limit: Ge | Le) -> bool:
    return (limit.ge if isinstance(limit, Ge) else limit.le) is not None


def _all(command: Any) -> Iterator[Any]:
    yield command
    for each in getattr(command, "commands", {}).values():
        yield from _all(each)


def _word(parameter: Any, context: typer.Context) -> Any:
    shown = parameter.display_type_rich(ctx=context)
    if getattr(parameter, "is_flag", False):
        shown = ""
    elif found := re.fullmatch("<(.*)>", shown):
        shown = _VALUES.get(found[1], found[1])
    return lambda ctx: shown
