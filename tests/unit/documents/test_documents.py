"""The documents: links, commands, and what is said of them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from alphapulse.cli.app import app
from alphapulse.config import load
from alphapulse.topics import TOPICS
from producers.simulator.scripts import load as faults_of
from tests.documents import ROOT, documents
from tests.documents.blocks import Block, blocks
from tests.documents.commands import fault, typed
from tests.documents.evidence import unread, unsaid
from tests.documents.links import broken
from tests.documents.settings import unknown

DOCUMENTS = [pytest.param(path, id=path.relative_to(ROOT).as_posix()) for path in documents()]
OF_NOW = [each for each in DOCUMENTS if each.id != "CHANGELOG.md"]
"""The changelog speaks of commands that are no more."""
TOML = [
    pytest.param(block, id=block.place) for path in documents() for block in blocks(path) if block.language == "toml"
]


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
            assert (ROOT / test).is_file(), f"{block.place}: {test} does not exist"
            assert unread(block, test) is None, block.place
        assert unsaid(block) == [], f"{block.place}: neither run nor named in the reason"


@pytest.mark.parametrize("block", TOML)
def test_toml_is_what_is_read(block: Block, tmp_path: Path) -> None:
    """Scripts of faults by the simulator, anything else as settings, in a folder that has nothing else."""
    path = tmp_path / "services.toml"
    path.write_text(block.text, encoding="utf-8")
    assert faults_of(path) if "fault" in tomllib.loads(block.text) else load(tmp_path)


@pytest.mark.parametrize("path", DOCUMENTS)
def test_toml_says_that_it_is(path: Path) -> None:
    """Otherwise the test above does not see it."""
    assert [block.place for block in blocks(path) if block.language == "" and _is_toml(block.text)] == []


def _is_toml(text: str) -> bool:
    try:
        return bool(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        return False


@pytest.mark.parametrize("path", DOCUMENTS)
def test_programs_and_files_are_well_formed(path: Path) -> None:
    for block in blocks(path):
        match block.language:
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
        ("ALPHAPULSE_LOG__LEVEL=DEBUG alphapulse process | head", None),
        ("make test ARGS=-x", None),
        ("alphapulse keys create", None),
        ("alphapulse keys make", "alphapulse keys make: no such command"),
        ("alphapulse dlq replay --reason 'schema id' --to parquet", None),
        ("alphapulse dlq lists", "alphapulse dlq lists: no such command"),
        ("alphapulse dlq replay 3/17 --into parquet", "unrecognized arguments: --into parquet"),
        ("alphapulse dlq list --after NAME", "alphapulse dlq: no such option: --after"),
        ("alphapulse dlq list --since -2h", None),
        ("alphapulse dlq list --since --json", "argument --since: expected one argument"),
        ("docker compose exec -T gateway alphapulse health http://processors:9100", None),
        ("docker compose --profile alpaca up -d --scale processors=2 collector-alpaca", None),
        ("docker compose -f docker-compose.yml -f deploy/standin/docker-compose.yml logs -f gateway | head", None),
        ("docker compose exec redpanda rpk group describe alphapulse-processors; ops processors books", None),
        ("helm upgrade live helm/alphapulse --set init.mode=job,gateway.extraEnv[0].name=A --wait", None),
        ("helm install live helm/alphapulse --set settings.log.level=DEBUG", None),
        ("docker compose restart collector-krakens", "collector-krakens: no such service"),
        ("docker compose logs --since 15m kraken | grep -c gap", "kraken: no such service"),
        ("docker compose up --scale processor=2", "processor: no such service"),
        ("docker compose --profile alpacas up", "no such profile"),
        ("docker compose -f deploy/compose.yml up", "no such file"),
        ("docker compose reset", "docker compose reset: no such command"),
        ("docker compose exec gateway alphapulse healthy", "alphapulse healthy: no such command"),
        ("kubectl exec deploy/live-gateway -- alphapulse healthy", "alphapulse healthy: no such command"),
        ("ops collector status", "collector: no such service"),
        ("ops processors book", "ops processors book: no such path"),
        ("curl http://collector:9100/metrics", "collector: no such service"),
        ("helm install live helm/alpha", "helm/alpha: no such chart"),
        ("helm upgrade live helm/alphapulse --set sinkParquet.persistence.sizes=1Gi", "no such value of the chart"),
        ("helm upgrade live helm/alphapulse --set init.mode=job,inits.mode=job", "--set inits.mode: no such value"),
        (
            "helm upgrade live helm/alphapulse --set settings.log.levels=DEBUG",
            "--set settings.log.levels: no such value",
        ),
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


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ('BLOCKS = [one for one in blocks(PAGE) if "tests/test_x.py" in one.marker.tests]', True),
        ('TEXT = (ROOT / "docs" / "x.md").read_text()', True),
        ('PAGE = "docs/x.md"', True),
        ('PAGES = (ROOT / "docs").glob("*.md")', True),
        ('BLOCKS = [one for one in blocks(PAGE) if "tests/test_y.py" in one.marker.tests]', False),
        ('TEXT = (ROOT / "docs" / "y.md").read_text()', False),
        ('TEXT = (ROOT / "other" / "docs/x.md").read_text()', False),
        ('PAGES = (ROOT / "docs" / "runbooks").glob("*.md")', False),
        ('"""The blocks of docs/x.md."""\nPAGE = "x.md"  # "docs/x.md"', False),
        ('FOLDER = "docs"\nPAGES = documents()', False),
    ],
)
def test_a_test_that_a_marker_names_has_to_read_the_page(
    source: str, reads: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("blocks", "evidence"):
        monkeypatch.setattr(f"tests.documents.{module}.ROOT", tmp_path)
    for folder in ("docs", "tests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "docs/x.md").write_text("<!-- run: tests/test_x.py -->\n\n    make demo  # everything\n")
    (tmp_path / "tests/test_x.py").write_text(source)
    (block,) = blocks(tmp_path / "docs/x.md")
    said = unread(block, "tests/test_x.py")
    assert said == (None if reads else "tests/test_x.py neither selects blocks by their markers nor names docs/x.md")


@pytest.mark.parametrize(
    ("source", "runs"),
    [
        ("#!/bin/sh\nset -e\n  make demo\n", True),
        ('subprocess.run(["make", "demo", "PORT=0"])', True),
        ("#!/bin/sh\n# make demo\nmake demonstration\n", False),
        ('"""Runs make demo."""\nsubprocess.run(["make", "test"])', False),
    ],
)
def test_a_script_that_a_marker_names_has_to_run_a_command(
    source: str, runs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("blocks", "evidence"):
        monkeypatch.setattr(f"tests.documents.{module}.ROOT", tmp_path)
    (tmp_path / "x.md").write_text("<!-- run: script -->\n\n    make demo  # everything\n    make clean\n")
    (tmp_path / "script").write_text(source)
    (block,) = blocks(tmp_path / "x.md")
    assert unread(block, "script") == (None if runs else "script runs none of its commands")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("", ["make clean", "pre-commit install"]),
        ("; not run: hooks belong to a clone", ["make clean", "pre-commit install"]),
        ("; not run: make clean removes the tree's own, pre-commit install is for a clone", []),
        ("; not run: pre-commit installs a hook", ["make clean"]),
    ],
)
def test_what_no_script_runs_is_named_with_its_reason(
    reason: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("blocks", "evidence"):
        monkeypatch.setattr(f"tests.documents.{module}.ROOT", tmp_path)
    typed_there = "    PORT=1 make demo  # everything\n    make clean\n    .venv/bin/pre-commit install\n"
    (tmp_path / "x.md").write_text(f"<!-- run: script{reason} -->\n\n{typed_there}")
    (tmp_path / "script").write_text("PORT=1 make demo\n")
    (block,) = blocks(tmp_path / "x.md")
    assert unsaid(block) == expected


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


def test_the_figures_of_sizing_are_those_of_the_design() -> None:
    row = re.compile(r"^\| (?:0|50|500) \|.*$", re.MULTILINE)
    design = row.findall((ROOT / "DESIGN.md").read_text(encoding="utf-8"))
    assert len(design) == 3
    without_earlier = [re.sub(r" \([\d.]+\)", "", line) for line in design]
    assert row.findall((ROOT / "docs" / "sizing.md").read_text(encoding="utf-8")) == without_earlier
