"""Whether a file that a marker names reads the document, as its source says."""

from __future__ import annotations

import ast
import fnmatch
import re
from collections.abc import Iterator

from tests.documents import ROOT
from tests.documents.blocks import ASSIGNMENT, Block


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


def unsaid(block: Block) -> list[str]:
    """Return the commands of a block that scripts alone stand for, which none of them runs and no reason names.

    A reason names a command by its first two words (``make quick``, ``pre-commit install``).
    """
    marker = block.marker
    if marker is None or not marker.tests or any(test.startswith("tests/") for test in marker.tests):
        return []
    sources = [(ROOT / test).read_text(encoding="utf-8") for test in marker.tests]
    found = []
    for command in (re.sub(r"\s+#.*", "", line).strip() for line in block.commands()):
        words = [word for word in command.split() if not ASSIGNMENT.match(word)]
        name = " ".join([words[0].rpartition("/")[2], *words[1:2]])
        if not any(_runs(source, command) for source in sources) and name not in (marker.reason or ""):
            found.append(name)
    return found


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
