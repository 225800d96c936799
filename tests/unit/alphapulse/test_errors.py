"""The error tree: what it says and what a program can take from it."""

from __future__ import annotations

import inspect
import re

import pytest

from alphapulse import errors
from alphapulse.errors import AlphaPulseError, ConfigError, FrameRefused, NotANumber, RecordingError, UnknownInstrument

CLASSES: list[type[AlphaPulseError]] = [
    kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, AlphaPulseError)
]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_in_the_tree_and_in_its_picture(kind: type[Exception]) -> None:
    assert kind.__module__ == errors.__name__
    assert re.search(rf":exc:`{kind.__name__}`", errors.__doc__ or "")
    assert kind.__doc__


def test_the_picture_shows_the_bases() -> None:
    parents: list[tuple[int, str]] = []
    for indent, name in re.findall(r"^( *)\* :exc:`(\w+)`", errors.__doc__ or "", re.MULTILINE):
        while parents and parents[-1][0] >= len(indent):
            parents.pop()
        if parents:
            assert issubclass(getattr(errors, name), getattr(errors, parents[-1][1]))
        parents.append((len(indent), name))


def test_what_can_be_survived() -> None:
    assert {kind.__name__ for kind in CLASSES if not kind.recoverable} == {
        "AlphaPulseError",
        "ArgumentsRefused",
        "BrokerError",
        "BrokerRefused",
        "CertificateError",
        "ConfigError",
        "IncompatibleSchema",
        "RecordingError",
        "RegistryRefused",
        "SchemaError",
        "ServiceError",
    }


def test_messages() -> None:
    assert str(ConfigError(["a", "b"])) == "configuration refused, 2 faults:\n  - a\n  - b"
    assert str(FrameRefused("kraken", "no channel", symbol="BTC/USD")) == "kraken (BTC/USD): no channel"
    assert str(FrameRefused("kraken", "no channel")) == "kraken: no channel"
    assert str(RecordingError("x.rec.gz", 7, "no JSON")) == "x.rec.gz:7: no JSON"
    assert str(RecordingError("x.rec.gz", 0, "cut off")) == "x.rec.gz: cut off"
    unknown = UnknownInstrument("no venue krakn, there is kraken")
    assert (unknown.code, unknown.request_id, str(unknown)) == (
        "unknown_instrument",
        None,
        "no venue krakn, there is kraken",
    )
    assert len(str(NotANumber("x" * 10_000))) < 120
