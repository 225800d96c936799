"""The reference of the command line."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import typer

from alphapulse.cli.app import app
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_the_reference_is_of_the_commands() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "scripts" / "cli_doc.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_reference_has_every_command_and_option() -> None:
    sections = dict(re.findall(r"^## alphapulse (.*?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
    root: Any = typer.main.get_command(app)
    commands = {
        name if below is command else f"{name} {inner}": below
        for name, command in root.commands.items()
        for inner, below in getattr(command, "commands", {name: command}).items()
    }
    assert set(sections) == set(commands)
    for name, command in commands.items():
        for parameter in command.params:
            assert parameter.opts[0] in sections[name], (name, parameter.opts)
    for option in ("--scope", "--expires", "--rotate-mb", "--fault-probability", "--end-hung", "--reason", "--to"):
        assert option in TEXT, option
