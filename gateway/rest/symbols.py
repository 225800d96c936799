"""``/venues/{venue}/symbols``: adds symbols to the running configuration and removes them."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from fastapi import APIRouter, Depends, Request

from alphapulse.config.symbols import Change, ChangeRefused, NoSuchSymbol, SymbolExists, SymbolInvalid
from alphapulse.errors import RequestRefused
from gateway.access.http import identity_of, requires
from gateway.access.identity import ADMIN_SYMBOLS
from gateway.rest import answers, examples
from gateway.rest.bodies import JsonBodyRoute
from gateway.rest.faults import COMMON, UNKNOWN, Responses, fault
from gateway.rest.guards import acceptable, known_keys
from gateway.rest.symbol_editor import SymbolEditor

CONFLICT: Final = "config_conflict"
EXISTS: Final = "symbol_exists"

_CONFLICT: Final[Responses] = fault(
    409,
    CONFLICT,
    "The symbol is configured already (code `symbol_exists`), or the configuration does not allow the change "
    "(`config_conflict`): the environment sets the key, or there are no files.",
    examples.FAULTS[CONFLICT],
)
_BODY: Final[Responses] = {
    **fault(413, "too_large", "The body is larger than 16 KiB.", "the body is larger than 16,384 bytes"),
    **fault(415, "media_type", "The body is not JSON.", "header Content-Type: must be application/json, found ''"),
}


def router(editor: SymbolEditor) -> APIRouter:
    """Create the routes."""
    routes = APIRouter(
        prefix="/venues/{venue}/symbols",
        tags=["administration"],
        route_class=JsonBodyRoute,
        responses={**COMMON, **UNKNOWN, **_CONFLICT},
        dependencies=[Depends(requires(ADMIN_SYMBOLS)), Depends(known_keys), Depends(acceptable)],
    )

    @routes.post(
        "",
        status_code=201,
        responses={201: examples.of(examples.SYMBOLS), **_BODY},
        openapi_extra={"requestBody": {"content": {"application/json": {"example": {"symbol": "ETH-USD"}}}}},
    )
    async def add_symbol(request: Request, venue: str, wanted: answers.SymbolRequest) -> answers.SymbolsAnswer:
        """Add a symbol to a venue in the configuration file that the collectors follow.

        The change is validated as the files are, with the venue's own rules, and takes effect within two seconds.
        Whether the venue trades the symbol, its collector tells in an event.
        """
        return await _told(venue, editor.add(venue, wanted.symbol, identity_of(request).name))

    @routes.delete("/{symbol}", responses={200: examples.of(examples.SYMBOLS)})
    async def remove_symbol(request: Request, venue: str, symbol: str) -> answers.SymbolsAnswer:
        """Remove a symbol from a venue in the configuration file that the collectors follow."""
        return await _told(venue, editor.remove(venue, symbol, identity_of(request).name))

    return routes


async def _told(venue: str, work: Awaitable[Change]) -> answers.SymbolsAnswer:
    try:
        change = await work
    except SymbolExists as error:
        raise RequestRefused(EXISTS, str(error)) from error
    except NoSuchSymbol as error:
        raise RequestRefused("unknown_instrument", str(error)) from error
    except SymbolInvalid as error:
        raise RequestRefused("bad_value", str(error)) from error
    except ChangeRefused as error:
        raise RequestRefused(CONFLICT, str(error)) from error
    return answers.SymbolsAnswer(venue=venue, symbols=list(change.symbols), file=change.path.name)
