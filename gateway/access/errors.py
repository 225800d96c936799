"""Refusals of authentication, authorisation and limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from alphapulse.errors import RequestRefused
from gateway.close_codes import CONNECTION_LIMIT, FORBIDDEN, UNAUTHORIZED, CloseCode

UNAUTHORIZED_CODE: Final = "unauthorized"
"""Credentials are missing, or are neither a token nor a key that this gateway knows."""
TOKEN_EXPIRED: Final = "token_expired"  # noqa: S105 a code
TOKEN_NOT_YET_VALID: Final = "token_not_yet_valid"  # noqa: S105
WRONG_ISSUER: Final = "wrong_issuer"
WRONG_AUDIENCE: Final = "wrong_audience"
WRONG_SIGNATURE: Final = "wrong_signature"
UNKNOWN_SIGNING_KEY: Final = "unknown_signing_key"
BAD_CLAIM: Final = "bad_claim"
"""A claim, such as a scope, is missing or malformed."""
KEY_REVOKED: Final = "key_revoked"
FORBIDDEN_CODE: Final = "forbidden"
"""The identity is known but has no scope for this."""
RATE_LIMITED: Final = "rate_limited"
CONNECTION_LIMITED: Final = "connection_limit"
CREDENTIALS_IN_URL: Final = "credentials_in_url"

_CHALLENGE: Final = 'Bearer realm="alphapulse"'
_STATUS: Final = {FORBIDDEN_CODE: 403, RATE_LIMITED: 429, CONNECTION_LIMITED: 429, CREDENTIALS_IN_URL: 400}
_CLOSE: Final = {KEY_REVOKED: FORBIDDEN, FORBIDDEN_CODE: FORBIDDEN, CONNECTION_LIMITED: CONNECTION_LIMIT}


class AccessRefused(RequestRefused):
    """Access was refused.

    The message says which claim, scope or limit is the cause and never repeats the credentials.

    Args:
        code: one of this module's codes.
        reason: the message.
        retry_after: seconds after which a repetition can succeed, None: not by waiting.
        headers: further headers of an HTTP answer.
    """

    def __init__(
        self,
        code: str,
        reason: str,
        *,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
        request_id: int | str | None = None,
    ) -> None:
        super().__init__(code, reason, request_id=request_id)
        self.retry_after = retry_after
        self._headers = dict(headers or {})

    @property
    def status(self) -> int:
        """HTTP status: 400, 401, 403 or 429."""
        return _STATUS.get(self.code, 401)

    @property
    def retry_after_ms(self) -> int | None:
        """``retry_after`` for the stream's ``retry_after_ms``."""
        return None if self.retry_after is None else math.ceil(self.retry_after * 1000)

    @property
    def headers(self) -> dict[str, str]:
        """Headers of an HTTP answer: ``WWW-Authenticate`` (RFC 6750), ``Retry-After``, limits."""
        found = dict(self._headers)
        if self.status == 401:
            found["WWW-Authenticate"] = _CHALLENGE
            if self.code != UNAUTHORIZED_CODE:
                found["WWW-Authenticate"] += f', error="invalid_token", error_description="{self.code}"'
        elif self.code == FORBIDDEN_CODE:
            found["WWW-Authenticate"] = f'{_CHALLENGE}, error="insufficient_scope"'
        if self.retry_after is not None:
            found["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        return found

    @property
    def close_code(self) -> CloseCode:
        """Code with which a connection that is refused or ended for this reason is closed."""
        chosen = _CLOSE.get(self.code, UNAUTHORIZED)
        return CloseCode(chosen.number, TOKEN_EXPIRED.replace("_", " ")) if self.code == TOKEN_EXPIRED else chosen
