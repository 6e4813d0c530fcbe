"""``--segment shots``: pieces of a plan, computed each by itself in any order, are the video."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from interruptible_runs import frame_hashes, journal_content, upscale_until

import media_samples as media
from terminal import Outcome
from tiny_networks import tiny_weights
from vsrcli import EncodeOptions, Options, prepare_job
from vsrcli.errors import InputError, UsageError
from vsrcli.media.encoder import FrameWriter
from vsrcli.media.encoder_options import with_fixed_threads
from vsrcli.media.types import Frame
from vsrcli.pipeline import pieces
from vsrcli.pipeline.pieces import compute_piece
from vsrcli.pipeline.plan import Piece, PlanRules
from vsrcli.pipeline.progress import Reporter
from vsrcli.pipeline.scan import FoundPiece, Scanner
from vsrcli.pipeline.upscaler import Upscaler
from vsrcli.system.files import workdir_for

Sample = Callable[..., Path]
RULES = PlanRules(Fraction(1), Fraction(2), warmup_frames=4)
SHOTS = Options(Fraction(2), "bicubic", encode=EncodeOptions(preset="ultrafast"), segment="shots")
LOSSLESS = EncodeOptions(codec="ffv1")
RATE = 10


def three_shots(folder: Path) -> Path:
    """A video of 5.4 s: shots of 1.2, 0.6 and 3.6 s."""
    path = folder / "shots.mkv"
    size = f"s=64x48:r={RATE}"
    media.run_ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2={size}:d=1.2"),
        *("-f", "lavfi", "-i", f"mandelbrot=s=64x48:rate={RATE},trim=end=0.6,hue=h=90"),
        *("-f", "lavfi", "-i", f"testsrc2={size}:d=3.6,negate,hflip"),
        *("-filter_complex", "[0][1][2]concat=n=3,format=yuv420p", "-c:v", "libx264", "-crf", 10, path),
    )
    return path


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "rules_for", lambda job: RULES)


def found_pieces(source: Path, target: Path, options: Options = SHOTS) -> list[FoundPiece]:
    with Scanner(prepare_job(source, target, options), RULES) as scanner:
        return list(scanner)


def test_the_scan_finds_the_pieces(sample: Sample, tmp_path: Path) -> None:
    found = found_pieces(sample(three_shots), tmp_path / "out.mkv")
    assert [each.piece for each in found] == [
        Piece(0, 0, 12),
        Piece(1, 12, 32),  # the second shot is too short; the third goes on
        Piece(2, 32, 52, warmup_frames=4),
        Piece(3, 52, 54, warmup_frames=4),
    ]
    for each, following in pairwise(found):
        assert each.following is not None
        assert each.following.number == following.start.number
    assert found[-1].following is None


def test_the_scan_goes_on_from_any_start(sample: Sample, tmp_path: Path) -> None:
    source, target = sample(three_shots), tmp_path / "out.mkv"
    found = found_pieces(source, target)
    for start in (each.start for each in found):
        with Scanner(prepare_job(source, target, SHOTS), RULES, start) as scanner:
            rest = list(scanner)
        assert [each.piece for each in rest] == [each.piece for each in found[start.number :]]
        assert scanner.shot_count == 3
        for each, same in zip(rest, found[start.number :], strict=True):
            assert (each.start.state is None) == (same.start.state is None)
            for name, array in (each.start.state or {}).items():
                np.testing.assert_array_equal(array, (same.start.state or {})[name])


def test_a_start_at_a_shot_is_the_state_of_the_run_in_one_go(sample: Sample, tmp_path: Path) -> None:
    source = sample(three_shots)
    job = prepare_job(source, tmp_path / "out.mkv", SHOTS)
    upscaler = Upscaler(job, job.tiles, Reporter())
    shots, states = upscaler.open_shots(), {}
    with job.open_decoder() as frames:
        done = 0
        for group in shots.upscale_grouped(frames):
            done += len(group)
            if shots.at_shot_boundary:
                states[done] = shots.state()
    [start] = [each.start for each in found_pieces(source, tmp_path / "out.mkv") if each.piece.number == 1]
    assert start.state is not None
    assert start.state.keys() == states[12].keys()
    for name, array in start.state.items():
        np.testing.assert_array_equal(array, states[12][name], err_msg=name)


class Collector(FrameWriter):
    """Keeps the frames that it gets."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def write(self, frame: Frame) -> None:
        self.frames.append(frame)


