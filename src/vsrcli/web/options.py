"""What may be asked for, and how much of it.

What a visitor asks for, as a command line of ``vsr upscale``, which itself says whether it can be.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vsrcli._version import __version__
from vsrcli.frames.geometry import MAX_SCALE, NAMED_SIZES
from vsrcli.media.encoder_options import PRESETS
from vsrcli.models.architectures import ARCHITECTURES, DEFAULT_MODEL, MODEL_PRESETS
from vsrcli.models.weights import list_weights
from vsrcli.pipeline.job import Options
from vsrcli.web.errors import ApiError
from vsrcli.web.settings import Settings
from vsrcli.web.store import Store

DEFAULT_PRESET = "web"
SIZES = tuple(name for name in NAMED_SIZES if name.endswith("p") and NAMED_SIZES[name][1] >= 720)
_KEYS = ("scale", "size", "height", "preset", "model", "encode_preset")
_SUFFIXES = {"web": ".mp4", "archive": ".mkv", "edit": ".mov"}
_MP4 = "mp4"


@dataclass(frozen=True)
class JobRequest:
    """One conversion.

    Attributes:
        options: as told back to the visitor.
        arguments: of ``vsr upscale``, without the files.
        preset: of the encoder.
    """

    options: Mapping[str, Any]
    arguments: tuple[str, ...]
    preset: str

    def suffix(self, container: str) -> str:
        """Of the result; presets without a container of their own keep MP4, and make Matroska of others."""
        return _SUFFIXES.get(self.preset) or (".mp4" if _MP4 in container.split(",") else ".mkv")


def parse_job_request(body: Any) -> JobRequest:
    """Read the body of a request.

    Raises:
        Refusal: it is no object, has an unknown key, or a value that cannot be meant.
    """
    if not isinstance(body, dict):
        raise _unknown("body", "The request's body has to be a JSON object.")
    for key in body:
        if key not in _KEYS:
            raise _unknown(key, f"There is no option {key[:40]!r}: there are {', '.join(_KEYS)}.")
    given = {key: value for key in _KEYS if (value := body.get(key)) is not None}
    sizes = [key for key in ("scale", "size", "height") if key in given]
    if len(sizes) > 1:
        raise _unknown(sizes[1], f"{' and '.join(sizes)} all say how large; give one of them.")
    if "preset" in given and "model" in given:
        raise _unknown("model", "preset and model both choose the network; give one of them.")
    if "preset" in given:
        network = MODEL_PRESETS[_choice("preset", given["preset"], tuple(network_presets()))]
    else:
        network = _choice("model", given.get("model", DEFAULT_MODEL), tuple(offered_models()))
    options: dict[str, Any] = dict.fromkeys(_KEYS) | {
        "preset": given.get("preset"),
        "model": network,
        "encode_preset": _choice("encode_preset", given.get("encode_preset", DEFAULT_PRESET), tuple(PRESETS)),
    }
    if "size" in given:
        options["size"] = _text(
            "size", given["size"], r"\d{1,5}x\d{1,5}|\d{0,4}[a-z]{1,3}", "1080p or 1920x1080"
        )
    elif "height" in given:
        options["height"] = int(_text("height", given["height"], r"[1-9]\d{0,4}", "1080"))
    else:
        scale = _text(
            "scale", given.get("scale", Options().scale), r"\d{1,2}(\.\d{1,4})?", f"2 (at most {MAX_SCALE})"
        )
        options["scale"] = scale.removesuffix(".0")
    arguments = [
        part
        for key in _KEYS
        if options[key] is not None and not (key == "model" and options["preset"])
        for part in (f"--{key.replace('_', '-')}", str(options[key]))
    ]
    return JobRequest(options, tuple(arguments), options["encode_preset"])


def network_presets() -> list[str]:
    """Words for how much to compute, as the command knows them, whose network has weights here."""
    there = offered_models()
    return [name for name, network in MODEL_PRESETS.items() if network in there]


def offered_models() -> dict[str, dict[str, Any]]:
    """Models that can run here, by name: those with weights, and interpolation. Never a path."""
    scales: dict[str, set[int]] = {}
    for weights in list_weights():
        scales.setdefault(weights.architecture.name, set()).add(weights.scale)
    found = {}
    for name, architecture in ARCHITECTURES.items():
        native = set(architecture.scales) if architecture.module is None else scales.get(name)
        if native:
            found[name] = {
                "name": name,
                "summary": architecture.summary,
                "scales": sorted(native),
                "default": name == DEFAULT_MODEL,
            }
    return found


@lru_cache
def offered_presets() -> list[dict[str, Any]]:
    """Encoder presets that work on this machine. Runs ffmpeg: slow at the first call."""
    from vsrcli.media.ffmpeg import encoder_works, find_ffmpeg

    ffmpeg = find_ffmpeg()
    listed = ffmpeg.encoders()
    return [
        {"name": name, "says": preset.description, "default": name == DEFAULT_PRESET}
        for name, preset in PRESETS.items()
        if (codec := preset.options.codec) is not None and codec in listed and encoder_works(ffmpeg, codec)
    ]


def _choice(key: str, value: Any, names: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in names:
        raise _unknown(
            key, f"There is no {key.replace('_', ' ')} {str(value)[:40]!r}: there are {', '.join(names)}."
        )
    return value


def _text(key: str, value: Any, pattern: str, example: str) -> str:
    text = str(value).strip().lower()
    if isinstance(value, bool) or not re.fullmatch(pattern, text, re.ASCII):
        raise _unknown(key, f"{text[:40]!r} is no {key}: give one such as {example}.")
    return text


def _unknown(option: str, sentence: str) -> ApiError:
    return ApiError(422, "unknown_option", sentence, option=option)


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
            "presets": [{"name": name, "model": MODEL_PRESETS[name]} for name in network_presets()],
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
