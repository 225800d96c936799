"""API keys: their text, their hashes, the file that holds them.

The file holds no key, only hashes. A key has 256 random bits, so nobody can try them all, however fast the hash is, and
one SHA-256 is right: slow hashes (Argon2, bcrypt) protect *passwords*, which people choose, and would cost milliseconds
for each request. For the same reason the hash may be looked up in a table: the time of a lookup tells something about
hashes, which nobody can aim at.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from alphapulse.config import Settings
from alphapulse.config.values import as_value_error
from alphapulse.errors import ServiceError, ValueRefused
from gateway.access.identity import Identity, check_scope

PREFIX: Final = "apk_"
KEY_BYTES: Final = 32
FILE_MODE: Final = 0o600
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_HASH: Final = re.compile(r"[0-9a-f]{64}")


def check_name(name: str) -> str:
    """Return ``name`` if an API key may be called so.

    Raises:
        ValueRefused: it may not.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueRefused(f"name {name[:80]!r}: expected up to 64 letters, digits, '.', '_', '-', no sign first")
    return name


def _hash_text(text: str) -> str:
    if _HASH.fullmatch(text) is None:
        raise ValueError("expected 64 hexadecimal digits")
    return text


class ApiKey(BaseModel):
    """One key as the file holds it; times are ns since the Unix epoch.

    Attributes:
        hash: SHA-256 of the key's text.
        expires: None: never.
        revoked: None: it is not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, AfterValidator(as_value_error(check_name))]
    hash: Annotated[str, AfterValidator(_hash_text)]
    scopes: tuple[Annotated[str, AfterValidator(as_value_error(check_scope))], ...]
    created: int
    expires: int | None = None
    revoked: int | None = None

    @property
    def id(self) -> str:
        """Short name of this key that no other has."""
        return self.hash[:12]

    @cached_property
    def identity(self) -> Identity:
        """Whom the key identifies."""
        return Identity(self.name, frozenset(self.scopes), self.expires, self.id)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1]
    keys: tuple[ApiKey, ...]


def key_hash(text: str) -> str:
    """Return the hash under which the file holds the key ``text``."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class ApiKeys:
    """All keys of a file, revoked ones included, oldest first."""

    keys: tuple[ApiKey, ...] = ()

    @cached_property
    def by_hash(self) -> Mapping[str, ApiKey]:
        """Keys by the hash of their text."""
        return {key.hash: key for key in self.keys}

    @cached_property
    def by_id(self) -> Mapping[str, ApiKey]:
        """Keys by :attr:`ApiKey.id`."""
        return {key.id: key for key in self.keys}

    def find(self, text: str) -> ApiKey | None:
        """Return the key with this text."""
        return self.by_hash.get(key_hash(text))

    def active(self, now: int) -> tuple[ApiKey, ...]:
        """Return the keys that are neither revoked nor expired."""
        return tuple(k for k in self.keys if k.revoked is None and (k.expires is None or k.expires > now))

    def created(self, name: str, scopes: Iterable[str], now: int, expires: int | None = None) -> tuple[ApiKeys, str]:
        """Return the keys with a new one, and the text of that key, which nothing keeps.

        Raises:
            ValueRefused: name or scope is invalid, or the name is in use, or there is no scope.
        """
        check_name(name)
        if any(key.name == name for key in self.active(now)):
            raise ValueRefused(f"name {name}: in use by another key; revoke it first, or choose another name")
        granted = tuple(dict.fromkeys(check_scope(scope) for scope in scopes))
        if not granted:
            raise ValueRefused("a key without a scope would open nothing; name at least one")
        text = PREFIX + secrets.token_urlsafe(KEY_BYTES)
        key = ApiKey(name=name, hash=key_hash(text), scopes=granted, created=now, expires=expires)
        return ApiKeys((*self.keys, key)), text

    def revoked(self, name: str, now: int) -> ApiKeys:
        """Return the keys with the active ones of this name (or id) revoked.

        Raises:
            ValueRefused: there is no such key that is active.
        """
        wanted = {key.id for key in self.active(now) if name in (key.name, key.id)}
        if not wanted:
            known = ", ".join(sorted(key.name for key in self.active(now))) or "none"
            raise ValueRefused(f"{name[:80]!r}: no active key has this name; active: {known}")
        return ApiKeys(tuple(key.model_copy(update={"revoked": now}) if key.id in wanted else key for key in self.keys))


NO_KEYS: Final = ApiKeys()


def keys_path(settings: Settings) -> Path:
    """Return the path of the file."""
    return settings.gateway.access.keys_path or settings.data_dir / "access" / "keys.json"


def read(path: Path) -> ApiKeys:
    """Read the file; a missing one holds no keys.

    Raises:
        ServiceError: it cannot be read, is invalid, or other users may change it.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read()
    except FileNotFoundError:
        return NO_KEYS
    except OSError as error:
        raise ServiceError(f"gateway.access.keys_path: cannot read {path}: {error.strerror or error}") from error
    if mode & 0o022:
        raise ServiceError(
            f"gateway.access.keys_path: {path} may be changed by other users (mode {mode & 0o777:o}); chmod 600 it"
        )
    try:
        found = _File.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ServiceError(f"gateway.access.keys_path: {path}: {place or 'the file'}: {first['msg']}") from error
    return ApiKeys(found.keys)


def write(path: Path, keys: ApiKeys) -> None:
    """Write the file atomically, readable by its owner only.

    Raises:
        ServiceError: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    text = _File(version=1, keys=keys.keys).model_dump_json(indent=2) + "\n"
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise _not_writable(path, error) from error


@contextlib.contextmanager
def changing(path: Path) -> Iterator[None]:
    """Keep other processes from changing the file within the block: read, change and write inside it.

    Raises:
        ServiceError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = path.with_name(f".{path.name}.lock").open("a", encoding="utf-8")
    except OSError as error:
        raise _not_writable(path, error) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _not_writable(path: Path, error: OSError) -> ServiceError:
    return ServiceError(f"gateway.access.keys_path: cannot write {path}: {error.strerror or error}")
