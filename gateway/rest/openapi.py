"""OpenAPI 3.1 document of the interface, served with an entity tag."""

from __future__ import annotations

from typing import Any, Final

import orjson
from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from gateway.documents import Document
from gateway.rest.problems import Problem

PATH: Final = "/api/openapi.json"


def document(app: FastAPI) -> dict[str, Any]:
    """Return the document."""
    found = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
    )
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema()
    # FastAPI's own form of a fault, which no response has.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return found


def install(app: FastAPI) -> None:
    """Serve the document at ``PATH``."""
    made: list[Document] = []

    @app.get(PATH, include_in_schema=False)
    async def openapi(request: Request) -> Response:
        if not made:
            made.append(Document(orjson.dumps(document(app))))
        return made[0].answer(request)