def collected(source: Path, options: Options, numbers: list[int]) -> list[np.ndarray]:
    """Return the frames of pieces, each computed alone."""
    job = prepare_job(source, source.parent / "unused.mkv", options)
    upscaler = Upscaler(job, job.tiles, Reporter())
    found, result = found_pieces(source, source.parent / "unused.mkv", options), []
    for number in numbers:
        writer = Collector()
        compute_piece(job, upscaler, found[number].piece, found[number].start, writer, lambda count: None)
        assert len(writer.frames) == found[number].piece.frame_count
        result += [frame.pixels for frame in writer.frames]
    return result


def in_one_go(source: Path, options: Options) -> list[np.ndarray]:
    job = prepare_job(source, source.parent / "unused.mkv", options)
    upscaler = Upscaler(job, job.tiles, Reporter())
    with job.open_decoder() as frames:
        return [frame.pixels for frame in upscaler.open_shots().upscale(frames)]


@pytest.mark.parametrize("kind", ["cached", "recurrent"])
def test_pieces_computed_alone_are_the_frames_of_the_run_in_one_go(
    kind: str, sample: Sample, tmp_path: Path
) -> None:
    source = sample(three_shots)
    options = replace(SHOTS, model=str(tiny_weights(tmp_path, kind)), engine="keras")
    whole, alone = in_one_go(source, options), collected(source, options, [3, 0, 2, 1])
    alone = [*alone[2:14], *alone[34:], *alone[14:34], *alone[:2]]
    assert len(alone) == len(whole) == 54
    exact = 54 if kind == "cached" else 32  # pieces that begin with a shot are exact whatever the network
    for number in range(exact):
        np.testing.assert_array_equal(alone[number], whole[number], err_msg=str(number))
    for number in range(exact, 54):
        difference = np.abs(alone[number].astype(int) - whole[number].astype(int))
        assert difference.mean() < 1, "a recurrent network warms up"


def test_the_video_has_the_frames_and_times_of_the_run_in_one_go(sample: Sample, tmp_path: Path) -> None:
    source = sample(three_shots)
    plain, planned = tmp_path / "plain.mkv", tmp_path / "planned.mkv"
    options = replace(SHOTS, encode=LOSSLESS)
    upscale_until(source, plain, replace(options, segment="auto"))
    log = upscale_until(source, planned, options)
    assert frame_hashes(planned) == frame_hashes(plain)
    assert log.result is not None
    assert (log.result.frames, log.result.shots) == (54, 3)
    assert log.frame_numbers == list(range(1, 55))
    assert not workdir_for(planned).exists()


def test_a_stopped_run_goes_on_and_writes_the_same_bytes(sample: Sample, tmp_path: Path) -> None:
    source, reference, target = sample(three_shots), tmp_path / "reference.mp4", tmp_path / "out.mp4"
    options = replace(SHOTS, model=str(tiny_weights(tmp_path, "recurrent")), engine="keras")
    upscale_until(source, reference, options)
    for until, saved in ((14, 12), (53, 52)):
        upscale_until(source, target, options, stop_after=until)
        assert not target.exists()
        done = [piece for piece in journal_content(target)["pieces"] if piece["segment"]] if saved else []
        assert sum(piece["segment"]["frame_count"] for piece in done) == saved
    log = upscale_until(source, target, options)
    assert log.notices == ["resuming at frame 52 of 54"]
    assert log.result is not None
    assert (log.result.resumed, log.result.shots) == (52, 3)
    assert target.read_bytes() == reference.read_bytes()


def test_old_pieces_stay_until_new_ones_are_committed(sample: Sample, tmp_path: Path) -> None:
    """A mistyped option costs nothing if the run is stopped in time, as with segments."""
    source, reference, target = sample(three_shots), tmp_path / "reference.mp4", tmp_path / "out.mp4"
    upscale_until(source, reference, SHOTS)
    upscale_until(source, target, SHOTS, stop_after=14)
    log = upscale_until(source, target, replace(SHOTS, start=Fraction(1, 2)), stop_after=3)
    assert "starting afresh instead of going on from 12 finished frames" in log.notices[0]
    assert upscale_until(source, target, SHOTS).notices == ["resuming at frame 12 of 54"]
    assert target.read_bytes() == reference.read_bytes()
    assert not workdir_for(target).exists()


