"""producers.simulator.__main__"""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from producers.simulator.__main__ import generosity, main, names, parser, probability, rate


def test_names_and_rates() -> None:
    assert names("a, b,,a") == ["a", "b"]
    assert rate("0.5") == 0.5
    with pytest.raises(argparse.ArgumentTypeError, match="' , ' is an empty list"):
        names(" , ")
    for wrong in ("0", "x", "-1", "1e9"):
        with pytest.raises(argparse.ArgumentTypeError, match=f"'{wrong}' is not a number"):
            rate(wrong)


def test_defaults() -> None:
    options = parser().parse_args(["--venues", "okx", "--venues", "kraken,coinbase"])
    assert options.venues == ["kraken", "coinbase"]
    assert options.symbols == ["BTC-USD", "ETH-USD", "SOL-USD"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--venues", "mtgox"], "simulator: --venues: 'mtgox': unknown venue; known: "),
        (
            ["--venues", "kraken", "--symbols", "BTCUSD"],
            "simulator: --symbols: kraken: not a pair: 'BTCUSD' (BASE-QUOTE), did you mean BTC-USD?",
        ),
    ],
)
def test_wrong_names_end_in_one_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setenv("ALPHAPULSE_DATA_DIR", str(tmp_path))
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(message)


@pytest.mark.parametrize(
    ("arguments", "faults"),
    [
        ([], []),  # the default market: `alphapulse demo` does not ask about it
        (
            ["--venues", "krakn,okx", "--symbols", "BTCUSD"],
            [
                "--venues: 'krakn': unknown venue, did you mean kraken?; known: ",
                "--symbols: okx: not a pair: 'BTCUSD' (BASE-QUOTE), did you mean BTC-USD?",
            ],
        ),
        (["--faults", "/none.toml"], ["--faults: /none.toml: cannot be read: No such file or directory"]),
    ],
)
def test_a_check_starts_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    faults: list[str],
) -> None:
    monkeypatch.setenv("ALPHAPULSE_DATA_DIR", str(tmp_path))
    assert main(["--check", *arguments]) == (2 if faults else 0)
    lines = capsys.readouterr().out.splitlines()
    assert [line.startswith(fault) for line, fault in zip(lines, faults, strict=True)] == [True] * len(faults)
    assert not list(tmp_path.iterdir())


def test_a_script_of_faults_is_checked_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALPHAPULSE_DATA_DIR", str(tmp_path))
    script = tmp_path / "faults.toml"
    script.write_text('[[fault]]\nkind = "dorp"\nframe = 1\n')
    assert main(["--venues", "kraken", "--faults", str(script)]) == 2
    assert f"{script}:1: fault 1:" in capsys.readouterr().err
    assert main(["--venues", "kraken", "--faults", str(tmp_path)]) == 2
    assert f"{tmp_path}: cannot be read: Is a directory" in capsys.readouterr().err


def test_limits_are_the_venues_own_unless_told_otherwise() -> None:
    assert parser().parse_args(["--venues", "okx"]).limits == 1.0
    assert parser().parse_args(["--venues", "okx", "--limits", "0"]).limits == 0.0
    for wrong in ("x", "-1", "1e9"):
        with pytest.raises(argparse.ArgumentTypeError, match=f"'{wrong}' is not a number"):
            generosity(wrong)


def test_probabilities() -> None:
    assert probability("0.25") == 0.25
    for wrong in ("x", "-0.1", "1.1"):
        with pytest.raises(argparse.ArgumentTypeError, match="is not a number from 0 to 1"):
            probability(wrong)
