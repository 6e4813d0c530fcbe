"""Media for the golden recordings: every row is a file and the ffmpeg arguments that make it."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

PICTURE = "-f lavfi -i {source}=s={size}:r={rate},trim=end_frame={frames},scroll=h=0.021:v=-0.032"
SOUND = "-f lavfi -i sine=f={hertz}:r=48000:d={seconds}"
X264 = "-c:v libx264 -preset ultrafast -crf 4 -g 6 -bf 2 -pix_fmt yuv420p"
X265 = "-c:v libx265 -preset ultrafast -x265-params log-level=none:crf=4:pools=1"
AAC = "-c:a aac -b:a 48k"
RAMP = "format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='min(8*X,255)'"
HDR = (
    "scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p10le,setparams=colorspace=bt2020nc:"
    "color_primaries=bt2020:color_trc=smpte2084:range=tv:chroma_location=topleft"
)
TWO_SHOTS = "[0:v]format=gbrp[a];[1:v]format=gbrp[b];[a][b]concat=n=2:v=1"
SUBTITLES = "1\n00:00:00,100 --> 00:00:00,300\nHello\n\n2\n00:00:00,500 --> 00:00:00,900\nWörld\n\n"
CHAPTERS = (
    ";FFMETADATA1\ntitle=A tiny clip\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=400\ntitle=Opening\n"
    "[CHAPTER]\nTIMEBASE=1/1000\nSTART=400\nEND=1000\ntitle=Ende\n"
)


def moving(frames: int = 12, size: str = "48x32", rate: str = "24000/1001", source: str = "testsrc2") -> str:
    """Arguments for a moving picture."""
    return PICTURE.format(frames=frames, size=size, rate=rate, source=source)


def tone(seconds: float = 0.5, hertz: int = 440) -> str:
    """Arguments for a sound."""
    return SOUND.format(seconds=seconds, hertz=hertz)


MEDIA: tuple[tuple[str, str], ...] = (
    ("clip.mkv", f"{moving()} {tone()} {X264} {AAC}"),
    ("clip.mp4", f"{moving()} {tone()} {X264} {AAC}"),
    ("mute.mkv", f"{moving()} {X264}"),
    ("wide.mkv", f"{moving(20, '128x80', '24')} -c:v ffv1 -pix_fmt yuv420p"),
    ("larger.mkv", f"{moving(12, '96x64', '24')} -c:v ffv1 -pix_fmt yuv420p"),
    (
        "shots.mkv",
        f"{moving(7)} {moving(7, source='mandelbrot')} -filter_complex {shlex.quote(TWO_SHOTS)} -c:v ffv1",
    ),
    (
        "long.mkv",
        f"{moving(44, '96x64', '25')} {moving(28, '96x64', '25', 'mandelbrot')} {tone(2.88)}"
        f" -filter_complex {shlex.quote(TWO_SHOTS + '[v]')} -map [v] -map 2:a -c:v ffv1 {AAC}",
    ),
    ("clip.y4m", f"{moving(8)} -pix_fmt yuv420p -f yuv4mpegpipe"),
    ("alpha.mov", f"{moving(6, rate='25')} -vf {shlex.quote(RAMP + ',format=yuva444p10le')} -c:v prores_ks"),
    ("alpha.mkv", f"{moving(6, rate='25')} -vf {shlex.quote(RAMP + ',format=yuva444p')} -c:v ffv1"),
    (
        "alpha.webm",
        f"{moving(6, rate='25')} -vf {shlex.quote(RAMP + ',format=yuva420p')} -c:v libvpx-vp9 -crf 4 -b:v 0",
    ),
    (
        "vfr.mkv",
        f"{moving()} {tone(0.6)} -vf settb=1/90000,setpts='N*2970+N*N*90+mod(N\\,3)*180'"
        f" -fps_mode passthrough -enc_time_base 1/90000 {X264} {AAC}",
    ),
    ("ten.mkv", f"{moving(6, '64x48')} -vf {HDR} {X265}"),
    (
        "hdr.mkv",
        "-mastering_display G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
        f" -content_light 1000,400 -i {{d}}/ten.mkv {X265} -pix_fmt yuv420p10le",
    ),
    (
        "rich.mkv",
        f"{moving(24)} {tone(1)} {tone(1, 660)} -i {{d}}/words.srt -i {{d}}/chapters.txt -map 0:v -map 1:a"
        f" -map 2:a -map 3:s -map_metadata 4 -map_chapters 4 {X264} {AAC} -c:s srt"
        " -metadata:s:a:0 language=eng -metadata:s:a:1 language=deu -metadata:s:a:1 title=Kommentar"
        " -disposition:a:1 comment -metadata:s:s:0 language=fra -attach {d}/face.ttf"
        " -metadata:s:t:0 mimetype=application/x-truetype-font -metadata:s:t:0 filename=face.ttf",
    ),
    ("rotated.mp4", "-display_rotation:v:0 -90 -i {d}/mute.mkv -c copy"),
    ("shaped.mp4", f"{moving(6)} -vf setsar=16/11 {X264}"),
    (
        "fields.mkv",
        f"{moving(24, rate='50')} -vf tinterlace=interleave_top,fieldorder=tff {X264} -x264-params tff=1"
        " -flags +ilme+ildct",
    ),
    ("code.mov", f"{moving(12, rate='30000/1001')} {X264} -timecode 01:00:59;24"),
    ("tone.m4a", f"{tone()} {AAC}"),
    ("whole.mp4", f"{moving(48, rate='25')} {tone(1.92)} -c:v libx264 -g 12 -pix_fmt yuv420p {AAC}"),
    ("front.mp4", "-i {d}/whole.mp4 -c copy -map 0 -movflags +faststart"),
    ("stream.ts", f"{moving(24, rate='25')} {tone(0.96)} {X264} {AAC} -f mpegts"),
    ("hd.mkv", f"{moving(2, '1920x1080', '25')} -c:v libx264 -preset ultrafast -pix_fmt yuv420p"),
    (
        "slides.gif",
        f"{moving(4, rate='5')} -vf format=rgba,split[a][b];[a]palettegen[p];[b][p]paletteuse"
        " -final_delay 80",
    ),
    ("stills/f%03d.png", f"{moving(5)} -pix_fmt rgb48be"),
    ("light/f%03d.exr", f"{moving(3)} -vf format=gbrpf32le -c:v exr"),
    ("tiffs/f%03d.tiff", f"{moving(3)} -pix_fmt rgb48le"),
    ("gap/f%03d.png", f"{moving(4)}"),
    ("mixed/f%03d.png", f"{moving(3)}"),
    ("photo.jpg", f"{moving(1, '64x48')} -pix_fmt yuvj444p -frames:v 1 -update 1"),
    ("still.png", f"{moving(1, '64x48')} -vf {shlex.quote(RAMP)} -frames:v 1 -update 1"),
)


def make_media(ffmpeg: str, folder: Path) -> dict[str, str]:
    """All media; the checksum of every file."""
    for name in ("stills", "light", "tiffs", "gap", "mixed", "several/deep", "pair/lr", "pair/hr"):
        (folder / name).mkdir(parents=True)
    (folder / "words.srt").write_text(SUBTITLES, "utf-8")
    (folder / "chapters.txt").write_text(CHAPTERS, "utf-8")
    (folder / "face.ttf").write_bytes(b"\0\1\0\0" + bytes(64))
    exact = ["-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact"]
    for name, arguments in MEDIA:
        line = [ffmpeg, "-nostdin", "-v", "error", "-y", *shlex.split(arguments.replace("{d}", str(folder)))]
        done = subprocess.run(
            [*line, *exact, str(folder / name)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            print(f"no {name}: {done.stderr.strip()}", file=sys.stderr)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "rubbish.mp4").write_bytes(bytes(range(256)) * 40)
    (folder / "text.mkv").write_bytes(b"words\n" * 99)
    (folder / "gap" / "f003.png").unlink()
    shutil.copy(folder / "photo.jpg", folder / "mixed" / "f002.png")
    shutil.copy(folder / "clip.mkv", folder / "several" / "one.mkv")
    shutil.copy(folder / "shots.mkv", folder / "several" / "deep" / "two.mkv")
    shutil.copy(folder / "rubbish.mp4", folder / "several" / "bad.mp4")
    whole = (folder / "front.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: int(len(whole) * 0.6) | 1])
    data = bytearray((folder / "whole.mp4").read_bytes())
    begin = int(len(data) * 0.4)
    data[begin : begin + 300] = bytes(byte ^ 0x5A for byte in data[begin : begin + 300])
    (folder / "damaged.mp4").write_bytes(data)
    data = bytearray((folder / "stream.ts").read_bytes())
    data[188 * 30 : 188 * 31] = bytes(188)
    (folder / "torn.ts").write_bytes(data)
    y4m = (folder / "clip.y4m").read_bytes()
    (folder / "cut.y4m").write_bytes(y4m[:-100])
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.md5(path.read_bytes()).hexdigest() for path in files}
