"""Types of arguments and options: which values are valid, what they become, and what errors suggest."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import click
import pytest

from terminal import Outcome
from vsrcli.cli.types import DeviceParam, ScaleParam, SegmentParam, SettingParam, TileParam, TimeParam

Vsr = Callable[..., Outcome]


@pytest.mark.parametrize(
    ("param_type", "text", "value"),
    [
        (ScaleParam(), "4", Fraction(4)),
        (ScaleParam(), "2.5", Fraction(5, 2)),
        (ScaleParam(), "4/3", Fraction(4, 3)),
        (TimeParam(), "12.5", Fraction(25, 2)),
        (TimeParam(), "0.1", Fraction(1, 10)),
        (TimeParam(), "1:02", Fraction(62)),
        (TimeParam(), "0:01:02.5", Fraction(125, 2)),
        (TimeParam(), "100:00:00", Fraction(360000)),
        (TimeParam(), "90", Fraction(90)),
        (TileParam(), "auto", "auto"),
        (TileParam(), "none", "none"),
        (TileParam(), "256", 256),
        (SegmentParam(), "auto", "auto"),
        (SegmentParam(), "none", "none"),
        (SegmentParam(), "1", 1),
        (DeviceParam(), "cpu", "cpu"),
        (DeviceParam(), "0", "0"),
        (SettingParam(), "tune=grain", ("tune", "grain")),
        (SettingParam(), "-x265-params=a=1:b=2", ("x265-params", "a=1:b=2")),
        (SettingParam(), "metadata:s:a:0=title=x", ("metadata:s:a:0", "title=x")),
        (SettingParam(), "flags=", ("flags", "")),
    ],
)
def test_valid_values(param_type: click.ParamType, text: str, value: object) -> None:
    assert param_type.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        ("--scale 17", "at most 16"),
        ("--scale 0.99", "at least 1"),
        ("--scale big", "such as 2"),
        ("--scale 1/0", "such as 2"),
        ("--scale nan", "such as 2"),
        ("--scale -2", "at least 1"),
        ("--tile 5", "16 or more"),
        ("--tile some", "auto, none"),
        ("--segment 0", "1 or more"),
        ("--segment soon", "auto, none"),
        ("--overlap -1", "x>=0"),
        ("--gpu fast", "cpu"),
        ("--gpu 0,1", "one GPU"),
        ("--precision fp8", "fp16"),
        ("--crf -3", "x>=0"),
        ("-e novalue", "tune=grain"),
        ("-e =value", "tune=grain"),
        ("--start abc", "0:01:02.5"),
        ("--start 1:75", "0:01:02.5"),
        ("--start -3", "0:01:02.5"),
        ("--start 5 --end 3", "not after"),
        ("--end 0", "not after"),
        ("--colour", "--colour"),
    ],
)
def test_invalid_values_are_refused_before_the_source_is_probed(option: str, remedy: str, vsr: Vsr) -> None:
    vsr("upscale", "missing.mp4", "out.mp4", *option.split()).fails(2, remedy)
