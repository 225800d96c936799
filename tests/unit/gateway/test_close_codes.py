from __future__ import annotations

from gateway import close_codes


def test_numbers_are_unique_and_reasons_fit_a_close_frame() -> None:
    assert len({code.number for code in close_codes.ALL}) == len(close_codes.ALL)
    for code in close_codes.ALL:
        assert 0 < len(code.reason.encode()) <= 123


def test_only_codes_from_3500_on_are_terminal() -> None:
    assert close_codes.MISUSE.terminal
    assert not any(
        code.terminal
        for code in (close_codes.RESTART, close_codes.SLOW, close_codes.NO_PONG, close_codes.CONNECTION_LIMIT)
    )
