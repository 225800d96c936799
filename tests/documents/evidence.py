"""Whether a file that a marker names reads the document, as its source says."""

from __future__ import annotations

import ast
import fnmatch
import re
from collections.abc import Iterator

from tests.documents import ROOT
from tests.documents.blocks import Block


def unread(block: Block, test: str) -> str | None:
    """Return why ``test``, which the marker of ``block`` names, cannot have run it; None: it reads it.

    A test has to select blocks by their markers (``"tests/…/test_x.py" in block.marker.tests``), or have the document's
    full path in its code, as text or joined by ``/``, or a pattern of it for ``glob``. Docstrings and names of files
    alone do not count. Another file (``.ci/run``, a script) has to select blocks so, or to run one of their commands.
    """
    source = (ROOT / test).read_text(encoding="utf-8")
    if not test.startswith("tests/"):
        if test.endswith(".py") and _selects(ast.parse(source), test):
            return None
        typed = [re.sub(r"\s+#.*", "", command).strip() for command in block.commands()]
        return None if any(_runs(source, command) for command in typed) else f"{test} runs none of its commands"
    page = block.path.relative_to(ROOT).as_posix()
    tree = ast.parse(source)
    if _selects(tree, test):
        return None
    # A pattern without a folder, such as "*.md", is of any folder.
    if any(path == page or ("/" in path and fnmatch.fnmatchcase(page, path)) for path in _paths(tree)):
        return None
    return f"{test} neither selects blocks by their markers nor names {page}"


def _runs(source: str, command: str) -> bool:
    """Whether a shell script has the command as a line, or a program as a list of words."""
    words = ", ".join(f'"{word}"' for word in command.split())
    return command in map(str.strip, source.splitlines()) or f"[{words}" in source


def _selects(tree: ast.AST, test: str) -> bool:
    return any(
        isinstance(one, ast.Compare)
        and isinstance(one.left, ast.Constant)
        and one.left.value == test
        and isinstance(one.ops[0], ast.In)
        and isinstance(one.comparators[0], ast.Attribute)
        and one.comparators[0].attr == "tests"
        for one in ast.walk(tree)
    )


def _paths(node: ast.AST) -> Iterator[str]:
    """Yield the texts in a program, whole where ``/`` or ``glob`` joins them; not its docstrings."""
    match node:
        case ast.Expr(value=ast.Constant()):
            return
        case ast.Call(func=ast.Attribute(value=folder, attr="glob"), args=[ast.Constant(value=str(pattern))]):
            yield "/".join([*_joined(folder), pattern])
        case ast.BinOp(op=ast.Div()):
            yield "/".join(_joined(node))
        case ast.Constant(value=str(text)):
            yield text
        case _:
            for below in ast.iter_child_nodes(node):
                yield from _paths(below)


def _joined(one: ast.AST) -> list[str]:
    match one:
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return [*_joined(left), *_joined(right)]
        case ast.Constant(value=str(text)):
            return [text]
    return []
