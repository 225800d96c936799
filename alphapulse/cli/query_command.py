"""A command whose argument is a text of the user's own, which may begin with ``--`` as SQL comments do."""

from __future__ import annotations

import re
from typing import Any, Final

from typer.core import TyperCommand

_OPTION: Final = re.compile(r"--?[A-Za-z][\w-]*(?:=[^\n]*)?")
"""What can be an option: a name, and perhaps a value behind ``=``. A query that begins with a comment has a line break
or a space in its place; only one that consists of nothing but ``--name`` could be taken for an option."""


class QueryCommand(TyperCommand):
    """Takes what does not look like an option for an argument, wherever it stands."""

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
                    return super().parse_args(ctx, [word])  # which says what it lacks
                options += [word, value]
            elif _OPTION.fullmatch(word):
                options.append(word)
            else:
                rest.append(word)
        return super().parse_args(ctx, [*options, "--", *rest])
