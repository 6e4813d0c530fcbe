"""Tiny videos for tests, made with lavfi by the bundled ffmpeg.

Every function writes one file into a folder and returns its path. Frames are 64x48 unless documented
otherwise, and change from frame to frame. Nothing is downloaded.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

SIZE = "64x48"
RATE = "24000/1001"

_X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "4", "-g", "6", "-bf", "2", "-threads", "1")
_YUV420P = ("-pix_fmt", "yuv420p")
_AAC = ("-c:a", "aac", "-b:a", "48k")


def run_ffmpeg(*arguments: str | int | Path) -> None:
    """Run the bundled ffmpeg; fail loudly."""
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-loglevel", "error", "-y"]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def moving_pattern(
    frames: int = 12, *, size: str = SIZE, rate: str = RATE, source: str = "testsrc2"
) -> list[str]:
    """Return input arguments for a moving test pattern of ``frames`` frames; ``source``: a lavfi source."""
    options = f"{':' if '=' in source else '='}s={size}:r={rate}"
    return ["-f", "lavfi", "-i", f"{source}{options},trim=end_frame={frames}"]


def sine_tone(seconds: float = 0.5, *, frequency: int = 440) -> list[str]:
    """Return input arguments for a sine tone."""
    return ["-f", "lavfi", "-i", f"sine=f={frequency}:r=48000:d={seconds}"]


def cfr(folder: Path, *, frames: int = 12, suffix: str = ".mp4", audio: bool = True) -> Path:
    """24000/1001 frames a second, H.264 with B-frames, with AAC audio unless ``audio`` is False."""
    path = folder / f"cfr-{frames}{'' if audio else '-silent'}{suffix}"
    tone = sine_tone(frames * 1001 / 24000) if audio else []
    run_ffmpeg(*moving_pattern(frames), *tone, *_X264, *_YUV420P, *(_AAC if audio else ()), path)
    return path


def vfr(folder: Path, *, suffix: str = ".mp4", frames: int = 12) -> Path:
    """Variable frame rate on a 1/90000 clock (1/1000 in Matroska): no two neighbouring gaps are equal."""
    path = folder / f"vfr{suffix}"
    times = "settb=1/90000,setpts='N*2970+N*N*90+mod(N,3)*180'"
    clock = ["-video_track_timescale", "90000"] if suffix in (".mp4", ".mov") else []
    run_ffmpeg(
        *moving_pattern(frames), *sine_tone(0.6), "-vf", times,
        "-fps_mode", "passthrough", "-enc_time_base", "1/90000", *_X264, *_YUV420P, *_AAC, *clock, path,
    )  # fmt: skip
    return path


def without_rate(folder: Path, *, suffix: str = ".webm", times: str = "33*N+mod(7*N*N,5)") -> Path:
    """40 frames that state no rate, as a browser's recording.

    Args:
        folder, suffix: of the file, WebM or Matroska.
        times: of frame ``N`` in milliseconds.
    """
    path = folder / f"without-rate{suffix}"
    coding = ("-c:v", "libvpx", "-deadline", "realtime") if suffix == ".webm" else _X264
    clock = ("-fps_mode", "passthrough", "-enc_time_base", "1/1000")
    run_ffmpeg(*moving_pattern(40), "-vf", f"settb=1/1000,setpts='{times}'", *clock, *coding, *_YUV420P, path)
    data = bytearray(path.read_bytes())
    begin = data.index(b"\x23\xe3\x83")  # DefaultDuration becomes Void, of the same length
    length = data[begin + 3] & 0x7F
    data[begin : begin + 4 + length] = bytes([0xEC, 0x80 | (length + 2), *bytes(length + 2)])
    path.write_bytes(data)
    return path


def video_starts_late(folder: Path, *, suffix: str = ".mp4") -> Path:
    """Audio from 0 s on, video from 0.423 s on."""
    path = folder / f"late{suffix}"
    run_ffmpeg(
        *sine_tone(1),
        "-itsoffset",
        "0.423",
        *moving_pattern(),
        "-map",
        "1:v",
        "-map",
        "0:a",
        *_X264,
        *_YUV420P,
        *_AAC,
        path,
    )
    return path


def audio_starts_late(folder: Path, *, suffix: str = ".mkv") -> Path:
    """Video from 0 s on, audio from 0.25 s on."""
    path = folder / f"audio-late{suffix}"
    run_ffmpeg(
        *moving_pattern(),
        "-itsoffset",
        "0.25",
        *sine_tone(0.5),
        "-map",
        "0:v",
        "-map",
        "1:a",
        *_X264,
        *_YUV420P,
        *_AAC,
        path,
    )
    return path


def mpegts(folder: Path, *, offset: float = 0, frames: int = 24) -> Path:
    """MPEG-TS, whose clock starts at about 1.4 s plus ``offset`` seconds."""
    path = folder / f"stream-{offset:g}.ts"
    run_ffmpeg(
        *moving_pattern(frames, rate="25"), *sine_tone(frames / 25), *_X264, *_YUV420P, *_AAC,
        "-output_ts_offset", str(offset), "-f", "mpegts", path,
    )  # fmt: skip
    return path


def mpegts_wrapping(folder: Path, *, frames: int = 48) -> Path:
    """MPEG-TS whose 33-bit clock wraps after 0.7 s: libavformat reports a negative start."""
    path = folder / "wrapping.ts"
    run_ffmpeg(
        *moving_pattern(frames, rate="25"), *sine_tone(frames / 25), *_X264, *_YUV420P, *_AAC,
        "-muxdelay", "0", "-output_ts_offset", f"{2**33 / 90000 - 0.7:.3f}",
        "-mpegts_copyts", "1", "-f", "mpegts", path,
    )  # fmt: skip
    return path


def mpegts_mid_stream(folder: Path) -> Path:
    """An MPEG-TS recording that begins between key frames, as a capture from the air does."""
    whole = mpegts(folder, frames=48)
    data = whole.read_bytes()
    path = folder / "capture.ts"
    # Keep the tables (first packets), then cut away the first quarter at a packet boundary.
    path.write_bytes(data[: 188 * 3] + data[len(data) // 4 // 188 * 188 :])
    return path


def ten_bit(folder: Path, *, suffix: str = ".mkv") -> Path:
    """10-bit HEVC, BT.2020 with PQ, 4:2:0, top-left chroma: an HDR video."""
    path = folder / f"hdr{suffix}"
    tags = "setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc=smpte2084:range=tv"
    convert = "scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p10le"
    run_ffmpeg(
        *moving_pattern(6), "-vf", f"{convert},{tags}:chroma_location=topleft", "-c:v", "libx265",
        "-preset", "ultrafast", "-x265-params", "log-level=none:crf=4:pools=1", path,
    )  # fmt: skip
    return path


def rotated(folder: Path, *, degrees: int = 90) -> Path:
    """A video that players must rotate clockwise by ``degrees`` (as phones write it)."""
    upright = cfr(folder, audio=False)
    path = folder / f"rotated-{degrees}.mp4"
    run_ffmpeg("-display_rotation:v:0", str(-degrees), "-i", upright, "-c", "copy", path)
    return path


def cropped(folder: Path, *, suffix: str = ".mov", degrees: int = 0) -> Path:
    """A video of 64x48, of which its container hides 4 columns at the left, 2 at the right, 6 rows at the
    bottom (QuickTime's clean aperture, Matroska's pixel crop), and that is then rotated clockwise."""
    whole, path = folder / "whole.mov", folder / "aperture.mov"
    run_ffmpeg(*moving_pattern(6), *_X264, *_YUV420P, whole)
    data = bytearray(whole.read_bytes())
    # Width, height, and the distances between the centres, all as fractions.
    numbers = (58, 1, 42, 1, 1, 1, -3, 1)
    box = struct.pack(">I4s8i", 40, b"clap", *numbers)
    at = data.index(b"avcC") - 4
    parents = [
        data.index(name) - 4 for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1")
    ]
    for parent in parents:
        size = int.from_bytes(data[parent : parent + 4], "big") + len(box)
        data[parent : parent + 4] = size.to_bytes(4, "big")
    path.write_bytes(data[:at] + box + data[at:])
    result = folder / f"cropped-{degrees}{suffix}"
    run_ffmpeg("-display_rotation:v:0", -degrees, "-i", path, "-c", "copy", result)
    return result


def anamorphic(folder: Path, *, suffix: str = ".mp4") -> Path:
    """Pixels of shape 16:11."""
    path = folder / f"anamorphic{suffix}"
    run_ffmpeg(*moving_pattern(6), "-vf", "setsar=16/11", *_X264, *_YUV420P, path)
    return path


def interlaced(folder: Path, *, suffix: str = ".mkv") -> Path:
    """Top field first, two times in one frame."""
    path = folder / f"interlaced{suffix}"
    run_ffmpeg(
        *moving_pattern(48, rate="50"), "-vf", "tinterlace=interleave_top,fieldorder=tff", *_X264,
        "-x264-params", "tff=1", "-flags", "+ilme+ildct", *_YUV420P, path,
    )  # fmt: skip
    return path


def subtitles(folder: Path) -> Path:
    """A SubRip file with two lines, at 0.1-0.3 s and 0.5-0.9 s."""
    path = folder / "words.srt"
    path.write_text(
        "1\n00:00:00,100 --> 00:00:00,300\nHello\n\n2\n00:00:00,500 --> 00:00:00,900\nWörld\n\n", "utf-8"
    )
    return path


def chapters(folder: Path) -> Path:
    """Metadata with two chapters (0-0.4 s, 0.4-1 s) and a title."""
    path = folder / "chapters.txt"
    parts = [("0", "400", "Opening; part = 1"), ("400", "1000", "Ende")]
    lines = [";FFMETADATA1", "title=A tiny video"]
    for begin, end, title in parts:
        escaped = title.replace(";", "\\;").replace("=", "\\=")
        lines += ["[CHAPTER]", "TIMEBASE=1/1000", f"START={begin}", f"END={end}", f"title={escaped}"]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def rich(folder: Path, *, suffix: str = ".mkv") -> Path:
    """One second with two audio tracks (eng, deu "Kommentar"), subtitles (fra) and two chapters."""
    path = folder / f"rich{suffix}"
    text = "mov_text" if suffix in (".mp4", ".mov") else "srt"
    run_ffmpeg(
        *moving_pattern(24), *sine_tone(1), *sine_tone(1, frequency=660),
        "-i", subtitles(folder), "-i", chapters(folder),
        "-map", "0:v", "-map", "1:a", "-map", "2:a", "-map", "3:s",
        "-map_metadata", "4", "-map_chapters", "4", *_X264, *_YUV420P, *_AAC, "-c:s", text,
        "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=deu",
        "-metadata:s:a:1", "title=Kommentar", "-disposition:a:1", "comment",
        "-metadata:s:s:0", "language=fra", "-metadata:s:v:0", "language=eng", path,
    )  # fmt: skip
    return path


def empty_audio(folder: Path) -> Path:
    """MPEG-TS that announces a second audio track without a packet, as recordings of broadcasts do."""
    whole, path = folder / "two-tracks.ts", folder / "empty-track.ts"
    run_ffmpeg(
        *moving_pattern(24, rate="25"), *sine_tone(1), "-map", "0:v", "-map", "1:a", "-map", "1:a",
        *_X264, *_YUV420P, *_AAC, whole,
    )  # fmt: skip
    path.write_bytes(_without_stream(whole.read_bytes(), 2))
    return path


def empty_video(folder: Path) -> Path:
    """MPEG-TS that announces two video tracks, of which the first has no packet."""
    whole, path = folder / "two-videos.ts", folder / "empty-video.ts"
    run_ffmpeg(*moving_pattern(24, rate="25"), "-map", "0:v", "-map", "0:v", *_X264, *_YUV420P, whole)
    path.write_bytes(_without_stream(whole.read_bytes(), 0))
    return path


def _without_stream(data: bytes, index: int) -> bytes:
    """Return an MPEG-TS file without the packets of one of its streams."""
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    empty = 0x100 + index  # ffmpeg counts identifiers of packets from there
    return b"".join(packet for packet in packets if int.from_bytes(packet[1:3], "big") & 0x1FFF != empty)


def unknown_audio(folder: Path) -> Path:
    """QuickTime with a second audio track in Apple's Positional Audio Codec, which ffmpeg cannot decode."""
    path = folder / "positional.mov"
    run_ffmpeg(
        *moving_pattern(12), *sine_tone(0.5), "-map", "0:v", "-map", "1:a", "-map", "1:a",
        *_X264, *_YUV420P, *_AAC, path,
    )  # fmt: skip
    data = path.read_bytes()
    last_track = data.rindex(b"stsd")
    renamed = data[last_track:].replace(b"mp4a", b"apac").replace(b"esds", b"free")  # which says AAC
    path.write_bytes(data[:last_track] + renamed)
    return path


