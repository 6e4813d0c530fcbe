"""Videos through stdin and stdout: the frames that files would give, and nothing else."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest
from inspecting import packets, times

import media_samples as media
from terminal import Outcome, environment, eventually
from vsrcli.errors import ReaderClosedError
from vsrcli.media.probe import probe
from vsrcli.media.y4m import Y4mHeader, Y4mReader

Vsr = Callable[..., Outcome]
Sample = Callable[..., Path]
BICUBIC = ("-m", "bicubic", "-s", "2")


@dataclass(frozen=True)
class Piped:
    """What a command with pipes came to; ``out`` is bytes."""

    status: int
    out: bytes
    err: str

    def fails(self, status: int, *words: str) -> None:
        Outcome(self.status, "", self.err).fails(status, *words)


def piped(*arguments: object, stdin: bytes | Path = b"", **changes: str) -> Piped:
    """``vsr`` as a process, with ``stdin`` (the bytes, or a file's) through a pipe."""
    data = stdin.read_bytes() if isinstance(stdin, Path) else stdin
    command = [sys.executable, "-m", "vsrcli", *map(str, arguments)]
    done = subprocess.run(
        command, input=data, capture_output=True, timeout=120, check=False, env=environment(**changes)
    )
    return Piped(done.returncode, done.stdout, done.stderr.decode())


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """``start("upscale", "-", "-")``: ``vsr`` as a process whose pipes the test holds."""
    children: list[subprocess.Popen[bytes]] = []

    def begin(*arguments: object) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", "vsrcli", *map(str, arguments)]
        child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment())
        children.append(child)
        return child

    yield begin
    for child in children:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was never taken
                    pipe.close()


def stream(
    folder: Path, pix_fmt: str = "yuv420p", *, frames: int = 4, words: str = "", size: str = "64x48"
) -> Path:
    """A YUV4MPEG2 file, its header followed by further ``words``."""
    path = folder / "in.y4m"
    raw = ("-c:v", "rawvideo", "-strict", "-1", "-f", "yuv4mpegpipe")
    moving = media.moving_pattern(frames, size=size, source="testsrc")
    media.run_ffmpeg(*moving, "-pix_fmt", pix_fmt, *raw, path)
    line, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(line + words.encode() + b"\n" + rest)
    return path


def read(data: bytes) -> tuple[Y4mHeader, list[bytes]]:
    """Header and frames of a stream that holds nothing else."""
    view, place = memoryview(data), 0

    def take(size: int) -> bytes:
        nonlocal place
        piece = bytes(view[place : place + size])
        place += len(piece)
        return piece

    images = Y4mReader(take)
    found = [bytes(image) for image in images]
    assert images.truncation is None
    assert place == len(data)
    return images.header, found


def decoded(path: Path, pix_fmt: str, filters: str = "null") -> list[bytes]:
    """The frames of a video, raw."""
    raw = path.with_suffix(".raw")
    every = ("-fps_mode", "passthrough", "-f", "rawvideo")
    media.run_ffmpeg("-i", path, "-vf", filters, "-pix_fmt", pix_fmt, *every, raw)
    count = len(times(path))
    data = raw.read_bytes()
    size = len(data) // count
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize(
    ("pix_fmt", "words"),
    [
        ("yuv420p", ""),
        ("yuv420p", " XCOLORRANGE=FULL"),
        ("yuv422p", ""),
        ("yuv444p", " XCOLORRANGE=LIMITED"),
        ("yuv411p", ""),
        ("yuv420p9le", ""),
        ("yuv422p10le", ""),
        ("yuv420p12le", ""),
        ("yuv444p16le", ""),
    ],
)
def test_the_frames_of_a_file(pix_fmt: str, words: str, tmp_path: Path, vsr: Vsr) -> None:
    source = stream(tmp_path, pix_fmt, words=words)
    through = piped("upscale", "-", "-", *BICUBIC, "-q", stdin=source)
    assert (through.status, through.err) == (0, "")
    header, frames = read(through.out)
    before, _ = read(source.read_bytes())
    assert (header.width, header.height) == (128, 96)
    assert header.parameters == before.parameters
    file = tmp_path / "out.mkv"
    assert vsr("upscale", source, file, *BICUBIC, "--codec", "ffv1", "--pix-fmt", pix_fmt).status == 0
    assert len(frames) == 4
    assert frames == decoded(file, pix_fmt)


