"""The store that a configuration names."""

from __future__ import annotations

from pathlib import Path

from alphapulse.config import Settings
from sinks.parquet.local import LocalStore
from sinks.parquet.objects import ObjectStore
from sinks.parquet.store import Store


def store_at(path: str, drafts: Path) -> Store:
    """Return the store at ``path``: a folder, or a URL of pyarrow's filesystems (``s3://bucket/prefix``, ``gs://…``).

    Args:
        path: as ``parquet.path``.
        drafts: folder for drafts of a store that is not on this machine.

    Raises:
        StoreError: the URL cannot be used.
    """
    if "://" not in path:
        return LocalStore(Path(path))
    if path.startswith("file://"):
        return LocalStore(Path(path.removeprefix("file://")))
    return ObjectStore(path, drafts)


def configured(settings: Settings) -> Store:
    """Return the store of a configuration.

    Raises:
        StoreError: see :func:`store_at`.
    """
    path = settings.parquet.path or str(settings.data_dir / "parquet")
    return store_at(path, settings.data_dir / "parquet-drafts")
