"""Parser for JSON price levels, directly to integer mantissas.

Parsing books is most of a collector's work, so one side of a message stays JSON text until its mantissas are needed.
The fast path matches the whole text against the one shape such texts nearly always have (plain decimals, the same
number of decimals in all prices, and in all sizes), deletes everything but digits and commas, and splits once: no
object per level. Any other shape takes the exact path, level by level.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol, TypeAlias

import msgspec

from alphapulse.errors import MantissaOverflow, NotANumber, PrecisionExceeded, ValueRefused
from alphapulse.fixed import mantissa, needed_exponent

Mantissas: TypeAlias = tuple[list[int], list[int]]
"""Prices and sizes, of equal length."""

_SAFE_DIGITS = 18
"""A number with this many digits always fits an int64."""


class Levels(Protocol):
    """One side of a book message, in the venue's order."""

    def mantissas(self, price_exponent: int, size_exponent: int) -> Mantissas:
        """Return the exact mantissas.

        Raises:
            PrecisionExceeded: a value needs more decimals.
            ValueRefused: not numbers, a negative one, or one beyond an int64; the message names place and value.
        """
        ...

    def texts(self) -> tuple[list[str], list[str]]:
        """Return prices and sizes as text.

        Raises:
            ValueRefused: not an array of levels.
        """
        ...


class TextLevels:
    """Levels given as price and size texts."""

    __slots__ = ("_prices", "_side", "_sizes")

    def __init__(self, side: str, prices: list[str], sizes: list[str]) -> None:
        self._side = side
        self._prices = prices
        self._sizes = sizes

    def texts(self) -> tuple[list[str], list[str]]:
        return self._prices, self._sizes

    def mantissas(self, price_exponent: int, size_exponent: int) -> Mantissas:
        return (
            exact(self._prices, price_exponent, f"{self._side} price"),
            exact(self._sizes, size_exponent, f"{self._side} size"),
        )


def exact(texts: Sequence[str], exponent: int, what: str) -> list[int]:
    """Return the mantissas of ``texts``; ``what`` names them in errors.

    Raises:
        PrecisionExceeded, MantissaOverflow: a value does not fit the exponent.
        ValueRefused: a value is not a number or is negative.
    """
    try:
        values = [mantissa(text, exponent) for text in texts]
    except NotANumber as error:
        raise ValueRefused(f"{what}: {error}") from error
    except MantissaOverflow as error:
        error.args = (f"{what}: {error}",)
        raise
    if values and min(values) < 0:
        raise ValueRefused(f"{what}: negative: {texts[values.index(min(values))][:80]!r}")
    return values


class LevelFormat:
    """The venue's JSON format of a level.

    Args:
        pattern: regular expression of one level, with ``{price}`` and ``{size}`` in place of the numbers.
        letters: every byte of a level except digits and the comma between price and size.
        texts: the exact path: from the raw array to price and size texts.
    """

    def __init__(self, pattern: str, letters: bytes, texts: Callable[[bytes], tuple[list[str], list[str]]]) -> None:
        self._pattern = pattern
        self.letters = letters
        self.texts = texts
        number = r"[0-9]+(?:\.([0-9]+))?"
        self._first = re.compile(r"\[\s*" + pattern.format(price=number, size=number), re.ASCII)
        self._shape = lru_cache(maxsize=256)(self._compile)

    def decimals_of_first(self, text: str) -> tuple[int, int] | None:
        """Return the numbers of decimals in the first level; None if it is not plain."""
        match = self._first.match(text)
        return (len(match[1] or ""), len(match[2] or "")) if match is not None else None

    def shape(self, decimals: tuple[int, int], price_exponent: int, size_exponent: int) -> re.Pattern[bytes] | None:
        """Return a pattern for whole arrays of levels with these decimals whose mantissas all fit an int64."""
        return self._shape(decimals, price_exponent, size_exponent)

    def _compile(self, decimals: tuple[int, int], price_exponent: int, size_exponent: int) -> re.Pattern[bytes] | None:
        numbers = []
        for places, exponent in zip(decimals, (price_exponent, size_exponent), strict=True):
            whole = _SAFE_DIGITS + exponent
            if whole < 1 or places > -exponent:
                return None
            numbers.append(f"[0-9]{{1,{whole}}}" + (rf"\.[0-9]{{{places}}}" if places else ""))
        level = self._pattern.format(price=numbers[0], size=numbers[1])
        return re.compile(rf"\[{level}(?:,{level})*+\]".encode(), re.ASCII)


