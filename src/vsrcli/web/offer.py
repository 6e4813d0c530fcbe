"""What may be asked for, and how much of it."""

from __future__ import annotations

import asyncio
from typing import Any

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vsrcli import __version__
from vsrcli.frames.geometry import MAX_SCALE
from vsrcli.models.architectures import NETWORK_PRESETS
from vsrcli.web.asked import SIZES, network_presets, offered_models, offered_presets
from vsrcli.web.settings import Settings
from vsrcli.web.store import Store


class OptionsRoutes:
    """The handler of ``/api/options``.

    Args:
        store: knows how much room is left.
        settings: limits.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._lock = asyncio.Lock()
        self._fixed: dict[str, Any] | None = None

    def routes(self) -> list[Route]:
        """Of ``/api``."""
        return [Route("/api/options", self.get, methods=["GET"])]

    async def get(self, request: Request) -> Response:
        """For the page."""
        return JSONResponse(await self.options())

    async def options(self) -> dict[str, Any]:
        """See docs/web.md."""
        async with self._lock:  # encoders are tried out once
            if self._fixed is None:
                self._fixed = await run_sync(self._find)
        used = await run_sync(self._store.bytes_used)
        quota = self._settings.quota
        return self._fixed | {"quota": {"bytes": quota, "used": used, "left": max(quota - used, 0)}}

    def _find(self) -> dict[str, Any]:
        settings, found = self._settings, offered_models()
        scales = sorted({scale for model in found.values() for scale in model["scales"]})
        return {
            "version": __version__,
            "scales": [str(scale) for scale in scales],
            "max_scale": MAX_SCALE,
            "sizes": list(SIZES),
            "models": list(found.values()),
            "presets": [{"name": name, "model": NETWORK_PRESETS[name]} for name in network_presets()],
            "encode_presets": offered_presets(),
            "limits": {
                "upload": settings.max_upload,
                "duration": settings.max_duration,
                "pixels": settings.max_pixels,
                "result_pixels": settings.max_result,
                "films": settings.films,
                "jobs": settings.jobs,
            },
            "keep": settings.keep,
        }
