"""producers.simulator.__main__"""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from producers.simulator.__main__ import main, names, parser, rate


def test_names_and_rates() -> None:
    assert names("a, b,,a") == ["a", "b"]
    assert rate("0.5") == 0.5
    with pytest.raises(argparse.ArgumentTypeError, match="' , ' names nothing"):
        names(" , ")
    for wrong in ("0", "x", "-1", "1e9"):
        with pytest.raises(argparse.ArgumentTypeError, match=f"'{wrong}' is no number"):
            rate(wrong)


def test_defaults() -> None:
    options = parser().parse_args([])
    assert options.venues == ["kraken", "coinbase", "binance_us"]
    assert options.symbols == ["BTC-USD", "ETH-USD", "SOL-USD"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--venues", "mtgox"], "simulator: unknown venue: 'mtgox' (known: "),
        (["--symbols", "BTC"], "simulator: not a pair: 'BTC' (BASE-QUOTE)"),
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
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