@pytest.mark.parametrize(("pix_fmt", "words"), [("gray", ""), ("gray10le", ""), ("gray16le", "")])
def test_mono(pix_fmt: str, words: str, tmp_path: Path, vsr: Vsr) -> None:
    """The luma of a video in colours."""
    source = stream(tmp_path, pix_fmt, words=words)
    through = piped("upscale", "-", "-", *BICUBIC, "-q", stdin=source)
    header, frames = read(through.out)
    assert header.pix_fmt == pix_fmt
    planar, file = f"yuv444p{pix_fmt.removeprefix('gray')}", tmp_path / "out.mkv"
    assert vsr("upscale", source, file, *BICUBIC, "--codec", "ffv1", "--pix-fmt", planar).status == 0
    assert frames == decoded(file, pix_fmt, "extractplanes=y")


def test_mono_without_a_range_is_limited(tmp_path: Path) -> None:
    """Grey 100 stays 100."""
    line = b"YUV4MPEG2 W16 H16 F25:1 Ip A1:1 Cmono\n"
    through = piped("upscale", "-", "-", *BICUBIC, "-q", stdin=line + (b"FRAME\n" + b"\x64" * 256) * 2)
    header, frames = read(through.out)
    assert header.line() == line.replace(b"16", b"32")
    assert frames == [b"\x64" * 1024] * 2


def test_every_word_of_a_header_is_kept(tmp_path: Path) -> None:
    """More of them than ffmpeg itself would read; those of the frames may go."""
    words = b" XCOLORRANGE=FULL Xa-comment-that-is-longer-than-all-that-ffmpeg-reads-of-a-header " + b"X" * 99
    line = b"YUV4MPEG2 W16 H16 F25:1 A0:0 I? C420paldv" + words + b"\n"
    data = line + (b"FRAME Ixyz Xcomment\n" + b"\x64" * 384) * 2
    header, frames = read(piped("upscale", "-", "-", *BICUBIC, stdin=data).out)
    assert header.line() == b" ".join(line.replace(b"16", b"32").split()) + b"\n"
    assert frames == [b"\x64" * 1536] * 2


def test_odd_sizes_and_rates(tmp_path: Path) -> None:
    source = stream(tmp_path, size="37x29")
    data = source.read_bytes().replace(b"F24000:1001", b"F12345:678", 1).replace(b" A1:1", b" A64:45", 1)
    header, frames = read(piped("upscale", "-", "-", *BICUBIC, stdin=data).out)
    assert (header.width, header.height, len(frames)) == (74, 58, 4)
    assert header.line().startswith(b"YUV4MPEG2 W74 H58 F12345:678 Ip A64:45 C420")


def test_interlaced(tmp_path: Path) -> None:
    source = stream(tmp_path)
    data = source.read_bytes().replace(b" Ip ", b" It ", 1)
    through = piped("upscale", "-", "-", *BICUBIC, stdin=data)
    header, frames = read(through.out)
    assert "Ip" in header.parameters
    assert len(frames) == 4
    assert "deinterlaced" in through.err
    header, same = read(piped("upscale", "-", "-", *BICUBIC, "--no-deinterlace", stdin=data).out)
    assert "It" in header.parameters
    assert same != frames


@pytest.mark.parametrize(
    ("name", "codec", "field_order"), [("tape.dv", "dvvideo", "Ib"), ("fields.avi", "mpeg4", "I?")]
)
def test_field_order_of_a_file(name: str, codec: str, field_order: str, sample: Sample) -> None:
    """DV stores the bottom field first; that of MPEG-4 in AVI is in its frames only."""
    filters, encoder = "fps=25,format=yuv420p,setfield=bff", ("-c:v", codec, "-flags", "+ildct")
    video = sample(media.encoded, name=name, filters=filters, encoder=encoder, size="720x576")
    through = piped("upscale", video, "-", "--model", "bicubic", "-s", "1.1", "--no-deinterlace")
    header, _ = read(through.out)
    assert field_order in header.parameters


