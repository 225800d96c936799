"""How to read each venue's recorded frames; some venues' have the same shape.

A venue's folder may have its own: ``look`` in its ``server.py``.
"""

from __future__ import annotations

from typing import Final

from producers.registry import names, part
from producers.replay import shapes
from producers.replay.shapes import Look


def _found() -> dict[str, Look]:
    modules = [(name, part(name, "server")) for name in names()]
    return {name: module.look for name, module in modules if module is not None and hasattr(module, "look")}


LOOKS: Final[dict[str, Look]] = {**shapes.LOOKS, **_found()}
