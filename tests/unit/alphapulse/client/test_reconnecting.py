"""When to connect again."""

from __future__ import annotations

import random

import pytest

from alphapulse.client.errors import ConnectionRefused, CredentialsRefused
from alphapulse.client.reconnecting import FLOOR, LAST_CEILING, End, Reconnecting
from gateway.close_codes import MISUSE, NO_PONG, RESTART, SLOW


def test_pauses_grow_to_a_limit_and_begin_anew_after_a_good_connection() -> None:
    reconnecting = Reconnecting(chance=random.Random(1))
    pauses = [reconnecting.pause(End()) for _ in range(2000)]
    assert max(pauses[:2]) <= 1.0
    assert min(pauses) >= FLOOR
    assert LAST_CEILING * 0.9 < max(pauses[10:]) <= LAST_CEILING
    assert reconnecting.pause(End(lived=6.0)) <= 0.5


def test_a_restart_spreads_the_clients_as_the_gateway_told() -> None:
    chance = random.Random(1)
    told = [Reconnecting(chance=chance).pause(End(1012, lived=1, spread=(2.0, 4.0))) for _ in range(100)]
    untold = [Reconnecting(chance=chance).pause(End(1012, lived=1)) for _ in range(100)]
    local = [Reconnecting(chance=chance, local=True).pause(End(1012, lived=1)) for _ in range(100)]
    assert 2 <= min(told) < 2.2 < 3.8 < max(told) <= 4
    assert 5 <= min(untold) < 6 < 29 < max(untold) <= 30
    assert max(local) <= 0.5


def test_a_handshake_that_asks_to_wait_is_waited_for() -> None:
    end = End(status=503, retry_after=3.0)
    assert Reconnecting().refusal(end) is None
    assert Reconnecting().pause(end) >= 3


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011, RESTART.number, SLOW.number, NO_PONG.number, 3013, 4900])
def test_codes_after_which_to_come_back(code: int) -> None:
    assert Reconnecting().refusal(End(code)) is None


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (End(1009), ConnectionRefused),
        (End(MISUSE.number, "misuse"), ConnectionRefused),
        (End(3000, "token expired"), CredentialsRefused),
        (End(3003), CredentialsRefused),
        (End(status=400), ConnectionRefused),
        (End(status=404), ConnectionRefused),
        (End(status=401), CredentialsRefused),
    ],
)
def test_codes_after_which_not_to(end: End, kind: type[ConnectionRefused]) -> None:
    refusal = Reconnecting().refusal(end)
    assert type(refusal) is kind
    assert refusal.code == (end.status or end.code)


def test_a_path_that_was_served_before_may_come_back() -> None:
    reconnecting = Reconnecting()
    reconnecting.pause(End(lived=1.0))
    assert reconnecting.refusal(End(status=404)) is None
