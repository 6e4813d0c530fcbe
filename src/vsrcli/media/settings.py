"""Options of ffmpeg that ``-e`` may not set: those that decide which frames, times and streams are written.

They are decided here, and a film that silently holds fewer frames or another sound would be no success. Most
have an option of their own.
"""

from __future__ import annotations

from collections.abc import Iterable

from vsrcli.errors import UsageError

_FRAMES = "it would change which frames are written, or when they are shown"
_STREAMS = "it would change which streams are written"
_SPAN = f"{_FRAMES}; use --start, --end and --frames"
_REFUSED = {
    **dict.fromkeys(("t", "to", "ss", "sseof", "fs", "frames", "vframes", "aframes", "dframes"), _SPAN),
    **dict.fromkeys(("r", "fpsmax", "fps_mode", "vsync", "enc_time_base", "time_base"), _FRAMES),
    **dict.fromkeys(("copyts", "start_at_zero", "output_ts_offset", "avoid_negative_ts"), _FRAMES),
    **dict.fromkeys(("itsoffset", "itsscale", "stream_loop", "timelimit", "async"), _FRAMES),
    **dict.fromkeys(("frame_drop_threshold", "copytb", "copyinkf", "readrate"), _FRAMES),
    **dict.fromkeys(("map", "map_chapters", "map_metadata", "map_channel", "vn", "an", "sn", "dn"), _STREAMS),
    **dict.fromkeys(
        ("shortest", "program", "attach", "dump_attachment", "ignore_unknown", "copy_unknown"), _STREAMS
    ),
    **dict.fromkeys(("filter_complex", "lavfi", "filter_complex_script"), _STREAMS),
    **dict.fromkeys(("f", "target"), "the extension of OUT chooses the container"),
    **dict.fromkeys(("vcodec",), "use --codec"),
    **dict.fromkeys(("s",), "use --scale"),
    **dict.fromkeys(("i", "y", "n", "pass", "passlogfile"), "it cannot be meant here"),
}
_OF_THE_PICTURE = {"c": "use --codec", "codec": "use --codec", "pix_fmt": "use --pix-fmt"}


def check_extra_options(settings: Iterable[tuple[str, str]]) -> None:
    """Check what the user hands to ffmpeg.

    Args:
        settings: (key, value) without the dash, as in ``EncodeOptions.extra``.

    Raises:
        UsageError: a key that would break what is promised about frames, times and streams.
    """
    for option, value in settings:
        key, _, which = option.removeprefix("-").partition(":")
        why = _REFUSED.get(key)
        if key in _OF_THE_PICTURE and which in ("", "v", "v:0", "0"):
            why = _OF_THE_PICTURE[key]
        if why is not None:
            raise UsageError(f"-e {option}={value} is refused: {why}")
