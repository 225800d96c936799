"""The documents: links, commands, and what is said of them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from alphapulse.cli.app import app
from alphapulse.topics import TOPICS
from tests.documents import ROOT, documents
from tests.documents.blocks import Block, blocks
from tests.documents.commands import fault, typed
from tests.documents.links import broken
from tests.documents.settings import unknown

DOCUMENTS = [pytest.param(path, id=path.relative_to(ROOT).as_posix()) for path in documents()]
OF_NOW = [each for each in DOCUMENTS if each.id != "CHANGELOG.md"]
"""The changelog speaks of commands that are no more."""


PACKAGES = "alphapulse|producers|stream_processors|sinks|gateway|schemas|tests|scripts|deploy|recordings"


@pytest.mark.parametrize("path", DOCUMENTS)
def test_links_lead_somewhere(path: Path) -> None:
    assert list(broken(path)) == []


@pytest.mark.parametrize("path", OF_NOW)
def test_commands_exist(path: Path) -> None:
    assert [f"{place}: {said}" for place, command in typed(path) if (said := fault(command))] == []


@pytest.mark.parametrize("path", OF_NOW)
def test_settings_exist(path: Path) -> None:
    assert list(unknown(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", OF_NOW)
def test_files_that_are_named_exist(path: Path) -> None:
    named = re.findall(rf"`((?:{PACKAGES})/[\w./-]+)`", path.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists() and name != "gateway/client/dist"] == []


@pytest.mark.parametrize("path", DOCUMENTS)
def test_every_block_is_run_or_says_why_not(path: Path) -> None:
    for block in blocks(path):
        if not block.runnable:
            continue
        assert block.marker is not None, f"{block.place}: neither run nor marked with why not (tests/documents)"
        named = re.findall(r"\btests(?:/[\w.-]*\w)+", block.marker.reason or "")
        assert [name for name in named if not (ROOT / name).exists()] == [], block.place
        for test in block.marker.tests:
            file = ROOT / test
            assert file.is_file(), f"{block.place}: {test} does not exist"
            if test.startswith("tests/"):
                code = file.read_text(encoding="utf-8")
                reads = path.name in code or f'"{path.parent.name}"' in code or "in documents()" in code
                assert reads, f"{block.place}: {test} does not read {path.name}"


@pytest.mark.parametrize("path", DOCUMENTS)
def test_programs_and_files_are_well_formed(path: Path) -> None:
    for block in blocks(path):
        match block.language:
            case "toml":
                assert tomllib.loads(block.text), block.place
            case "python":
                compile(_program(block), block.place, "exec")
            case "sh":
                shell = subprocess.run(
                    ["bash", "-n"], input="\n".join(block.commands()), capture_output=True, text=True, check=False
                )
                assert "<" in block.text or shell.returncode == 0, f"{block.place}: {shell.stderr}"


def _program(block: Block) -> str:
    """Return a program; a part of one that waits is the body of a coroutine."""
    if "await " not in block.text and "async " not in block.text.partition("async def")[0]:
        return block.text
    return "async def part():\n" + "\n".join(f"    {line}" for line in block.text.splitlines())


def test_the_list_is_of_the_documents() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "tests.documents", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("alphapulse sink parquet", None),
        ("alphapulse --config deploy/config check", None),
        ("docker compose exec -T gateway alphapulse health http://collector:9100", None),
        ("ALPHAPULSE_LOG__LEVEL=DEBUG alphapulse process | head", None),
        ("make test ARGS=-x", None),
        ("alphapulse keys create", None),
        ("alphapulse keys make", "alphapulse keys make: no such command"),
        ("alphapulse sinks", "alphapulse sinks: no such command"),
        ("alphapulse broker mock", "alphapulse broker mock: no such command"),
        ("alphapulse record VENUE --rotate 3", "alphapulse record: no such option: --rotate"),
        ("alphapulse demo --ports 8000", "alphapulse demo: No such option: --ports"),
        ("alphapulse broker kafka --nodes 2", "alphapulse broker kafka: Invalid value for '--nodes'"),
        ("alphapulse keys create desk", "the following arguments are required: --scope"),
        ("alphapulse simulate --rate much", "argument --rate"),
        ("make test && make everything", "make everything: no such target"),
        ("make demo HARBOUR=8000", "make HARBOUR=8000: no such variable"),
    ],
)
def test_what_does_not_exist_is_found(command: str, expected: str | None) -> None:
    said = fault(command)
    assert said is None if expected is None else expected in str(said)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ALPHAPULSE_KAFKA__BOOTSTRAP, ALPHAPULSE_VENUES__KRAKEN__KEY, ALPHAPULSE_CONFIG, ALPHAPULSE_DATA_DIR", []),
        ("ALPHAPULSE_GATEWAY__ACCESS__SECRET_FILE, ALPHAPULSE_KAFKA__…, ALPHAPULSE_VENUES__<NAME>__KEY", []),
        ("`[clickhouse] dsn`, `[gateway.access] mode`, `[[fault]]`", []),
        ("ALPHAPULSE_KAFKA__BROKERS", ["ALPHAPULSE_KAFKA__BROKERS"]),
        ("ALPHAPULSE_GATEWAY__ACCESS__KEY", ["ALPHAPULSE_GATEWAY__ACCESS__KEY"]),
        ("`[processors] levels`", ["[processors] levels"]),
    ],
)
def test_settings_that_do_not_exist_are_found(text: str, expected: list[str]) -> None:
    assert list(unknown(text)) == expected


def test_markers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.md"
    monkeypatch.setattr("tests.documents.blocks.ROOT", tmp_path)
    path.write_text(
        "# X\n\n<!-- all sql run: tests/a.py -->\n\n    make demo\n\n<!-- run: b.py, c.py; not run: no time -->\n\n"
        "    $ git status\n    clean\n\ntext\n\n```sql\nSELECT 1\n```\n\n"
        "1. item\n\n    <!-- run -->\n\n    ```sh\n    ls\n    ```\n"
    )
    found = [(block.language, block.commands(), block.marker) for block in blocks(path)]
    assert [(language, commands) for language, commands, _ in found] == [
        ("sh", ["make demo"]),
        ("sh", ["git status"]),
        ("sql", ["SELECT 1"]),
        ("sh", ["ls"]),
    ]
    assert found[0][2] is None
    assert found[1][2] is not None
    assert (found[1][2].tests, found[1][2].reason) == (("b.py", "c.py"), "no time")
    assert found[2][2] is not None
    assert found[2][2].tests == ("tests/a.py",)
    assert found[3][2] is not None
    assert found[3][2].as_it_stands


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<!-- not run -->\n\n    make x\n", "x.md:1: not run, but why?"),
        ("<!-- run tests/a.py -->\n\n    make x\n", "x.md:1: no marker of a block"),
        ("<!-- run -->\n\ntext\n", "x.md:3: the marker above stands above no block"),
    ],
)
def test_a_wrong_marker_is_refused(text: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.documents.blocks.ROOT", tmp_path)
    (tmp_path / "x.md").write_text(text)
    with pytest.raises(ValueError, match=expected.replace("?", r"\?")):
        blocks(tmp_path / "x.md")


def test_broken_links_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.documents.links.ROOT", tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "y.md").write_text("# A b: `c`\n\n## A b: c\n")
    (tmp_path / "x.md").write_text(
        "# X\n\n[a](y.md#a-b-c)\n[b](y.md#a-b-c-1) [c](y.md#d) [d](z.md) [e](folder)\n"
        "[f](../x) [g](https://example.com/x)\n"
        "`[h](none)`\n\n    [i](none)\n\n```\n[j](none)\n```\n"
    )
    assert list(broken(tmp_path / "x.md")) == [
        "x.md: y.md#d: no such heading",
        "x.md: z.md: no such file",
        "x.md: folder: a folder: link to a file in it",
        "x.md: ../x: leaves the repository",
    ]


def test_every_figure_of_sizing_says_where_it_comes_from() -> None:
    text = (ROOT / "docs" / "sizing.md").read_text(encoding="utf-8")
    rows = [
        row
        for table in re.findall(r"^\|[^\n]*\| figure \| \|\n\|[-:|]+\|\n((?:\|[^\n]*\n)+)", text, re.MULTILINE)
        for row in table.splitlines()
    ]
    assert len(rows) > 15
    assert [row for row in rows if not re.search(r"\| (?:measured|bound|estimate)\b[^|]*\|$", row)] == []
    programs = set(re.findall(r"`(?:python -m tests\.benchmarks\.)?(bench_\w+)", text))
    assert len(programs) > 5
    assert [name for name in programs if not (ROOT / "tests" / "benchmarks" / f"{name}.py").is_file()] == []


def test_services_and_programs_are_all_described() -> None:
    text = (ROOT / "docs" / "services.md").read_text(encoding="utf-8")
    commands = typer.main.get_group(app).commands
    assert len(commands) > 15
    assert [name for name in commands if not re.search(rf"`alphapulse {name}\b", text)] == []


def test_the_table_of_topics_is_of_the_topics() -> None:
    text = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([\w.]+)` \|[^\n]*\| (\d+) d \|", text, re.MULTILINE)
    day = 24 * 3600 * 1000
    assert {name: int(days) * day for name, days in listed} == {topic.name: topic.retention_ms for topic in TOPICS}


def test_services_that_commands_name_are_in_the_compose_file() -> None:
    known = {
        name
        for path in [ROOT / "docker-compose.yml", *(ROOT / "deploy" / "compose").glob("*.yml")]
        for name in yaml.safe_load(path.read_text(encoding="utf-8")).get("services", {})
    }
    named = [
        (place, match[1] or match[2])
        for path in documents()
        for place, command in typed(path)
        for match in re.finditer(
            r"docker compose (?:exec|logs|ps)(?: -T| --[a-z-]+(?: \d+m?)?)* ([a-z][a-z-]*)|\bops ([a-z][a-z-]*) ",
            command,
        )
    ]
    assert len(named) > 10
    assert [(place, name) for place, name in named if name not in known] == []


def test_the_figures_of_sizing_are_those_of_the_design() -> None:
    row = re.compile(r"^\| (?:0|50|500) \|.*$", re.MULTILINE)
    design = row.findall((ROOT / "DESIGN.md").read_text(encoding="utf-8"))
    assert len(design) == 3
    without_earlier = [re.sub(r" \([\d.]+\)", "", line) for line in design]
    assert row.findall((ROOT / "docs" / "sizing.md").read_text(encoding="utf-8")) == without_earlier
