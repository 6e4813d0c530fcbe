"""Click types of arguments and options; errors say what is wrong and give a valid example."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsrcli.frames.geometry import NAMED_SIZES, SizeRequest
from vsrcli.images.naming import NAME_WILDCARD, parse_target
from vsrcli.media.y4m import STDIO
from vsrcli.models.architectures import ARCHITECTURES, MODEL_PRESETS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Parameter = click.Parameter | None
Context = click.Context | None


class SourcePath(click.Path):
    """Path of an input: ``-`` is stdin, ``./-`` a file of that name."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: Parameter, ctx: Context) -> Any:
        """See ``click.ParamType``."""
        path: Any = super().convert(value, param, ctx)
        return path.absolute() if path == STDIO and str(value) != str(STDIO) else path


class TargetPath(SourcePath):
    """Path of an output: ``-`` is stdout; ``out/`` is a folder, even if it does not exist yet."""

    def convert(self, value: Any, param: Parameter, ctx: Context) -> Any:
        """See ``click.ParamType``."""
        path = super().convert(value, param, ctx)
        target = parse_target(value)
        return target if target.name == NAME_WILDCARD else path


class ScaleParam(click.ParamType):
    """A factor from 1 to ``maximum``, such as ``4``, ``2.5`` or ``5/2``, as a Fraction."""

    name = "factor"

    def __init__(self, maximum: int = 4) -> None:
        self._maximum = maximum

    def convert(self, value: Any, param: Parameter, ctx: Context) -> Fraction:
        try:
            scale = Fraction(str(value))
        except (ValueError, ZeroDivisionError):
            self.fail(f"{value!r} is no number: give one such as 2, 2.5 or 4", param, ctx)
        if not 1 <= scale <= self._maximum:
            hint = "; to shrink a video, use ffmpeg" if 0 < scale < 1 else ""
            self.fail(f"{value} is out of range: at least 1, at most {self._maximum}{hint}", param, ctx)
        return scale


class NetworkPresetParam(click.Choice):
    """``fast``, ``balanced`` or ``quality``; the error for other names points to presets of encoders."""

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


