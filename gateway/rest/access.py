"""The one place where the routes say which scope they need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

Requires: TypeAlias = Callable[[str], Callable[..., Awaitable[object]]]
"""Given a scope, returns a FastAPI dependency that refuses requests without it."""

MARKET: Final = "rest:market"
SYSTEM: Final = "rest:system"
SYMBOLS: Final = "admin:symbols"


def open_access(scope: str) -> Callable[[], Awaitable[None]]:
    """Return a dependency that lets everyone in."""

    async def admitted() -> None:
        """Let the request pass."""

    return admitted
