"""Option values with a meaning of their own; each says what is wrong and what would be right."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import click

from vsrcli.frames.geometry import NAMED_SIZES, SizeRequest
from vsrcli.models.architectures import MODEL_PRESETS

Parameter = click.Parameter | None
Context = click.Context | None


class ScaleParam(click.ParamType):
    """``4``, ``2.5`` or ``5/2``: more than 1, at most ``most``; a Fraction."""

    name = "factor"

    def __init__(self, most: int = 4) -> None:
        self._most = most

    def convert(self, value: Any, param: Parameter, ctx: Context) -> Fraction:
        try:
            scale = Fraction(str(value))
        except (ValueError, ZeroDivisionError):
            self.fail(f"{value!r} is no number: give one such as 2, 2.5 or 4", param, ctx)
        if not 1 < scale <= self._most:
            same = "; to make a film smaller, or only to recode it, use ffmpeg" if 0 < scale <= 1 else ""
            self.fail(f"{value} is out of range: more than 1, at most {self._most}{same}", param, ctx)
        return scale


class NetworkPresetParam(click.Choice):
    """``fast``, ``balanced`` or ``quality``; an encoder's preset, spelled alike elsewhere, is told apart."""

    name = "preset"

    def __init__(self) -> None:
        super().__init__(list(MODEL_PRESETS))

    def convert(self, value: Any, param: Parameter, ctx: Context) -> str:
        if value not in MODEL_PRESETS:
            names = ", ".join(MODEL_PRESETS)
            self.fail(
                f"{value!r} is none: choose one of {names}; for the encoder's own preset: -e preset={value}",
                param,
                ctx,
            )
        return value


class RateParam(click.ParamType):
    """``24``, ``23.976`` or ``24000/1001`` a second; an exact Fraction."""

    name = "rate"
    MOST = 1000

    def convert(self, value: Any, param: Parameter, ctx: Context) -> Fraction:
        try:
            rate = Fraction(str(value))
        except (ValueError, ZeroDivisionError):
            self.fail(f"{value!r} is no rate: give one such as 25 or 24000/1001", param, ctx)
        if not 0 < rate <= self.MOST or max(rate.as_integer_ratio()) > 10**6:
            self.fail(f"{value} is out of range: above 0, at most {self.MOST}", param, ctx)
        return rate


class ScreenParam(click.ParamType):
    """``1920x1080``, or a name such as ``1080p`` or ``4k``: a :class:`~vsrcli.frames.geometry.SizeRequest`."""

    name = "WxH"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> SizeRequest:
        if isinstance(value, SizeRequest):
            return value
        text = str(value).strip().lower()
        if text in NAMED_SIZES:
            return SizeRequest(*NAMED_SIZES[text], swap_for_portrait=True)
        found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
        if not found or not int(found[1]) or not int(found[2]):
            names = ", ".join(name for name in NAMED_SIZES)
            self.fail(f"{value!r} is no size: give one such as 1920x1080, or {names}", param, ctx)
        return SizeRequest(int(found[1]), int(found[2]))


class TimeParam(click.ParamType):
    """``12.5``, ``1:02`` or ``0:01:02.5``; an exact Fraction of seconds."""

    name = "time"
    _PATTERN = re.compile(r"(?:(?:(\d+):)?([0-5]?\d):)?(\d+(?:\.\d*)?|\.\d+)")

    def convert(self, value: Any, param: Parameter, ctx: Context) -> Fraction:
        if isinstance(value, Fraction):
            return value
        found = self._PATTERN.fullmatch(str(value).strip())
        if not found or (found[2] and Fraction(found[3]) >= 60):
            self.fail(f"{value!r} is no time: give seconds such as 12.5, or 1:02, or 0:01:02.5", param, ctx)
        hours, minutes, seconds = found.groups()
        return 3600 * Fraction(hours or 0) + 60 * Fraction(minutes or 0) + Fraction(seconds)


class TileParam(click.ParamType):
    """``auto``, ``none``, or a whole number of pixels."""

    name = "tile"
    LEAST = 16

    def convert(self, value: Any, param: Parameter, ctx: Context) -> str | int:
        if value in ("auto", "none"):
            return value
        try:
            side = int(value)
        except ValueError:
            self.fail(f"{value!r} is no tile: give auto, none or a number of pixels such as 256", param, ctx)
        if side < self.LEAST:
            self.fail(f"{side} is too small: give {self.LEAST} or more, auto or none", param, ctx)
        return side


class SegmentParam(click.ParamType):
    """``auto``, ``none``, or a whole number of frames."""

    name = "segment"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> str | int:
        if value in ("auto", "none"):
            return value
        try:
            frames = int(value)
        except ValueError:
            self.fail(
                f"{value!r} is no length: give auto, none or a number of frames such as 240", param, ctx
            )
        if frames < 1:
            self.fail(f"{frames} is too short: give 1 or more frames, auto or none", param, ctx)
        return frames


class DeviceParam(click.ParamType):
    """``auto``, ``cpu``, or the number of a GPU."""

    name = "device"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> str:
        if "," in str(value):
            self.fail(f"{value}: one GPU a run; start one vsr for each GPU and film", param, ctx)
        if value not in ("auto", "cpu") and not re.fullmatch(r"\d+", str(value)):
            self.fail(f"{value!r} is no device: give cpu, or the number of a GPU such as 0", param, ctx)
        return value


class SizeParam(click.ParamType):
    """``4G``, ``800M``, ``1.5GiB`` or bytes: units of 1024; a whole number of bytes."""

    name = "size"
    _PATTERN = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)

    def convert(self, value: Any, param: Parameter, ctx: Context) -> int:
        if isinstance(value, int):
            return value
        found = self._PATTERN.fullmatch(str(value).strip())
        if not found or not float(found[1]):
            self.fail(f"{value!r} is no size: give one such as 4G or 800M", param, ctx)
        return int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " "))


class DimensionsParam(click.ParamType):
    """``640x360``: width and height in pixels, each at least 16."""

    name = "size"
    LEAST = 16

    def convert(self, value: Any, param: Parameter, ctx: Context) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(value))
        if not found:
            self.fail(f"{value!r} is no size: give width and height such as 640x360", param, ctx)
        width, height = int(found[1]), int(found[2])
        if min(width, height) < self.LEAST:
            self.fail(f"{value} is too small: at least {self.LEAST}x{self.LEAST}", param, ctx)
        return width, height


class SettingParam(click.ParamType):
    """``key=value`` for ffmpeg; a leading dash of the key is taken off."""

    name = "key=value"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, equals, content = str(value).partition("=")
        key = key.strip().removeprefix("-")
        if not equals or not re.fullmatch(r"[A-Za-z][\w:.-]*", key):
            self.fail(f"{value!r} is not key=value: write it as in -e tune=film", param, ctx)
        return key, content


class SizesParam(click.ParamType):
    """``width=54,levels=1``: sizes of a network, whole numbers; a dict."""

    name = "sizes"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> dict[str, int]:
        if isinstance(value, dict):
            return value
        found = [re.fullmatch(r"\s*([a-z]+)\s*=\s*(\d{1,4})\s*", part) for part in str(value).split(",")]
        if not all(found):
            self.fail(f"{value!r} are no sizes: write them as in width=54,levels=1", param, ctx)
        return {one[1]: int(one[2]) for one in found if one}