class ModelParam(click.ParamType):
    """Name of a model, or path of its file, as text; shells complete both.

    Args:
        own: whether the program's own models count.
    """

    name = "model"
    envvar_list_splitter = os.pathsep  # of several models

    def __init__(self, *, own: bool = True) -> None:
        self._own = own

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return names that begin so; where none does, the shell completes files."""
        from click.shell_completion import CompletionItem

        from vsrcli.errors import ModelError
        from vsrcli.models.library import list_library

        names = list(ARCHITECTURES) if self._own else []
        with contextlib.suppress(ModelError):
            names += [model.name for model in list_library()]
        found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]


class RateParam(click.ParamType):
    """A frame rate such as ``24``, ``23.976`` or ``24000/1001``, as an exact Fraction."""

    name = "rate"
    MAXIMUM = 1000

    def convert(self, value: Any, param: Parameter, ctx: Context) -> Fraction:
        try:
            rate = Fraction(str(value))
        except (ValueError, ZeroDivisionError):
            self.fail(f"{value!r} is no rate: give one such as 25 or 24000/1001", param, ctx)
        if not 0 < rate <= self.MAXIMUM or max(rate.as_integer_ratio()) > 10**6:
            self.fail(f"{value} is out of range: above 0, at most {self.MAXIMUM}", param, ctx)
        return rate


class ScreenParam(click.ParamType):
    """A frame size, ``1920x1080`` or a name such as ``1080p`` or ``4k``, as a ``SizeRequest``."""

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
    """A time such as ``12.5``, ``1:02`` or ``0:01:02.5``, as an exact Fraction of seconds."""

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
    """``auto``, ``none``, or the side of a tile in pixels, as an int."""

    name = "tile"
    MINIMUM = 16

    def convert(self, value: Any, param: Parameter, ctx: Context) -> str | int:
        if value in ("auto", "none"):
            return value
        try:
            side = int(value)
        except ValueError:
            self.fail(f"{value!r} is no tile: give auto, none or a number of pixels such as 256", param, ctx)
        if side < self.MINIMUM:
            self.fail(f"{side} is too small: give {self.MINIMUM} or more, auto or none", param, ctx)
        return side


class SegmentParam(click.ParamType):
    """``auto``, ``none``, ``shots``, or a number of frames, as an int."""

    name = "segment"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> str | int:
        if value in ("auto", "none", "shots"):
            return value
        try:
            frames = int(value)
        except ValueError:
            self.fail(
                f"{value!r} is no length: give auto, none, shots or a number of frames such as 240",
                param,
                ctx,
            )
        if frames < 1:
            self.fail(f"{frames} is too short: give 1 or more frames, auto, none or shots", param, ctx)
        return frames


class DeviceParam(click.ParamType):
    """``auto``, ``cpu``, or the number of a GPU, as text."""

    name = "device"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> str:
        if "," in str(value):
            self.fail(f"{value}: give one GPU; with --workers, --gpu again for each further one", param, ctx)
        if value not in ("auto", "cpu") and not re.fullmatch(r"\d+", str(value)):
            self.fail(f"{value!r} is no device: give cpu, or the number of a GPU such as 0", param, ctx)
        return value


def join_devices(context: click.Context, parameter: click.Parameter, devices: Sequence[str]) -> str:
    """Return the devices of a repeated option, separated by commas; ``auto`` without any.

    Raises:
        BadParameter: the command computes in one process, or the devices do not go together.
    """
    if len(devices) > 1:
        if all(each.name != "workers" for each in context.command.params):
            raise click.BadParameter("one GPU a run; start one vsr for each GPU", context, parameter)
        if not all(each.isdigit() for each in devices):
            raise click.BadParameter("several devices are several GPUs, by number", context, parameter)
    return ",".join(devices) or "auto"


class SizeParam(click.ParamType):
    """An amount of memory in units of 1024, such as ``4G``, ``800M`` or ``1.5GiB``, as an int of bytes."""

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
    """Width and height in pixels, each at least 16, such as ``640x360``, as a tuple."""

    name = "size"
    MINIMUM = 16

    def convert(self, value: Any, param: Parameter, ctx: Context) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(value))
        if not found:
            self.fail(f"{value!r} is no size: give width and height such as 640x360", param, ctx)
        width, height = int(found[1]), int(found[2])
        if min(width, height) < self.MINIMUM:
            self.fail(f"{value} is too small: at least {self.MINIMUM}x{self.MINIMUM}", param, ctx)
        return width, height


class SettingParam(click.ParamType):
    """``key=value`` for ffmpeg, as a tuple; a leading dash of the key is removed."""

    name = "key=value"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, equals, content = str(value).partition("=")
        key = key.strip().removeprefix("-")
        if not equals or not re.fullmatch(r"[A-Za-z][\w:.-]*", key):
            self.fail(f"{value!r} is not key=value: write it as in -e tune=grain", param, ctx)
        return key, content


class SizesParam(click.ParamType):
    """Sizes of a network such as ``width=54,levels=1``, as a dict of ints."""

    name = "sizes"

    def convert(self, value: Any, param: Parameter, ctx: Context) -> dict[str, int]:
        if isinstance(value, dict):
            return value
        found = [re.fullmatch(r"\s*([a-z]+)\s*=\s*(\d{1,4})\s*", part) for part in str(value).split(",")]
        if not all(found):
            self.fail(f"{value!r} are no sizes: write them as in width=54,levels=1", param, ctx)
        return {one[1]: int(one[2]) for one in found if one}


def expand_home(parameter: click.Parameter, value: Any) -> Any:
    """Return a value that no shell has seen with the home folder in place of ``~``, if it names a file.

    Args:
        parameter: whose value it is.
        value: as text; anything else is returned as it is.
    """
    names_file = isinstance(parameter.type, click.Path | ModelParam) or parameter.name == "ffmpeg"
    return os.path.expanduser(value) if names_file and isinstance(value, str) else value  # noqa: PTH111