def test_a_damaged_start_is_no_run_to_resume(sample: Sample, tmp_path: Path) -> None:
    source, target = sample(three_shots), tmp_path / "out.mp4"
    upscale_until(source, target, SHOTS, stop_after=14)
    (file,) = [piece["state_file"] for piece in journal_content(target)["pieces"] if piece["state_file"]][:1]
    (workdir_for(target) / file).write_bytes(b"no state")
    with pytest.raises(InputError, match="is damaged; use --no-resume to begin anew") as error:
        upscale_until(source, target, SHOTS)
    assert (error.value.saved_frames, error.value.resume_option) == (12, None)


def still_shot(folder: Path) -> Path:
    """A video of 8 s with a frame a second, one shot: pieces of two frames, with a warm-up of up to four."""
    path = folder / "still.mkv"
    media.run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=1:d=8", "-c:v", "libx264", path)
    return path


def test_a_warm_up_may_begin_with_the_first_frame(sample: Sample, tmp_path: Path) -> None:
    source, target = sample(still_shot), tmp_path / "out.mp4"
    found = found_pieces(source, target)
    assert [(each.piece.first_frame, each.piece.warmup_frames) for each in found] == [
        (0, 0),
        (2, 2),
        (4, 4),
        (6, 4),
    ]
    assert [each.start.state is None for each in found] == [True, True, True, False]
    for frame, whole in zip(collected(source, SHOTS, [0, 1, 2, 3]), in_one_go(source, SHOTS), strict=True):
        np.testing.assert_array_equal(frame, whole)
    upscale_until(source, tmp_path / "reference.mp4", SHOTS)
    for until in (3, 5):
        upscale_until(source, target, SHOTS, stop_after=until)
    log = upscale_until(source, target, SHOTS)
    assert log.result is not None
    assert (log.result.resumed, log.result.frames, log.result.shots) == (4, 8, 1)
    assert target.read_bytes() == (tmp_path / "reference.mp4").read_bytes()


def test_other_segments_start_afresh(sample: Sample, tmp_path: Path) -> None:
    source, target = sample(three_shots), tmp_path / "out.mp4"
    upscale_until(source, target, SHOTS, stop_after=40)
    log = upscale_until(source, target, replace(SHOTS, segment=12))
    assert log.notices == [
        "starting afresh instead of going on from 32 finished frames: the segment length, "
        "the encoder's threads:v have changed"
    ]


def test_a_dry_run_shows_the_plan(sample: Sample, tmp_path: Path, vsr: Callable[..., Outcome]) -> None:
    line = ("upscale", sample(three_shots), tmp_path / "out.mkv", "-m", "bicubic", "--segment", "shots", "-n")
    shown = vsr(*map(str, line)).err
    assert "piece 0: frames 0 to 11\n" in shown
    assert "piece 2: frames 32 to 51, inside a shot, after 4 more to warm up\n" in shown
    message = json.loads(vsr(*map(str, line), "--progress", "json").err)
    assert message["pieces"] == [[0, 12, 0], [12, 32, 0], [32, 52, 4], [52, 54, 4]]
    assert list(tmp_path.iterdir()) == []


def test_images_have_no_plan(sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(UsageError, match="--segment shots is for videos"):
        prepare_job(sample(three_shots), tmp_path / "images" / "%04d.png", SHOTS)


def test_threads_do_not_depend_on_the_machine() -> None:
    assert with_fixed_threads("libx264", (("crf", "18"),)) == (("crf", "18"), ("threads:v", "8"))
    assert with_fixed_threads("libx264", (("threads", "2"),)) == (("threads", "2"),)
    assert with_fixed_threads("libx265", ()) == (("x265-params", "frame-threads=3"),)
    merged = with_fixed_threads("libx265", (("x265-params", "aq-mode=3"),))
    assert merged == (("x265-params", "aq-mode=3:frame-threads=3"),)
    own = (("x265-params", "frame-threads=1"),)
    assert with_fixed_threads("libx265", own) == own