def test_a_part(tmp_path: Path) -> None:
    source = stream(tmp_path, frames=8)
    _, whole = read(piped("upscale", "-", "-", *BICUBIC, stdin=source).out)
    span = ("--start", "0.1", "--frames", "3")
    _, part = read(piped("upscale", "-", "-", *BICUBIC, *span, stdin=source).out)
    assert part == whole[3:6]  # frames are 1/24 s apart


def test_from_a_file(sample: Sample, vsr: Vsr, tmp_path: Path) -> None:
    """The header is written anew; what YUV4MPEG2 cannot hold is named."""
    video, file = sample(media.cfr), tmp_path / "out.mkv"
    through = piped("upscale", video, "-", *BICUBIC)
    header, frames = read(through.out)
    assert header.line() == b"YUV4MPEG2 W128 H96 F24000:1001 Ip A1:1 C420mpeg2 XCOLORRANGE=LIMITED\n"
    assert "audio #1 (aac) is dropped" in through.err
    assert vsr("upscale", video, file, *BICUBIC, "--codec", "ffv1").status == 0
    assert frames == decoded(file, "yuv420p")


def test_variable_rates_need_a_clock(sample: Sample, tmp_path: Path) -> None:
    video = sample(media.vfr)
    piped("upscale", video, "-", *BICUBIC).fails(1, "variable frame rate", "--format nut")
    out = tmp_path / "out.nut"
    through = piped("upscale", video, "-", *BICUBIC, "--format", "nut")
    out.write_bytes(through.out)
    found = times(out)
    assert [time - found[0] for time in found] == times(video)


@pytest.mark.parametrize("name", ["nut", "matroska"])
def test_containers_take_the_sound_along(name: str, sample: Sample, vsr: Vsr, tmp_path: Path) -> None:
    video, out, file = sample(media.cfr), tmp_path / f"out.{name}", tmp_path / "file.mkv"
    through = piped("upscale", video, "-", *BICUBIC, "--format", name)
    out.write_bytes(through.out)
    assert probe(out).video.codec == {"nut": "rawvideo", "matroska": "ffv1"}[name]
    assert packets(out, "audio") == packets(video, "audio")
    assert vsr("upscale", video, file, *BICUBIC, "--codec", "ffv1").status == 0
    assert decoded(out, "yuv420p") == decoded(file, "yuv420p")


def test_another_codec(sample: Sample, tmp_path: Path) -> None:
    video, out = sample(media.cfr), tmp_path / "out.mkv"
    out.write_bytes(piped("upscale", video, "-", *BICUBIC, "--format", "matroska", "--codec", "h264").out)
    assert probe(out).video.codec == "h264"
    piped("upscale", video, "-", *BICUBIC, "--codec", "h264").fails(1, "raw video only", "--format")
    piped("upscale", video, "-", *BICUBIC, "--pix-fmt", "nv12").fails(1, "nv12", "yuv420p")
    piped("upscale", video, tmp_path / "x.mp4", *BICUBIC, "--format", "nut").fails(2, "--format", "stdout")


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
def test_other_containers_on_stdin(suffix: str, sample: Sample, vsr: Vsr, tmp_path: Path) -> None:
    """All of them, MP4 with its index at the end included, with their sound."""
    video, target = sample(media.cfr, suffix=suffix), tmp_path / "out.mkv"
    done = piped("upscale", "-", target, *BICUBIC, stdin=video)
    assert done.status == 0, done.err
    assert done.out == b""
    assert f"{video.stat().st_size:,} bytes" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]
    assert vsr("upscale", video, tmp_path / "same.mkv", *BICUBIC).status == 0
    assert packets(target, "audio") == packets(tmp_path / "same.mkv", "audio")
    assert len(packets(target, "audio")) == 1
    assert times(target) == times(tmp_path / "same.mkv")


