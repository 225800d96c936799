"""Every error AlphaPulse raises on purpose, as one tree.

* :exc:`AlphaPulseError`

    * :exc:`ConfigError`: the configuration cannot be used; carries every fault found
    * :exc:`ArgumentsRefused`: the command line asks for what cannot be done; carries every fault found
    * :exc:`ValueRefused`: a number, symbol or time that cannot be represented exactly

        * :exc:`NotANumber`: the text is no decimal number
        * :exc:`PrecisionExceeded`: more decimals than the exponent in force allows
        * :exc:`MantissaOverflow`: the exact mantissa does not fit a signed 64-bit integer

    * :exc:`FrameRefused`: a venue's frame that cannot be understood (goes to ``dlq``)
    * :exc:`RecordingError`: a recording that cannot be read
    * :exc:`SchemaError`: a schema or an encoded record that does not fit

        * :exc:`RecordRefused`: bytes on a topic that are not the record they should be (goes to ``dlq``)
        * :exc:`IncompatibleSchema`: a change of a schema that would break readers
        * :exc:`RegistryUnavailable`: the schema registry cannot be reached now

    * :exc:`BrokerError`: the broker cannot be reached or refuses

        * :exc:`BrokerUnavailable`: it cannot be reached now, or lacks topics that somebody else makes

    * :exc:`ServiceError`: a service cannot start or go on (port in use, folder not writable)
    * :exc:`RequestRefused`: a client's request to the gateway that cannot be served; carries a code

        * :exc:`UnknownInstrument`: it names a venue or symbol that is not there

``recoverable`` on the class says whether the process can go on with the next input.
"""

from __future__ import annotations


class AlphaPulseError(Exception):
    """Base of all errors raised on purpose; its text is fit for a user's eyes."""

    recoverable = False


class ConfigError(AlphaPulseError):
    """The configuration cannot be used.

    ``faults`` holds one line per fault, each naming file (or variable), key, value and reason.
    """

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        noun = "fault" if len(faults) == 1 else "faults"
        super().__init__(f"configuration refused, {len(faults)} {noun}:\n" + "\n".join(f"  - {f}" for f in faults))


class ArgumentsRefused(AlphaPulseError):
    """The command line asks for what cannot be done.

    ``faults`` holds one line per fault, each naming the argument or option and the reason.
    """

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        text = faults[0] if len(faults) == 1 else "\n".join([f"{len(faults)} faults:", *(f"  - {f}" for f in faults)])
        super().__init__(text)


class ValueRefused(AlphaPulseError):
    """A value that cannot be represented exactly."""

    recoverable = True


class NotANumber(ValueRefused):
    """The text is no plain decimal number."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(f"not a decimal number: {text[:80]!r}")


class PrecisionExceeded(ValueRefused):
    """The text has more decimals than ``exponent`` allows; ``needed`` is the exponent that would do."""

    def __init__(self, text: str, exponent: int, needed: int) -> None:
        self.text = text
        self.exponent = exponent
        self.needed = needed
        super().__init__(f"{text[:80]!r} needs exponent {needed}, but {exponent} is in force")


class MantissaOverflow(ValueRefused):
    """The exact mantissa at ``exponent`` does not fit a signed 64-bit integer."""

    def __init__(self, text: str, exponent: int) -> None:
        self.text = text
        self.exponent = exponent
        super().__init__(f"{text[:80]!r} at exponent {exponent} does not fit a signed 64-bit mantissa")


class FrameRefused(AlphaPulseError):
    """A venue's frame that its protocol code does not understand.

    ``venue`` and ``reason`` say where and why; ``symbol`` names the instrument (venue's own spelling or
    ours) when the frame was understood that far.
    """

    recoverable = True

    def __init__(self, venue: str, reason: str, *, symbol: str | None = None) -> None:
        self.venue = venue
        self.reason = reason
        self.symbol = symbol
        about = f" ({symbol})" if symbol else ""
        super().__init__(f"{venue}{about}: {reason}")


class RecordingError(AlphaPulseError):
    """A recording that cannot be read; ``path`` and ``line`` (1-based, 0 for the file as a whole) say where."""

    def __init__(self, path: str, line: int, reason: str) -> None:
        self.path = path
        self.line = line
        self.reason = reason
        super().__init__(f"{path}:{line}: {reason}" if line else f"{path}: {reason}")


class SchemaError(AlphaPulseError):
    """A schema or an encoded record that does not fit."""


class RecordRefused(SchemaError):
    """Bytes on a topic that cannot be decoded as the record they should be."""

    recoverable = True


class IncompatibleSchema(SchemaError):
    """A change of a schema that readers of the older or newer data could not follow."""


class RegistryUnavailable(SchemaError):
    """The schema registry cannot be reached now."""

    recoverable = True


class BrokerError(AlphaPulseError):
    """The broker cannot be reached, or refuses what was asked of it."""


class BrokerUnavailable(BrokerError):
    """The broker cannot be reached now, or lacks topics: neither needs a change of the configuration to end."""

    recoverable = True


class ServiceError(AlphaPulseError):
    """A service cannot start or go on; names the resource at fault."""


class RequestRefused(AlphaPulseError):
    """A client's request that cannot be served.

    ``code`` is for programs (``missing_key``, ``unknown_channel``, …), ``request_id`` is the id the client gave it.
    """

    recoverable = True

    def __init__(self, code: str, reason: str, *, request_id: int | str | None = None) -> None:
        self.code = code
        self.request_id = request_id
        super().__init__(reason)


class UnknownInstrument(RequestRefused):
    """A venue or symbol that is not there; the text names what is."""

    def __init__(self, reason: str) -> None:
        super().__init__("unknown_instrument", reason)
