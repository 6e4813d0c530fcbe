"""What may not be handed to ffmpeg, and qualities that no encoder has."""

from __future__ import annotations

import pytest

from vsrcli.errors import UsageError
from vsrcli.media.codecs import CODECS, quality_args
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
        ("output_ts_offset", "shown"),
        ("map", "streams"),
        ("map_metadata:s:a", "streams"),
        ("an", "streams"),
        ("shortest", "streams"),
        ("c:v", "--codec"),
        ("codec", "--codec"),
        ("pix_fmt", "--pix-fmt"),
        ("s", "--scale"),
        ("f", "extension"),
        ("i", "meant"),
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
