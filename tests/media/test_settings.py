"""What may not be handed to ffmpeg, and qualities that no encoder has."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from vsrcli.errors import UsageError
from vsrcli.media.codecs import CODECS, quality_args
from vsrcli.media.encoder_options import PRESETS
from vsrcli.media.safety import check_extra_options


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("t", "--end"),
        ("-ss", "--start"),
        ("frames:v", "--frames"),
        ("vframes", "--frames"),
        ("fs", "--end"),
        ("r", "frames"),
        ("r:v", "frames"),
        ("fps_mode", "frames"),
        ("output_ts_offset", "times"),
        ("map", "streams"),
        ("map_metadata:s:a", "streams"),
        ("an", "streams"),
        ("shortest", "streams"),
        ("c:v", "--codec"),
        ("codec", "--codec"),
        ("pix_fmt", "--pix-fmt"),
        ("s", "--scale"),
        ("f", "extension"),
        ("i", "no sense"),
    ],
)
def test_refused(key: str, remedy: str) -> None:
    with pytest.raises(UsageError, match=f"-e {key}=x is refused: .*{remedy}"):
        check_extra_options([("tune", "film"), (key, "x")])


def test_taken() -> None:
    check_extra_options(
        [("tune", "film"), ("g", "12"), ("vf", "hqdn3d"), ("c:a", "aac"), ("metadata:s:a:0", "title=x")]
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("x264-params", "pass=1:stats=/dev/null"),
        ("-x264-params", "stats=/dev/null:pass=1"),
        ("x264opts", "stats=/dev/../dev/null"),
        ("x265-params", "log-level=error:analysis-save='/dev/null'"),
        ("x265-params", r"stats=/dev/nu\ll"),
        ("stats", "/dev/null"),
        ("vstats_file", "file:/dev/null"),
        ("vf", "hqdn3d,metadata=print:file=/dev/zero,format=gray"),
        ("metadata", "title=/dev/stdout"),  # a link, to a regular file perhaps
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="needs /dev")
def test_devices(key: str, value: str) -> None:
    with pytest.raises(UsageError, match=r"is refused: /dev/\S+ is no regular file, .*; name another file"):
        check_extra_options([("tune", "film"), (key, value)])


@pytest.mark.skipif(os.name != "posix", reason="needs pipes and sockets that have names")
def test_what_else_is_no_regular_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets must be short
    os.mkfifo("pipe")
    Path("link").symlink_to("/dev/null")
    Path("folder").mkdir()
    Path("second").symlink_to("link")
    Path("old:1").touch()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for name in ("pipe", "link", "second", "socket", "folder/../link", str(tmp_path / "link")):
            with pytest.raises(UsageError, match=f"{name} is no regular file"):
                check_extra_options([("x264-params", f"stats={name}:pass=1")])
    os.mkfifo("a:b")
    with pytest.raises(UsageError, match="a:b is no regular file"):
        check_extra_options([("x264-params", r"stats=a\:b")])
    with pytest.raises(UsageError, match="a:b is no regular file"):
        check_extra_options([("stats", "a:b")])
    check_extra_options(
        [("stats", "folder"), ("stats", "old:1"), ("stats", "missing/x.log"), ("metadata", "title=\0")]
    )
    check_extra_options([("metadata", "comment=" + "long" * 5000)])


def test_hardware_is_named_by_its_device(tmp_path: Path) -> None:
    """It is opened, not written; the preset for VA-API does."""
    link = tmp_path / "renderD128"
    link.symlink_to(os.devnull)
    check_extra_options(
        [("vaapi_device", str(link)), ("init_hw_device", f"vaapi=v:{link}"), ("qsv_device", str(link))]
    )
    assert ("vaapi_device", "/dev/dri/renderD128") in PRESETS["vaapi"].options.extra
    for preset in PRESETS.values():
        check_extra_options(preset.options.extra)


@pytest.mark.parametrize(
    ("codec", "value", "words"),
    [
        ("libx264", 99, "from 0 to 51"),
        ("libx265", 52, "from 0 to 51"),
        ("libvpx-vp9", 64, "from 0 to 63"),
        ("libsvtav1", 0, "from 1 to 63"),
        ("libsvtav1", 20.5, "whole numbers only"),
        ("h264_nvenc", 0, "from 1 to 51"),
        ("ffv1", 20, "no constant quality"),
    ],
)
def test_qualities_that_no_encoder_has(codec: str, value: float, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        quality_args(codec, value)


def test_qualities() -> None:
    assert quality_args("libx264", 20.5) == ("crf", "20.5")
    assert quality_args("libx264", None) == ("crf", "17")
    assert quality_args("ffv1", None) is None
    assert quality_args("an_encoder_of_tomorrow", None) is None
    for name, codec in CODECS.items():
        if codec.quality_option is not None:
            assert quality_args(name, None) is not None
            assert all(quality_args(name, end) is not None for end in codec.quality_range)