def test_from_stdin_to_a_file(tmp_path: Path, vsr: Vsr) -> None:
    source, target = stream(tmp_path), tmp_path / "out.mkv"
    done = piped("upscale", "-", target, *BICUBIC, "--codec", "ffv1", "--segment", "2", stdin=source)
    assert done.status == 0
    assert "stdin cannot be read twice" in done.err
    assert vsr("upscale", source, tmp_path / "same.mkv", *BICUBIC, "--codec", "ffv1").status == 0
    assert decoded(target, "yuv420p") == decoded(tmp_path / "same.mkv", "yuv420p")


@pytest.mark.parametrize("missing", [1, 4000, 4608 + 3])
def test_a_stream_that_is_cut_gives_its_whole_frames(missing: int, tmp_path: Path) -> None:
    data = stream(tmp_path, frames=6).read_bytes()
    done = piped("upscale", "-", "-", *BICUBIC, stdin=data[:-missing])
    done.fails(1, "after 5 frames", "frame 6")
    frames = read(done.out)[1]
    assert len(frames) == 5
    assert frames == read(piped("upscale", "-", "-", *BICUBIC, stdin=data[: -4608 - 6]).out)[1]


def test_a_network_with_a_window_gives_what_it_still_owes(tmp_path: Path, weights: Path) -> None:
    """Its answers come frames late, so those to the last whole frames come after the stream is cut."""
    data, target = stream(tmp_path, frames=6).read_bytes(), tmp_path / "five.mkv"
    options = ("-m", "duf-s", "-s", "4", "--gpu", "cpu", "--precision", "fp32")
    done = piped("upscale", "-", "-", *options, stdin=data[:-4000], VSR_WEIGHTS=str(weights))
    done.fails(1, "after 5 frames", "frame 6")
    lossless = ("--codec", "ffv1", "--keep-going")
    piped("upscale", "-", target, *options, *lossless, stdin=data[:-4000], VSR_WEIGHTS=str(weights))
    assert read(done.out)[1] == decoded(target, "yuv420p")
    assert len(times(target)) == 5


def test_a_stream_that_is_cut_gives_no_file(tmp_path: Path) -> None:
    source, target = stream(tmp_path), tmp_path / "out" / "video.mkv"
    target.parent.mkdir()
    cut = source.read_bytes()[:-100]
    piped("upscale", "-", target, *BICUBIC, stdin=cut).fails(1, "after 3 frames", "--keep-going")
    assert list(target.parent.iterdir()) == []
    done = piped("upscale", "-", target, *BICUBIC, "--keep-going", stdin=cut)
    assert done.status == 0
    assert "warning: stdin is truncated inside frame 4" in done.err
    assert len(times(target)) == 3


def test_a_stream_that_is_cut_gives_no_images(tmp_path: Path) -> None:
    data = stream(tmp_path, frames=6).read_bytes()
    command = ("upscale", "-", tmp_path / "out" / "%d.png", *BICUBIC, "--segment", "2")
    done = piped(*command, stdin=data[:-10])
    done.fails(1, "stdin")
    assert "are saved" not in done.err
    assert [file.name for file in tmp_path.iterdir()] == ["in.y4m"]
    assert piped(*command, stdin=data).status == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [f"{n}.png" for n in range(1, 7)]


def test_a_cut_video_from_a_file_goes_out_as_far_as_it_is_whole(tmp_path: Path, sample: Sample) -> None:
    video = tmp_path / "video.mkv"
    video.write_bytes(sample(media.cfr, frames=24, suffix=".mkv").read_bytes())
    done = piped("upscale", media.truncated(video), "-", *BICUBIC)
    done.fails(1, "video.mkv", "truncated")
    whole = read(piped("upscale", video, "-", *BICUBIC).out)[1]
    frames = read(done.out)[1]
    assert 0 < len(frames) < len(whole)
    assert frames == whole[: len(frames)]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"YUV4MPEG2 W64", "header"),
        (b"YUV4MPEG2 W64 H48 F25:1\n", "first frame"),
        (b"YUV4MPEG2 W64 H48 F25:1\nFRAME\n1234", "frame 1"),
        (b"YUV4MPEG2 W64 H48 C411p8\nFRAME\n1234", "411p8"),
        (b"YUV4MPEG2 W99999 H99999\nFRAME\n", "million"),
        (b"no video at all\n" * 20, "stdin"),
    ],
)
def test_no_video(data: bytes, word: str, tmp_path: Path) -> None:
    done = piped("upscale", "-", "-", *BICUBIC, stdin=data, TMPDIR=str(tmp_path))
    done.fails(1, word)
    assert "vsr-stdin" not in done.err.partition("error:")[2]
    assert done.out == b""
    assert list(tmp_path.iterdir()) == []


