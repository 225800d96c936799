"""``python -m tests.documents [--check]``: write or compare docs/commands.md, what of the documents is run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from scripts.generated import run
from tests.documents import ROOT, documents
from tests.documents.blocks import Block, blocks

TARGET: Final = ROOT / "docs" / "commands.md"
GENERAL: Final = "tests/integration/test_documents.py"

HEAD: Final = """\
# What of these pages is run

Made of the documents by `python -m tests.documents`; a test compares them. Every block of commands, queries or programs
is run by a test as it stands, or is marked with the reason why not, in a comment of the document (`tests/documents`).
Of those that are not run, and of commands within the text and its tables, `make test` checks that what they name of
ours exists: the commands of `alphapulse`, their options and values; the targets of `make`; services, profiles and files
of `docker compose`; the chart and its values after `helm`; services in addresses; paths of the REST interface. It does
not run them, and does not know what those other programs, `curl` and `kubectl` take or answer: the options of such a
command are checked nowhere, unless a test in the list below runs it. Blocks of TOML are loaded as settings,
or as a script of faults; values of the chart in blocks of YAML are validated by its schema.
"""


def document() -> str:
    """Return the list as Markdown.

    Raises:
        ValueError: a block has no marker.
    """
    runnable = [block for path in documents() if path != TARGET for block in blocks(path) if block.runnable]
    parts = [HEAD, "## Run\n", *_table(_run(runnable), "block | test"), "", "## Not run\n"]
    return "\n".join([*parts, *_table(_not_run(runnable), "block | why not"), ""])


def _run(runnable: list[Block]) -> Iterator[tuple[str, str]]:
    for block in runnable:
        if block.marker is None:
            raise ValueError(f"{block.place}: neither run nor marked with why not")
        if block.marker.tests or block.marker.as_it_stands:
            yield _name(block), ", ".join(f"`{test}`" for test in block.marker.tests or (GENERAL,))


def _not_run(runnable: list[Block]) -> Iterator[tuple[str, str]]:
    for block in runnable:
        if block.marker is not None and block.marker.reason is not None:
            yield _name(block), block.marker.reason


def _name(block: Block) -> str:
    """Return document and first line of a block: they move less than the numbers of its lines."""
    path = block.path.relative_to(ROOT)
    link = path.relative_to("docs") if path.is_relative_to("docs") else f"../{path}"
    first = block.commands()[0] if block.language == "sh" else block.text.splitlines()[0]
    first = first.partition("  #")[0].strip().replace("|", "\\|")
    return f"[{path}]({link}): `{first if len(first) <= 80 else first[:79] + '…'}`"


def _table(rows: Iterator[tuple[str, str]], head: str) -> Iterator[str]:
    yield f"| {head} |\n|---|---|"
    for name, said in rows:
        yield f"| {name} | {said} |"


def main() -> int:
    """Write the list, or compare it; return the exit code."""
    return run("What of the documents is run.", lambda: {TARGET: document()}, "python -m tests.documents")


if __name__ == "__main__":
    sys.exit(main())
