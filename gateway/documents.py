"""Fixed JSON documents over HTTP: compressed once, and charged to the address that reads them."""

from __future__ import annotations

import gzip
import hashlib

from fastapi import Request
from starlette.responses import Response

from gateway.access.http import charge


class Document:
    """A document that all may read.

    Args:
        body: JSON.
    """

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.etag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        self._packed = gzip.compress(body, mtime=0)

    def answer(self, request: Request) -> Response:
        """Return the response to ``request``.

        Raises:
            AccessRefused: ``rate_limited``; the address has reached its limit.
        """
        charge(request)
        headers = {"ETag": self.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        given = ", ".join(request.headers.getlist("if-none-match"))
        if any(each.strip() in ("*", self.etag, self.etag[2:]) for each in given.split(",")):
            return Response(None, 304, headers)
        if takes_gzip(", ".join(request.headers.getlist("accept-encoding"))):
            return Response(self._packed, 200, headers | {"Content-Encoding": "gzip"}, "application/json")
        return Response(self.body, 200, headers, "application/json")  # for zstd alone it is compressed on its way


def takes_gzip(accept_encoding: str) -> bool:
    """Return whether a client takes gzip (RFC 9110, 12.5.3)."""
    for part in accept_encoding.split(","):
        name, _, parameter = part.partition(";")
        if name.strip().lower() == "gzip":
            quality = parameter.replace(" ", "").lower().removeprefix("q=")
            return not quality or quality.strip("0.") != ""
    return False