class LevelParser:
    """Parses the sides of one instrument's messages; caches the last numbers of decimals.

    Args:
        form: the venue's format of a level.
    """

    __slots__ = ("_decimals", "_form")

    def __init__(self, form: LevelFormat) -> None:
        self._form = form
        self._decimals = (8, 8)

    def levels(self, side: str, raw: msgspec.Raw) -> RawLevels:
        """Return the levels in the JSON array ``raw``; ``side`` names it in errors."""
        return RawLevels(self, side, bytes(raw))

    def mantissas(self, side: str, raw: bytes, price_exponent: int, size_exponent: int) -> Mantissas:
        """As :meth:`Levels.mantissas`."""
        if raw == b"[]":
            return [], []
        form = self._form
        shape = form.shape(self._decimals, price_exponent, size_exponent)
        if shape is None or shape.fullmatch(raw) is None:
            shape = self._learn(raw, price_exponent, size_exponent)
            if shape is None or shape.fullmatch(raw) is None:
                return TextLevels(side, *self.texts(side, raw)).mantissas(price_exponent, size_exponent)
        numbers = list(map(int, raw.translate(None, form.letters).split(b",")))
        prices, sizes = numbers[::2], numbers[1::2]
        price_places, size_places = self._decimals
        if price_places != -price_exponent:
            factor = 10 ** (-price_exponent - price_places)
            prices = [price * factor for price in prices]
        if size_places != -size_exponent:
            factor = 10 ** (-size_exponent - size_places)
            sizes = [size * factor for size in sizes]
        return prices, sizes

    def texts(self, side: str, raw: bytes) -> tuple[list[str], list[str]]:
        """As :meth:`Levels.texts`."""
        try:
            return self._form.texts(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueRefused(f"{side}: {error}: {raw[:120]!r}") from error

    def _learn(self, raw: bytes, price_exponent: int, size_exponent: int) -> re.Pattern[bytes] | None:
        # Venue text is ASCII; anything else does not match, which suffices here.
        decimals = self._form.decimals_of_first(raw[:200].decode("latin-1"))
        if decimals is None or decimals == self._decimals:
            return None
        self._decimals = decimals
        return self._form.shape(decimals, price_exponent, size_exponent)


class RawLevels:
    """Levels as JSON text, not parsed yet."""

    __slots__ = ("_parser", "_raw", "_side")

    def __init__(self, parser: LevelParser, side: str, raw: bytes) -> None:
        self._parser = parser
        self._side = side
        self._raw = raw

    def texts(self) -> tuple[list[str], list[str]]:
        return self._parser.texts(self._side, self._raw)

    def mantissas(self, price_exponent: int, size_exponent: int) -> Mantissas:
        return self._parser.mantissas(self._side, self._raw, price_exponent, size_exponent)


_decode_pairs = msgspec.json.Decoder(list[tuple[str, str]]).decode


def _pair_texts(raw: bytes) -> tuple[list[str], list[str]]:
    pairs = _decode_pairs(raw)
    return [price for price, _ in pairs], [size for _, size in pairs]


PAIRS = LevelFormat(r'\["{price}","{size}"\]', b'[]".', _pair_texts)
"""``[["61737.63","0.5"], …]``"""


def stated_decimals(texts: Sequence[str]) -> int:
    """Return the largest number of decimals in ``texts``, trailing zeros included."""
    most = 0
    for text in texts:
        if text.isascii() and text.replace(".", "", 1).isdigit():
            _, _, fraction = text.partition(".")
            if len(fraction) > most:
                most = len(fraction)
        else:
            most = max(most, -needed_exponent(text))
    return most


def tightest_exponent(texts: Sequence[str]) -> int:
    """Return the largest exponent ≤ 0 at which all ``texts`` are exact."""
    return min(map(needed_exponent, texts), default=0)


def fitting(texts: Sequence[str], exponent: int, what: str) -> tuple[list[int], int]:
    """Return the mantissas of ``texts`` and their exponent: ``exponent`` if all fit, else the tightest exact one.

    Raises:
        ValueRefused: there is no exponent at which all fit, or a value is not a number or is negative.
    """
    try:
        return exact(texts, exponent, what), exponent
    except (MantissaOverflow, PrecisionExceeded):
        tightest = tightest_exponent(texts)
    try:
        return exact(texts, tightest, what), tightest
    except (MantissaOverflow, PrecisionExceeded) as error:
        raise ValueRefused(str(error)) from error
