"""A "video" that names other files, addresses or programs opens none of them; a bomb stays shut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import media_samples as media
from vsrcli.errors import DecodeError, InputError
from vsrcli.media.decoder import Decoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.probe import probe

Sample = Callable[..., Path]

HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nvictim.mp4\n#EXT-X-ENDLIST\n"
DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" '
    'bandwidth="9"><BaseURL>victim.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>'
)
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="victim.png"/></svg>'
LISTS = {
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


@pytest.mark.parametrize("name", LISTS)
def test_lists_and_scripts(name: str, sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "victim.mp4").write_bytes(sample(media.cfr).read_bytes())
    path = tmp_path / name
    path.write_text(LISTS[name], "utf-8")
    with pytest.raises(InputError) as caught:
        probe(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "name", ["concat:victim.mp4", "subfile,,start,0,end,99,,:victim.mp4", "http://127.0.0.1:9/x.mp4", "-"]
)
def test_names_are_names_of_files(
    name: str, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "victim.mp4").write_bytes(sample(media.cfr).read_bytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        probe(Path(name))


@pytest.mark.parametrize("name", ["img%03d.png", "img*.png", "img[0-9].png"])
def test_patterns_are_no_films(name: str, tmp_path: Path) -> None:
    one = tmp_path / "img001.png"
    media.run_ffmpeg(*media.moving_pattern(1), "-frames:v", "1", "-update", "1", one)
    (tmp_path / name).write_bytes(one.read_bytes())
    with pytest.raises(InputError, match=r"other files|still image"):
        probe(tmp_path / name)


def test_what_was_a_film_when_it_was_looked_at(sample: Sample, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    """ffmpeg reads a film as the kind that it was, or not at all."""
    path = tmp_path / "film.mp4"
    path.write_bytes(sample(media.cfr).read_bytes())
    source = probe(path)
    path.write_text(f"ffconcat version 1.0\nfile {sample(media.cfr)}\n")
    with pytest.raises(DecodeError, match="after 0 frames"), Decoder(source, ffmpeg=ffmpeg) as decoder:
        list(decoder)


def test_frames_larger_than_memory(sample: Sample, tmp_path: Path) -> None:
    path = tmp_path / "huge.y4m"
    path.write_bytes(b"YUV4MPEG2 W60000 H60000 F25:1\nFRAME\n" + bytes(99))
    with pytest.raises(InputError, match=r"60000x60000 pixels, more than"):
        probe(path)
    small, path = sample(media.transparent).read_bytes(), tmp_path / "huge.mkv"
    at = small.index(b"\xb0\x81\x40\xba\x81\x30")  # Matroska's width and height, one byte each
    path.write_bytes(small[:at] + b"\xb0\x83\x00\xea\x60\xba\x83\x00\xea\x60"[:6] + small[at + 6 :])
    with pytest.raises(InputError):
        probe(path)


def test_a_later_frame_larger_than_memory(tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    """The second picture of a motion JPEG film says that it has 60000x60000 pixels."""
    path = tmp_path / "film.avi"
    media.run_ffmpeg(*media.moving_pattern(3), "-c:v", "mjpeg", path)
    data = bytearray(path.read_bytes())
    second = data.index(b"\xff\xc0", data.index(b"\xff\xc0") + 1)
    data[second + 5 : second + 9] = b"\xea\x60\xea\x60"
    path.write_bytes(data)
    with (
        pytest.raises(DecodeError, match="after 1 frame") as caught,
        Decoder(probe(path), ffmpeg=ffmpeg) as it,
    ):
        list(it)
    assert "60000x60000" in caught.value.details


def test_hundreds_of_streams(tmp_path: Path) -> None:
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
