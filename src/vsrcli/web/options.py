"""Options of a conversion: which ones the server offers, and requests as command lines of ``vsr upscale``.

Only form and names are checked here; the command itself decides what is possible.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vsrcli._version import __version__
from vsrcli.frames.geometry import MAX_SCALE, NAMED_SIZES
from vsrcli.inference.looks import LOOKS, NATURAL, sharp_weights
from vsrcli.media.encoder_options import PRESETS
from vsrcli.models.architectures import ARCHITECTURES, DEFAULT_MODEL, MODEL_PRESETS
from vsrcli.models.library import list_library
from vsrcli.models.packaged import LibraryModel
from vsrcli.models.weights import list_weights
from vsrcli.pipeline.options import Options
from vsrcli.web.errors import ApiError
from vsrcli.web.settings import Settings
from vsrcli.web.store import Store

if TYPE_CHECKING:
    from vsrcli.media.ffmpeg import Ffmpeg

DEFAULT_ENCODER_PRESET = "web"
SIZES = tuple(name for name in NAMED_SIZES if name.endswith("p") and NAMED_SIZES[name][1] >= 720)
_SIZE_FORMATS = {  # pattern, example
    "scale": (r"\d{1,2}(\.\d{1,4})?", f"2 (at most {MAX_SCALE})"),
    "size": (r"\d{1,5}x\d{1,5}|\d{0,4}[a-z]{1,3}", "1080p or 1920x1080"),
    "height": (r"[1-9]\d{0,4}", "1080"),
}
_RETRY_INTERVAL = 60.0  # seconds until encoders are tried again that took too long
_LOOK_NAMES = ("strength", "keep_color")
_OPTION_NAMES = (*_SIZE_FORMATS, "preset", "model", "look", *_LOOK_NAMES, "encode_preset")
_SUFFIXES = {"web": ".mp4", "archive": ".mkv", "edit": ".mov"}


@dataclass(frozen=True)
class JobRequest:
    """A requested conversion.

    Attributes:
        options: all options, as sent back to the page.
        arguments: of ``vsr upscale``, without the files; see :meth:`arguments_for`.
    """

    options: dict[str, Any]
    arguments: list[str]

    def arguments_for(self, width: int, height: int) -> list[str]:
        """Return the arguments for a video: an even height in place of a factor that makes a side odd.

        Most players take even sides only, and so does the pixel format of the preset ``web``.

        Args:
            width, height: of the video, as displayed.
        """
        if self.options["scale"] is None:
            return self.arguments
        scale = Fraction(self.options["scale"])
        scaled_width, scaled_height = round(width * scale), round(height * scale)
        even_height = scaled_height - scaled_height % 2
        if even_height <= height or not (scaled_width % 2 or scaled_height % 2):
            return self.arguments
        begin = self.arguments.index("--scale")
        return [*self.arguments[:begin], "--height", str(even_height), *self.arguments[begin + 2 :]]

    def result_suffix(self, container: str) -> str:
        """Return the suffix of the result; presets without a container keep MP4, and make Matroska of others.

        Args:
            container: FFmpeg's names of the source's container.
        """
        default = ".mp4" if "mp4" in container.split(",") else ".mkv"
        return _SUFFIXES.get(self.options["encode_preset"], default)


def parse_job_request(body: Any, *, all_models: bool = False) -> JobRequest:
    """Return the conversion that a JSON body requests.

    Args:
        body: decoded.
        all_models: see :func:`offered_models`.

    Raises:
        ApiError: the body is no object, or has an unknown key or an invalid value.
    """
    if not isinstance(body, dict):
        raise _option_error("body", "The request's body has to be a JSON object.")
    for key in body:
        if key not in _OPTION_NAMES:
            text = f"There is no option {key[:40]!r}: there are {', '.join(_OPTION_NAMES)}."
            raise _option_error(key, text)
    requested = {key: value for key, value in body.items() if value is not None}
    sizes = [key for key in _SIZE_FORMATS if key in requested]
    if len(sizes) > 1:
        raise _option_error(sizes[1], f"{' and '.join(sizes)} exclude each other; give one of them.")
    requested.setdefault("encode_preset", DEFAULT_ENCODER_PRESET)
    if not sizes:
        requested["scale"] = Options().scale
    model = requested.pop("model", None) if "preset" in requested else None  # options of a job have both
    if "preset" not in requested:
        requested.setdefault("model", DEFAULT_MODEL)
    choices = {
        "preset": offered_model_presets(),
        "model": offered_models(all_models=all_models),
        "look": LOOKS,
        "encode_preset": PRESETS,
    }
    options: dict[str, Any] = dict.fromkeys(_OPTION_NAMES)
    arguments = []
    for key in [key for key in _OPTION_NAMES if key in requested]:
        value = requested[key]
        if key in _LOOK_NAMES:
            options[key] = _parse_strength(value) if key == "strength" else _parse_flag(key, value)
            arguments += _look_arguments(key, options[key])
            continue
        options[key] = _parse_name(key, value, choices[key]) if key in choices else _parse_size(key, value)
        arguments += [f"--{key.replace('_', '-')}", str(options[key])]
    if options["preset"]:
        options["model"] = MODEL_PRESETS[options["preset"]]
        if model not in (None, options["model"]):
            raise _option_error("model", "preset and model choose different networks; give one of them.")
    return JobRequest(options, arguments)


def offered_model_presets() -> list[str]:
    """Return the values of ``--preset`` whose network has weights on this server."""
    models = offered_models()
    return [name for name, model in MODEL_PRESETS.items() if model in models]


def offered_models(*, all_models: bool = False) -> dict[str, dict[str, Any]]:
    """Return the models that can run here, by name, as docs/web.md describes them. Never a path.

    They are those with weights, and interpolation; with ``all_models`` also networks of others that have
    names and enlarge.
    """
    licences: dict[str, str | None] = {}
    scales = {name: {*each.scales} for name, each in ARCHITECTURES.items() if each.module is None}
    for weights in list_weights():
        name = weights.architecture.name
        if weights.look == NATURAL:
            scales.setdefault(name, set()).add(weights.scale)
        licences.setdefault(name, weights.card.get("licence"))
    models = {
        name: {
            "name": name,
            "summary": architecture.summary,
            "scales": sorted(scales[name]),
            "sharp_scales": sorted(sharp_weights(name)),
            "default": name == DEFAULT_MODEL,
            "network": architecture.module is not None,
            "imported": False,
            "keep_color": False,
            "licence": licences.get(name),
        }
        for name, architecture in ARCHITECTURES.items()
        if name in scales
    }
    entries = map(_imported_model, list_library() if all_models else ())
    return models | {entry["name"]: entry for entry in entries if entry["scales"]}


def _imported_model(model: LibraryModel) -> dict[str, Any]:
    """Return the entry of a network of others; without scales if it is not known to enlarge."""
    scale = model.scale or model.description.get("scale")
    return {
        "name": model.name,
        "summary": model.summary,
        "scales": [scale] if isinstance(scale, int) and scale > 1 else [],
        "sharp_scales": [],
        "default": False,
        "network": True,
        "imported": True,
        "keep_color": model.description.get("kind") != "functions",  # those are exports of this program
        "licence": model.licence or None,
    }


def offered_encoder_presets() -> tuple[list[dict[str, Any]], bool]:
    """Return the encoder presets that work on this machine, and whether all encoders could be tried in time.

    Runs ffmpeg with encoders that it has not tried yet: slow at the first call.
    """
    from vsrcli.media.ffmpeg import find_ffmpeg

    ffmpeg = find_ffmpeg()
    encoders, presets, is_complete = ffmpeg.encoders(), [], True
    for name, preset in PRESETS.items():
        codec, is_default = preset.options.codec, name == DEFAULT_ENCODER_PRESET
        try:
            if codec in encoders and _try_encoder(ffmpeg, codec):
                presets.append({"name": name, "description": preset.description, "default": is_default})
        except TimeoutError:
            is_complete = False
    return presets, is_complete


@lru_cache
def _try_encoder(ffmpeg: Ffmpeg, codec: str) -> bool:
    """Return whether an encoder works; raise TimeoutError, which is not cached, if that takes too long."""
    from vsrcli.media.ffmpeg import encoder_works

    works = encoder_works(ffmpeg, codec)
    if works is None:
        raise TimeoutError
    return works


def _parse_name(key: str, value: Any, names: Collection[str]) -> str:
    if not isinstance(value, str) or value not in names:
        raise _option_error(
            key, f"There is no {key.replace('_', ' ')} {str(value)[:40]!r}: there are {', '.join(names)}."
        )
    return value


def _parse_size(key: str, value: Any) -> str | int:
    (pattern, example), text = _SIZE_FORMATS[key], str(value).strip().lower()
    if isinstance(value, bool) or not re.fullmatch(pattern, text, re.ASCII):
        raise _option_error(key, f"{text[:40]!r} is no {key}: give one such as {example}.")
    return int(text) if key == "height" else text.removesuffix(".0")


def _parse_strength(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise _option_error("strength", f"{str(value)[:40]!r} is no strength: give a number from 0 to 1.")
    return float(value)


def _parse_flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _option_error(key, f"{key} is true or false, not {str(value)[:40]!r}.")
    return value


def _look_arguments(key: str, value: float | bool) -> list[str]:
    if key == "strength":
        return ["--strength", str(value)]
    return ["--keep-color" if value else "--no-keep-color"]


def _option_error(option: str, message: str) -> ApiError:
    return ApiError(422, "unknown_option", message, option=option)


class OptionsRoutes:
    """The route of ``/api/options``."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._lock = asyncio.Lock()
        self._constant: dict[str, Any] | None = None
        self._is_complete = False  # whether all encoders have been tried
        self.routes = [Route("/api/options", self.get)]

    async def get(self, request: Request) -> Response:
        """Send the options."""
        return JSONResponse(await self.options())

    async def options(self) -> dict[str, Any]:
        """Return what can be requested, limits and free space, as docs/web.md describes them."""
        async with self._lock:  # encoders are tried once
            if self._constant is None:
                self._constant = await run_sync(self._constant_options)
        used, quota = await run_sync(self._store.bytes_used), self._settings.quota
        return self._constant | {"quota": {"bytes": quota, "used": used, "left": max(quota - used, 0)}}

    async def prepare(self) -> None:
        """Find out what can be requested before somebody asks; try encoders again that took too long."""
        await self.options()
        while not self._is_complete:
            await asyncio.sleep(_RETRY_INTERVAL)
            self._constant = await run_sync(self._constant_options)

    def _constant_options(self) -> dict[str, Any]:
        encode_presets, self._is_complete = offered_encoder_presets()
        settings, models = self._settings, offered_models(all_models=self._settings.all_models)
        own = [model for model in models.values() if not model["imported"]]
        scales = {scale for model in own for scale in model["scales"]}
        return {
            "version": __version__,
            "scales": [str(scale) for scale in sorted(scales)],
            "max_scale": MAX_SCALE,
            "sizes": SIZES,
            "models": list(models.values()),
            "presets": [{"name": name, "model": MODEL_PRESETS[name]} for name in offered_model_presets()],
            "encode_presets": encode_presets,
            "limits": {
                "upload": settings.max_upload,
                "duration": settings.max_duration,
                "pixels": settings.max_pixels,
                "result_pixels": settings.max_result,
                "videos": settings.max_videos,
                "jobs": settings.max_jobs,
            },
            "keep": settings.keep,
        }