def test_rubbish_between_frames(tmp_path: Path) -> None:
    source = stream(tmp_path)
    done = piped("upscale", "-", "-", *BICUBIC, stdin=source.read_bytes() + b"something else")
    done.fails(1, "after frame 4")
    assert len(read(done.out)[1]) == 4


def test_a_target_that_exists_is_said_before_stdin_is_read(tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    target.write_bytes(b"older")
    piped("upscale", "-", target, *BICUBIC, stdin=b"").fails(1, "exists", "--overwrite")
    piped("upscale", "-", tmp_path / "out.xyz", *BICUBIC, stdin=b"").fails(1, ".xyz")


def test_several_processes_cannot_share_stdin(tmp_path: Path, sample: Sample) -> None:
    video, target = sample(media.cfr), tmp_path / "out.mkv"
    done = piped("upscale", "-", target, *BICUBIC, "--workers", 2, "--max-memory", "300M", stdin=video)
    done.fails(2, "--workers 2", "stdin", "save the video to a file")
    assert list(tmp_path.iterdir()) == []


def test_terminals_are_refused(sample: Sample, tmp_path: Path) -> None:
    video = sample(media.cfr)
    ours, theirs = pty.openpty()
    try:
        for arguments, word in (
            ((video, "-"), "stdout is a terminal"),
            (("-", "x.mkv"), "stdin is a terminal"),
        ):
            command = [sys.executable, "-m", "vsrcli", "upscale", *map(str, arguments), *BICUBIC]
            done = subprocess.run(
                command,
                stdin=theirs,
                stdout=theirs,
                stderr=subprocess.PIPE,
                env=environment(),
                cwd=tmp_path,
                check=False,
            )
            Outcome(done.returncode, "", done.stderr.decode()).fails(2, word)
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("wanted", [10, 100_000])
def test_a_reader_that_goes_away(wanted: int, tmp_path: Path, start: Callable) -> None:
    """Whether it leaves at the header or later: no word, no ffmpeg left, the status of SIGPIPE."""
    source = stream(tmp_path, frames=200)
    child = start("upscale", source, "-", *BICUBIC, "-q")
    child.stdin.close()
    data = child.stdout.read(wanted)
    assert len(data) == wanted
    child.stdout.close()
    assert child.wait(60) == 141
    assert child.stderr.read() == b""
    assert psutil.Process().children(recursive=True) == []


def test_ctrl_c_while_nothing_comes(tmp_path: Path, start: Callable) -> None:
    """Inside the header, and between two frames."""
    source = stream(tmp_path).read_bytes()
    for given in (source[:5], source[:-2000]):
        child = start("upscale", "-", tmp_path / "out.mkv", *BICUBIC)
        child.stdin.write(given)
        child.stdin.flush()
        eventually(lambda child=child: waiting_bytes(child.stdin.fileno()) == 0, within=60)
        if len(given) > 5:
            lines = iter(child.stderr.readline, b"")
            assert any(b"engine:" in line for line in lines)
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 130
        assert b"Traceback" not in child.stderr.read()
        assert [path.name for path in tmp_path.iterdir()] == ["in.y4m"]


def test_ctrl_c_while_a_video_is_kept(tmp_path: Path, sample: Sample, start: Callable) -> None:
    """Its temporary file goes."""
    video = sample(media.cfr, suffix=".mkv").read_bytes()
    child = start("upscale", "-", tmp_path / "out.mkv", *BICUBIC)
    child.stdin.write(video)
    child.stdin.flush()
    eventually(lambda: list(tmp_path.glob(".vsr-stdin-*/stdin")), within=60)
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == 130
    assert list(tmp_path.iterdir()) == []


def waiting_bytes(number: int) -> int:
    """Bytes in a pipe that its reader has not taken yet."""
    return struct.unpack("i", fcntl.ioctl(number, termios.FIONREAD, b"\0" * 4))[0]


def test_a_reader_that_pauses_is_no_stalled_encoder(tmp_path: Path) -> None:
    """While nobody takes the video, the watch over ffmpeg sees a sign of life each time it looks."""
    from vsrcli.media.process import FFmpegProcess
    from vsrcli.media.stdout import StdoutDestination
    from vsrcli.system.threads import BackgroundTask

    plan: Any = SimpleNamespace(target=Path("-"), display_name="stdout", header=None)
    destination = StdoutDestination(plan, cast(Any, None))
    end, destination._stdout = os.pipe()
    process = FFmpegProcess(["cat", "/dev/zero"], stdout=True)
    relay = BackgroundTask(lambda: destination._copy(process), "relay")
    try:
        eventually(lambda: destination._is_writing and waiting_bytes(end) >= 1 << 16)
        assert destination._progress_marker() != destination._progress_marker()
    finally:
        process.kill()
        os.close(end)
        relay.join()
        os.close(destination._stdout)
    assert isinstance(destination.write_error(1), ReaderClosedError)


def test_nothing_but_the_video_goes_to_stdout(tmp_path: Path) -> None:
    """Whatever a library prints, through Python or past it, goes to stderr."""
    source = stream(tmp_path)
    program = (
        "import os, sys\n"
        "from vsrcli.pipeline import run as pipeline\n"
        "from vsrcli.cli.main import run\n"
        "class Noisy(pipeline.Upscaler):\n"
        "    def __init__(self, *arguments):\n"
        "        super().__init__(*arguments)\n"
        "        print('from Python', flush=True); os.write(1, b'from below\\n')\n"
        "pipeline.Upscaler = Noisy\n"
        f"sys.exit(run(['upscale', {str(source)!r}, '-', '-m', 'bicubic', '-s', '2']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, env=environment(), timeout=120
    )
    assert done.returncode == 0
    assert len(read(done.stdout)[1]) == 4
    assert b"from Python" in done.stderr
    assert b"from below" in done.stderr


def test_dry_run_and_info_take_no_more_than_they_need(tmp_path: Path, start: Callable) -> None:
    """A video that goes on and on is described by its beginning."""
    source = stream(tmp_path).read_bytes()
    for arguments in (("upscale", "-", "-", *BICUBIC, "-n"), ("info", "-")):
        child = start(*arguments)
        child.stdin.write(source[:6000])  # a frame and a piece of the next; then nothing, but no end either
        child.stdin.flush()
        assert child.wait(60) == 0
        text = (child.stdout if arguments[0] == "info" else child.stderr).read().decode()
        assert text.startswith("stdin")
        assert "64x48" in text


def test_info(sample: Sample) -> None:
    video = sample(media.cfr)
    info = json.loads(piped("info", "-", "--json", stdin=video).out)
    assert info["path"] == "stdin"
    assert info["video"]["width"] == 64
    assert [other["kind"] for other in info["other_streams"]] == ["audio"]


def test_colours_that_a_stream_cannot_name(tmp_path: Path) -> None:
    """Standard definition that becomes high definition: readers would guess another matrix."""
    source = stream(tmp_path, size="640x400", frames=1)
    done = piped("upscale", "-", "-", *BICUBIC, "-n", stdin=source)
    assert "-colorspace smpte170m" in done.err


def test_a_file_called_dash(
    tmp_path: Path, sample: Sample, monkeypatch: pytest.MonkeyPatch, vsr: Vsr
) -> None:
    (tmp_path / "-").write_bytes(sample(media.cfr).read_bytes())
    monkeypatch.chdir(tmp_path)
    assert "h264" in vsr("info", "./-").out