def ttml(folder: Path) -> Path:
    """MP4 with TTML subtitles, which ffmpeg can write, and cannot read."""
    path = folder / "ttml.mp4"
    run_ffmpeg(
        "-i", cfr(folder), "-i", subtitles(folder), "-map", "0", "-map", "1", "-c", "copy", "-c:s", "ttml",
        path,
    )  # fmt: skip
    return path


def attachments(folder: Path) -> Path:
    """Matroska with a font-like attachment, a JPEG cover and one audio track."""
    path = folder / "attachments.mkv"
    font, cover = folder / "face.ttf", cover_image(folder)
    font.write_bytes(b"\0\1\0\0" + bytes(64))
    run_ffmpeg(
        "-i", cfr(folder), "-c", "copy",
        "-attach", font, "-metadata:s:t:0", "mimetype=application/x-truetype-font",
        "-metadata:s:t:0", "filename=face.ttf", "-attach", cover, "-metadata:s:t:1", "mimetype=image/jpeg",
        "-metadata:s:t:1", "filename=cover.jpg", path,
    )  # fmt: skip
    return path


def with_cover(folder: Path) -> Path:
    """MP4 with a cover, which is a video stream too."""
    path = folder / "covered.mp4"
    run_ffmpeg(
        "-i", cover_image(folder), "-i", cfr(folder), "-map", "0:v", "-map", "1:v", "-map", "1:a",
        "-c", "copy", "-disposition:v:0", "attached_pic", path,
    )  # fmt: skip
    return path


