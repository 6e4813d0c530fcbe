"""A visitor's films."""

from __future__ import annotations

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vsrcli.web.own import require_owned_upload
from vsrcli.web.serializers import Serializer
from vsrcli.web.store import Store
from vsrcli.web.uploads import UploadRoutes


class VideoRoutes:
    """The handlers.

    Args:
        store: films.
        shown: makes JSON.
        uploads: knows which of them are being written.
    """

    def __init__(self, store: Store, shown: Serializer, uploads: UploadRoutes) -> None:
        self._store, self._shown, self._uploads = store, shown, uploads

    def routes(self) -> list[Route]:
        """Of ``/api``."""
        return [
            Route("/api/films", self.list, methods=["GET"]),
            Route("/api/films/{film}", self.get, methods=["GET"]),
            Route("/api/films/{film}", self.delete, methods=["DELETE"]),
        ]

    async def list(self, request: Request) -> Response:
        """All that this visitor has."""
        return JSONResponse({"films": await run_sync(self._shown.films, request.state.session)})

    async def get(self, request: Request) -> Response:
        """One of them."""
        return JSONResponse(
            await run_sync(lambda: self._shown.film(require_owned_upload(self._store, request)))
        )

    async def delete(self, request: Request) -> Response:
        """Take one away."""
        await self._uploads.delete(await run_sync(require_owned_upload, self._store, request))
        return Response(status_code=204)
