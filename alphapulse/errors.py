"""Exception hierarchy of AlphaPulse.

* :exc:`AlphaPulseError`

    * :exc:`ConfigError`: invalid configuration; lists every error
    * :exc:`ArgumentsRefused`: invalid command line; lists every error
    * :exc:`ValueRefused`: a number, symbol or time that cannot be represented exactly

        * :exc:`NotANumber`: not a decimal number
        * :exc:`PrecisionExceeded`: more decimals than the exponent allows
        * :exc:`MantissaOverflow`: the exact mantissa does not fit a signed 64-bit integer

    * :exc:`FrameRefused`: a venue's frame that cannot be parsed (goes to ``dlq``)
    * :exc:`RecordingError`: a recording that cannot be read
    * :exc:`SchemaError`: an invalid schema or encoded record

        * :exc:`RecordRefused`: bytes on a topic that cannot be decoded (goes to ``dlq``)
        * :exc:`IncompatibleSchema`: a schema change that would break readers
        * :exc:`RegistryUnavailable`: the schema registry cannot be reached now
        * :exc:`RegistryRefused`: it, or we, refuse a certificate, user or password

    * :exc:`BrokerError`: the broker cannot be reached or refuses a request

        * :exc:`BrokerUnavailable`: it cannot be reached now, or its topics are not created yet
        * :exc:`BrokerRefused`: it, or we, refuse a certificate, mechanism, user, password or right

    * :exc:`CertificateError`: a certificate or key file that cannot be used

    * :exc:`ServiceError`: a service cannot start or continue (port in use, folder not writable)
    * :exc:`RequestRefused`: a client's request that the gateway cannot serve; carries a code

        * :exc:`UnknownInstrument`: unknown venue or symbol

``recoverable`` on the class says whether the process can continue with the next input.
"""

from __future__ import annotations


class AlphaPulseError(Exception):
    """Base of all errors raised on purpose; the message is written for the user."""

    recoverable = False
    needs_person = False
    """Whether it goes on until somebody changes something; a service that waits for that tries seldom."""


class ConfigError(AlphaPulseError):
    """Invalid configuration.

    ``faults`` holds one line per error, each with file (or variable), key, value and reason.
    """

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        noun = "fault" if len(faults) == 1 else "faults"
        super().__init__(f"configuration refused, {len(faults)} {noun}:\n" + "\n".join(f"  - {f}" for f in faults))


class ArgumentsRefused(AlphaPulseError):
    """Invalid command line.

    ``faults`` holds one line per error, each with the argument or option and the reason.
    """

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        text = faults[0] if len(faults) == 1 else "\n".join([f"{len(faults)} faults:", *(f"  - {f}" for f in faults)])
        super().__init__(text)


class ValueRefused(AlphaPulseError):
    """A value that cannot be represented exactly."""

    recoverable = True


class NotANumber(ValueRefused):
    """The text is not a plain decimal number."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(f"not a decimal number: {text[:80]!r}")


class PrecisionExceeded(ValueRefused):
    """The text has more decimals than ``exponent`` allows; ``needed`` is the exponent it needs."""

    def __init__(self, text: str, exponent: int, needed: int) -> None:
        self.text = text
        self.exponent = exponent
        self.needed = needed
        super().__init__(f"{text[:80]!r} needs exponent {needed}, but the exponent is {exponent}")


class MantissaOverflow(ValueRefused):
    """The exact mantissa at ``exponent`` does not fit a signed 64-bit integer."""

    def __init__(self, text: str, exponent: int) -> None:
        self.text = text
        self.exponent = exponent
        super().__init__(f"{text[:80]!r} at exponent {exponent} does not fit a signed 64-bit mantissa")


class FrameRefused(AlphaPulseError):
    """A venue's frame that its protocol code cannot parse.

    ``venue`` and ``reason`` say where and why; ``symbol`` names the instrument (the venue's spelling or ours) if it is
    known.
    """

    recoverable = True

    def __init__(self, venue: str, reason: str, *, symbol: str | None = None) -> None:
        self.venue = venue
        self.reason = reason
        self.symbol = symbol
        about = f" ({symbol})" if symbol else ""
        super().__init__(f"{venue}{about}: {reason}")


class RecordingError(AlphaPulseError):
    """A recording that cannot be read; ``path`` and ``line`` (1-based, 0: the whole file) give the place."""

    def __init__(self, path: str, line: int, reason: str) -> None:
        self.path = path
        self.line = line
        self.reason = reason
        super().__init__(f"{path}:{line}: {reason}" if line else f"{path}: {reason}")


class SchemaError(AlphaPulseError):
    """An invalid schema or encoded record."""


class RecordRefused(SchemaError):
    """Bytes on a topic that cannot be decoded as the expected record."""

    recoverable = True


class IncompatibleSchema(SchemaError):
    """A schema change that breaks readers of older or newer data."""


class RegistryUnavailable(SchemaError):
    """The schema registry cannot be reached now."""

    recoverable = True


class RegistryRefused(SchemaError):
    """Access to the schema registry is refused: certificate, user or password; the message names the key."""

    needs_person = True


class CertificateError(AlphaPulseError):
    """A certificate or key file that cannot be used; the message names its key."""

    needs_person = True


class BrokerError(AlphaPulseError):
    """The broker cannot be reached, or refuses a request."""


class BrokerUnavailable(BrokerError):
    """The broker cannot be reached now, or topics are missing: neither needs a change of the configuration."""

    recoverable = True


class BrokerRefused(BrokerError):
    """Access to the broker is refused: certificate, mechanism, user, password or right; the message names the key."""

    needs_person = True


class ServiceError(AlphaPulseError):
    """A service cannot start or continue; names the resource."""


class RequestRefused(AlphaPulseError):
    """A client's request that cannot be served.

    ``code`` is for programs (``missing_key``, ``unknown_channel``, …), ``request_id`` is the client's id for it.
    """

    recoverable = True

    def __init__(self, code: str, reason: str, *, request_id: int | str | None = None) -> None:
        self.code = code
        self.request_id = request_id
        super().__init__(reason)


class UnknownInstrument(RequestRefused):
    """Unknown venue or symbol; the message names it."""

    def __init__(self, reason: str) -> None:
        super().__init__("unknown_instrument", reason)
