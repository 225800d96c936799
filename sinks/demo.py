"""The configuration, or that of a demo that runs: its broker and its data directory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from alphapulse import config
from alphapulse.config import Settings
from alphapulse.errors import ServiceError


def settings_of(data_dir: Path | None, folder: Path | None = None) -> Settings:
    """Return the configuration; with ``data_dir``, of the demo that runs there, if one does.

    Args:
        data_dir: of a demo; None: as configured.
        folder: of the configuration; None: as the environment says.

    Raises:
        ConfigError: the configuration is invalid.
        ServiceError: the run file of the demo's broker cannot be read.
    """
    if data_dir is not None:
        os.environ[f"{config.PREFIX}DATA_DIR"] = str(data_dir)
        path = data_dir / "run" / "broker.json"
        try:
            told: Any = json.loads(path.read_text(encoding="utf-8"))
            os.environ[f"{config.PREFIX}KAFKA__BOOTSTRAP"] = str(told["bootstrap"])
        except FileNotFoundError:
            pass  # the broker is the configured one
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ServiceError(f"{path}: not the run file of a broker: {error}") from error
    return config.load(folder)