def cover_image(folder: Path) -> Path:
    """A small JPEG."""
    path = folder / "cover.jpg"
    run_ffmpeg(*moving_pattern(1, size="32x32"), "-update", "1", "-frames:v", "1", path)
    return path


def truncated(original: Path, *, fraction: float = 0.6) -> Path:
    """The first part of a file. In MP4 the index is moved to the front first, as in a broken download.

    Truncated at an odd byte, never between two transport packets, which could not be detected.
    """
    path = original.with_name(f"truncated-{original.name}")
    if original.suffix in (".mp4", ".mov"):
        front = original.with_name(f"front-{original.name}")
        run_ffmpeg("-i", original, "-c", "copy", "-map", "0", "-movflags", "+faststart", front)
        original = front
    data = original.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction) | 1])
    return path


def damaged(original: Path, *, at: float = 0.5, length: int = 200) -> Path:
    """A file with garbage in the middle of its video data."""
    path = original.with_name(f"damaged-{original.name}")
    data = bytearray(original.read_bytes())
    begin = int(len(data) * at)
    for position in range(begin, min(begin + length, len(data))):
        data[position] ^= 0x5A
    path.write_bytes(data)
    return path


def without_packet(original: Path, number: int, *, header: int = 0) -> Path:
    """A file whose ``number``-th video packet, in decoding order, is zeros but for its first 5 bytes.

    With the bytes that ``header`` takes in the container before it, if those are to be zeros, too.
    """
    import av

    with av.open(str(original)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = original.read_bytes()
    begin = data.index(packets[number])
    kept, end = begin + (-header or 5), begin + len(packets[number])
    path = original.with_name(f"without-{number}-{original.name}")
    path.write_bytes(data[:kept] + bytes(end - kept) + data[end:])
    return path


def encoded(
    folder: Path,
    name: str,
    filters: str,
    encoder: Sequence[str],
    *,
    frames: int = 2,
    size: str = SIZE,
    source: str = "testsrc2",
) -> Path:
    """Any video: ``filters`` and encoder arguments as for ffmpeg; ``name`` determines the container."""
    path = folder / name
    run_ffmpeg(*moving_pattern(frames, size=size, source=source), "-vf", filters, *encoder, path)
    return path


_HDR_METADATA = (
    "-mastering_display", "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)",
    "-content_light", "1000,400",
)  # fmt: skip


def hdr10(folder: Path, *, suffix: str = ".mkv") -> Path:
    """HDR10: ``ten_bit`` with a mastering display (P3, 0.005 to 1000 cd/m2), MaxCLL 1000 and MaxFALL 400."""
    plain, path = ten_bit(folder), folder / f"hdr10{suffix}"
    codec = {".webm": ("libvpx-vp9", "-crf", "4", "-b:v", "0")}.get(
        suffix, ("libx265", "-x265-params", "log-level=none:crf=4:pools=1")
    )
    run_ffmpeg(*_HDR_METADATA, "-i", plain, "-c:v", *codec, "-pix_fmt", "yuv420p10le", path)
    return path


def hlg(folder: Path) -> Path:
    """10-bit HEVC, BT.2020 with HLG."""
    path = folder / "hlg.mkv"
    tags = "setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc=arib-std-b67:range=tv"
    run_ffmpeg(
        *moving_pattern(3), "-vf", f"scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p10le,{tags}",
        "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:crf=4:pools=1", path,
    )  # fmt: skip
    return path


# Opacity grows from 0 at the left to 1 in the middle, in steps of a few codes for each pixel.
ALPHA_RAMP = "format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='min(8*X,255)'"
_ALPHA_CODECS: dict[str, tuple[str, tuple[str, ...]]] = {
    "vp9.webm": ("yuva420p", ("-c:v", "libvpx-vp9", "-crf", "4", "-b:v", "0")),
    "vp8.webm": ("yuva420p", ("-c:v", "libvpx", "-crf", "4", "-b:v", "5M", "-auto-alt-ref", "0")),
    "prores.mov": ("yuva444p10le", ("-c:v", "prores_ks")),
    "ffv1.mkv": ("yuva444p", ("-c:v", "ffv1")),
    "rgb.mkv": ("bgra", ("-c:v", "ffv1")),
    "png.mov": ("rgba", ("-c:v", "png")),
    "apng.apng": ("rgba", ("-f", "apng", "-plays", "0")),
}


def transparent(
    folder: Path, *, name: str = "ffv1.mkv", frames: int = 3, alpha_filter: str = ALPHA_RAMP
) -> Path:
    """A video with transparency, made by ``alpha_filter``; ``name``: codec and container."""
    pix_fmt, encoder = _ALPHA_CODECS[name]
    path = folder / name
    run_ffmpeg(*moving_pattern(frames, rate="25"), "-vf", f"{alpha_filter},format={pix_fmt}", *encoder, path)
    return path


def gif(folder: Path, *, transparent: bool = False) -> Path:
    """Four frames of 0.2, 0.4, 0.6 and 0.8 s; opaque, or else the right half is transparent."""
    hole = "geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='255*lt(X,32)'," if transparent else ""
    path = folder / f"slides{'-holes' if transparent else ''}.gif"
    run_ffmpeg(
        *moving_pattern(4, rate="5"), "-vf",
        f"format=rgba,{hole}settb=1/100,setpts='10*N*(N+1)',split[a][b];[a]palettegen[p];[b][p]paletteuse",
        "-fps_mode", "passthrough", "-enc_time_base", "1/100", "-final_delay", "80", path,
    )  # fmt: skip
    return path


def timecoded(folder: Path, *, suffix: str = ".mov") -> Path:
    """Drop-frame time code, a few frames before a minute is full."""
    path = folder / f"timecode{suffix}"
    run_ffmpeg(*moving_pattern(12, rate="30000/1001"), *_X264, *_YUV420P, "-timecode", "01:00:59;24", path)
    return path


def telemetry(folder: Path) -> Path:
    """QuickTime with a data track as sports cameras write it (position, speed); a time code, renamed."""
    path, data = folder / "telemetry.mov", bytearray(timecoded(folder).read_bytes())
    handler, description = data.rindex(b"mhlrtmcd"), data.rindex(b"tmcd")
    data[handler + 4 : handler + 8], data[description : description + 4] = b"meta", b"gpmd"
    path.write_bytes(data)
    return path


def avi(folder: Path, *, codec: str = "libx264", frames: int = 12) -> Path:
    """AVI, which stores no times, with audio."""
    path = folder / f"{codec}.avi"
    run_ffmpeg(
        *moving_pattern(frames, rate="25"), *sine_tone(frames / 25),
        "-c:v", codec, "-bf", "0", "-g", "6", *_YUV420P, "-c:a", "pcm_s16le", path,
    )  # fmt: skip
    return path
