"""Command whose argument is free text that may begin with ``--``, as SQL comments do."""

from __future__ import annotations

import re
from typing import Any, Final

from typer.core import TyperCommand

_OPTION: Final = re.compile(r"--?[A-Za-z][\w-]*(?:=[^\n]*)?")
"""Form of an option: a name, perhaps with ``=`` and a value. In a query that begins with a comment, a line break or a
space follows; only a query of nothing but ``--name`` could be mistaken for an option."""


class QueryCommand(TyperCommand):
    """Treats words that do not look like an option as arguments, at any position."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse ``args`` with all arguments moved behind ``--``."""
        parameters = [param for param in self.get_params(ctx) if param.param_type_name == "option"]
        with_value = {name for param in parameters if not getattr(param, "is_flag", False) for name in param.opts}
        options: list[str] = []
        rest: list[str] = []
        given = iter(args)
        for word in given:
            if word == "--":
                rest += given
            elif word in with_value:
                value = next(given, None)
                if value is None:
                    return super().parse_args(ctx, [word])  # which reports what is missing
                options += [word, value]
            elif _OPTION.fullmatch(word):
                options.append(word)
            else:
                rest.append(word)
        return super().parse_args(ctx, [*options, "--", *rest])
