from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse.config import load
from alphapulse.config.symbols import (
    Change,
    ChangeRefused,
    NoSuchSymbol,
    SymbolExists,
    SymbolInvalid,
    added,
    applied,
    removed,
)

TEXT = """# The venues.
[venues.kraken]
symbols = ["BTC-USD", "ETH-USD"]  # the first two
taker_fee_basis_points = "40"       # a fee

[venues.coinbase]
symbols = [
    "BTC-USD",  # the large one
    "SOL-USD",
]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "exchanges.toml").write_text(TEXT)
    (tmp_path / "services.toml").write_text('[log]\nlevel = "INFO"\n')
    return tmp_path


async def fine(_: Path) -> list[str]:
    return []


async def change(folder: Path, made: Change) -> str:
    await applied(folder, made, fine)
    return (folder / "exchanges.toml").read_text()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_symbol_is_added_and_removed_and_all_else_stays(folder: Path) -> None:
    (folder / "exchanges.toml").chmod(0o640)
    made = added(folder, "kraken", "SOL-USD")
    assert made.symbols == ("BTC-USD", "ETH-USD", "SOL-USD")
    assert await change(folder, made) == TEXT.replace('"ETH-USD"]', '"ETH-USD", "SOL-USD"]')
    assert (folder / "exchanges.toml").stat().st_mode & 0o777 == 0o640
    assert load(folder).venues["kraken"].symbols == made.symbols
    assert await change(folder, removed(folder, "kraken", "SOL-USD")) == TEXT
    assert names(folder) == ["exchanges.toml", "services.toml"]


async def test_comments_in_a_list_of_several_lines_stay(folder: Path) -> None:
    text = await change(folder, added(folder, "coinbase", "ETH-*"))
    assert "# the large one" in text
    assert load(folder).venues["coinbase"].symbols == ("BTC-USD", "SOL-USD", "ETH-*")
    await change(folder, removed(folder, "coinbase", "SOL-USD"))
    text = await change(folder, removed(folder, "coinbase", "BTC-USD"))
    assert load(folder).venues["coinbase"].symbols == ("ETH-*",)
    assert text.startswith("# The venues.")


async def test_a_long_list_becomes_a_symbol_a_line(folder: Path) -> None:
    for number in range(12):
        await change(folder, added(folder, "kraken", f"COIN{number}-USD"))
    assert '\n    "COIN11-USD",\n' in (folder / "exchanges.toml").read_text()
    assert len(load(folder).venues["kraken"].symbols) == 14


@pytest.mark.parametrize(
    ("venue", "symbol", "error", "named"),
    [
        ("kraken", "BTC-USD", SymbolExists, "already"),
        ("kraken", "btc-usd", SymbolInvalid, "did you mean BTC-USD"),
        ("krakn", "SOL-USD", NoSuchSymbol, "coinbase, kraken"),
    ],
)
def test_what_cannot_be_added(folder: Path, venue: str, symbol: str, error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        added(folder, venue, symbol)


def test_what_cannot_be_removed(folder: Path) -> None:
    with pytest.raises(NoSuchSymbol, match="'SOL-USD' is not among the symbols of kraken"):
        removed(folder, "kraken", "SOL-USD")


@pytest.mark.parametrize(
    "variable", ["ALPHAPULSE_VENUES__KRAKEN__SYMBOLS", "ALPHAPULSE_VENUES", "ALPHAPULSE_VENUES__KRAKEN"]
)
def test_the_environment_would_override_it(folder: Path, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "{}")
    with pytest.raises(ChangeRefused, match=variable):
        added(folder, "kraken", "SOL-USD")


async def test_faults_of_the_change_are_refused_others_are_not_its_business(folder: Path) -> None:
    async def check(where: Path) -> list[str]:
        old = f"{where / 'exchanges.toml'}:3: key venues.kraken.key: is missing"
        new = f"{where / 'exchanges.toml'}:3: key venues.kraken.symbols: no list"
        return [old, new] if "*" in (where / "exchanges.toml").read_text() else [old]

    await applied(folder, added(folder, "kraken", "SOL-USD"), check)
    with pytest.raises(SymbolInvalid) as refused:
        await applied(folder, added(folder, "kraken", "BTC-*"), check)
    assert str(refused.value) == "exchanges.toml:3: key venues.kraken.symbols: no list"
    assert "*" not in (folder / "exchanges.toml").read_text()


async def test_a_file_that_was_changed_meanwhile_is_left_alone(folder: Path) -> None:
    made = added(folder, "kraken", "SOL-USD")
    (folder / "exchanges.toml").write_text(TEXT + "# more\n")
    with pytest.raises(ChangeRefused, match="changed meanwhile"):
        await applied(folder, made, fine)
    assert (folder / "exchanges.toml").read_text() == TEXT + "# more\n"


async def test_a_faulty_file_is_told(folder: Path) -> None:
    (folder / "exchanges.toml").write_text("[venues.kraken\n")
    with pytest.raises(ChangeRefused, match=r"exchanges\.toml"):
        added(folder, "kraken", "SOL-USD")
    (folder / "exchanges.toml").unlink()
    with pytest.raises(NoSuchSymbol, match="no venue is configured"):
        added(folder, "kraken", "SOL-USD")
