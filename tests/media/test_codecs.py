"""Quality options of encoders."""

from __future__ import annotations

import pytest

from vsrcli.errors import UsageError
from vsrcli.media.codecs import CODECS
from vsrcli.media.encoder_options import quality_args


@pytest.mark.parametrize(
    ("codec", "value", "message"),
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
def test_quality_out_of_range(codec: str, value: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        quality_args(codec, value)


def test_quality_args() -> None:
    assert quality_args("libx264", 20.5) == ("crf", "20.5")
    assert quality_args("libx264", None) == ("crf", "17")
    assert quality_args("ffv1", None) is None
    assert quality_args("an_encoder_of_tomorrow", None) is None
    for name, codec in CODECS.items():
        if codec.quality_option is not None:
            assert quality_args(name, None) is not None
            assert all(quality_args(name, end) is not None for end in codec.quality_range)
