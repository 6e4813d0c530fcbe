"""A visitor's films."""

from __future__ import annotations

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vsrcli.web.own import own_film
from vsrcli.web.shown import Shown
from vsrcli.web.store import Store
from vsrcli.web.uploads import Uploads


class Films:
    """The handlers.

    Args:
        store: films.
        shown: makes JSON.
        uploads: knows which of them are being written.
    """

    def __init__(self, store: Store, shown: Shown, uploads: Uploads) -> None:
        self._store, self._shown, self._uploads = store, shown, uploads

    def routes(self) -> list[Route]:
        """Of ``/api``."""
        return [
            Route("/api/films", self.tell_all, methods=["GET"]),
            Route("/api/films/{film}", self.tell, methods=["GET"]),
            Route("/api/films/{film}", self.delete, methods=["DELETE"]),
        ]

    async def tell_all(self, request: Request) -> Response:
        """All that this visitor has."""
        return JSONResponse({"films": await run_sync(self._shown.films, request.state.session)})

    async def tell(self, request: Request) -> Response:
        """One of them."""
        return JSONResponse(await run_sync(lambda: self._shown.film(own_film(self._store, request))))

    async def delete(self, request: Request) -> Response:
        """Take one away."""
        await self._uploads.delete(await run_sync(own_film, self._store, request))
        return Response(status_code=204)
