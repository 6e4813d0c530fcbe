"""Checks of untrusted input: references to other files, excessive sizes, refused ffmpeg options."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import media_samples as media
from vsrcli.errors import DecodeError, InputError, UsageError
from vsrcli.media.decoder import Decoder
from vsrcli.media.encoder_options import PRESETS
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.probe import probe
from vsrcli.media.safety import check_extra_options

Sample = Callable[..., Path]

HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nvictim.mp4\n#EXT-X-ENDLIST\n"
DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" '
    'bandwidth="9"><BaseURL>victim.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>'
)
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="victim.png"/></svg>'
REFERENCES = {
    "a.m3u8": HLS,
    "b.mp4": HLS,
    "c.txt": f"\ufeff{HLS}",
    "d.ffconcat": "ffconcat version 1.0\nfile victim.mp4\n",
    "e.mkv": "ffconcat version 1.0\nfile victim.mp4\n",
    "f.txt": "file victim.mp4\n",
    "g.mpd": DASH,
    "h.sdp": SDP,
    "i.pls": "[playlist]\nFile1=victim.mp4\n",
    "j.avs": 'DirectShowSource("victim.mp4")\n',
    "k.vpy": "import vapoursynth\n",
    "l.svg": SVG,
    "m.mov": "RTSPtext\nrtsp://127.0.0.1:9/x\n",
}


@pytest.mark.parametrize("name", REFERENCES)
def test_playlists_and_scripts_are_refused(name: str, sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "victim.mp4").write_bytes(sample(media.cfr).read_bytes())
    path = tmp_path / name
    path.write_text(REFERENCES[name], "utf-8")
    with pytest.raises(InputError) as raised:
        probe(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    "name", ["concat:victim.mp4", "subfile,,start,0,end,99,,:victim.mp4", "http://127.0.0.1:9/x.mp4", "-"]
)
def test_names_are_not_urls(
    name: str, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "victim.mp4").write_bytes(sample(media.cfr).read_bytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        probe(Path(name))


@pytest.mark.parametrize("name", ["img%03d.png", "img*.png", "img[0-9].png"])
def test_image_patterns_are_refused(name: str, tmp_path: Path) -> None:
    one = tmp_path / "img001.png"
    media.run_ffmpeg(*media.moving_pattern(1), "-frames:v", "1", "-update", "1", one)
    (tmp_path / name).write_bytes(one.read_bytes())
    with pytest.raises(InputError, match=r"other files|still image"):
        probe(tmp_path / name)


def test_file_replaced_after_probe(sample: Sample, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    """ffmpeg opens a file with the demuxer of its probe, or not at all."""
    path = tmp_path / "video.mp4"
    path.write_bytes(sample(media.cfr).read_bytes())
    source = probe(path)
    path.write_text(f"ffconcat version 1.0\nfile {sample(media.cfr)}\n")
    with pytest.raises(DecodeError, match="after 0 frames"), Decoder(source, ffmpeg=ffmpeg) as decoder:
        list(decoder)


def test_huge_frames_are_refused(sample: Sample, tmp_path: Path) -> None:
    path = tmp_path / "huge.y4m"
    path.write_bytes(b"YUV4MPEG2 W60000 H60000 F25:1\nFRAME\n" + bytes(99))
    with pytest.raises(InputError, match=r"60000x60000 pixels, more than"):
        probe(path)
    small, path = sample(media.transparent).read_bytes(), tmp_path / "huge.mkv"
    at = small.index(b"\xb0\x81\x40\xba\x81\x30")  # Matroska's width and height, one byte each
    path.write_bytes(small[:at] + b"\xb0\x83\x00\xea\x60\xba\x83\x00\xea\x60"[:6] + small[at + 6 :])
    with pytest.raises(InputError):
        probe(path)


def test_huge_later_frame_is_refused(tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    """The second frame of a Motion JPEG video declares 60000x60000 pixels."""
    path = tmp_path / "video.avi"
    media.run_ffmpeg(*media.moving_pattern(3), "-c:v", "mjpeg", path)
    data = bytearray(path.read_bytes())
    second = data.index(b"\xff\xc0", data.index(b"\xff\xc0") + 1)
    data[second + 5 : second + 9] = b"\xea\x60\xea\x60"
    path.write_bytes(data)
    with (
        pytest.raises(DecodeError, match="after 1 frame") as raised,
        Decoder(probe(path), ffmpeg=ffmpeg) as it,
    ):
        list(it)
    assert "60000x60000" in raised.value.details


def test_too_many_streams_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "many.mkv"
    tracks = ["-map", "1"] * 300
    media.run_ffmpeg(
        *media.moving_pattern(2),
        *media.sine_tone(0.05),
        "-map",
        "0",
        *tracks,
        "-c:v",
        "ffv1",
        "-c:a",
        "pcm_s16le",
        path,
    )
    with pytest.raises(InputError, match=r"301 streams, more than the supported 256"):
        probe(path)


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
def test_refused_options(key: str, remedy: str) -> None:
    with pytest.raises(UsageError, match=f"-e {key}=x is refused: .*{remedy}"):
        check_extra_options([("tune", "film"), (key, "x")])


def test_accepted_options() -> None:
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
def test_devices_are_refused(key: str, value: str) -> None:
    with pytest.raises(UsageError, match=r"is refused: /dev/\S+ is no regular file, .*; name another file"):
        check_extra_options([("tune", "film"), (key, value)])


@pytest.mark.skipif(os.name != "posix", reason="needs pipes and sockets that have names")
def test_special_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_hardware_device_options_are_accepted(tmp_path: Path) -> None:
    """It is opened, not written; the preset for VA-API does."""
    link = tmp_path / "renderD128"
    link.symlink_to(os.devnull)
    check_extra_options(
        [("vaapi_device", str(link)), ("init_hw_device", f"vaapi=v:{link}"), ("qsv_device", str(link))]
    )
    assert ("vaapi_device", "/dev/dri/renderD128") in PRESETS["vaapi"].options.extra
    for preset in PRESETS.values():
        check_extra_options(preset.options.extra)
