"""Build a data set from videos: survey, select, write clips, manifest and contact sheet.

Layout of the result: ``clips/NAME.mp4``, ``manifest.csv`` (as ``vsr train --shippable`` reads it),
``contact-sheet.png``, and ``dataset.json``, which records the options; ``.survey/`` holds what was measured
on each video. Every file is written under a temporary name. The same command continues a build that was
stopped; with more videos, it adds them.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vsrcli.datasets.clips import Cut, write_clips
from vsrcli.datasets.contact_sheet import draw_contact_sheet
from vsrcli.datasets.decoding import visible_entries
from vsrcli.datasets.layouts import BUILT_CLIPS, BUILT_MARK, walk_files
from vsrcli.datasets.manifest import NAME as MANIFEST
from vsrcli.datasets.manifest import read_rows
from vsrcli.datasets.provenance import Origin, Provenance
from vsrcli.datasets.record import clips_of, source_video, update_record
from vsrcli.datasets.selection import Area, Criteria, Selector, Verdict
from vsrcli.datasets.survey import VERSION, Part, Survey, survey_video
from vsrcli.errors import DataError, OutputError, SignalInterruptError, UsageError
from vsrcli.system.files import atomic_write, sampled_sha256, shorten_name
from vsrcli.system.locks import FileLock, LockHeldError
from vsrcli.system.text import VIDEO_EXTENSIONS, encode_text, replace_undecodable

SHEET = "contact-sheet.png"
_SURVEYS = ".survey"
_MAX_NAME_BYTES = 180  # of a video's name, before frame, corner and suffix, in a file's, which may have 255
_COLUMNS = (
    *("path", "source_repo", "source_file", "licence", "width", "height", "frames", "fps", "split", "ship"),
    *("category", "start_s", "end_s", "x", "y", "motion_px", "coverage", "blur", "brightness"),
)

OnProgress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class BuildOptions:
    """Options of a build.

    Attributes:
        criteria: what is kept.
        frames: length of the clips.
        crf: rate factor of libx264 for the clips; 0: without loss.
        split: written into the manifest.
    """

    criteria: Criteria = field(default_factory=Criteria)
    frames: int = 32
    crf: int = 8
    split: str = "train"


@dataclass
class VideoResult:
    """What became of a video.

    Attributes:
        path, name: the file, and its name in the set.
        origin: where it comes from.
        verdicts: on its parts.
        frames, fps, short: see :class:`~vsrcli.datasets.survey.Survey`.
        problem: why it could not be read; empty otherwise.
    """

    path: Path
    name: str
    origin: Origin
    verdicts: list[Verdict] = field(default_factory=list)
    frames: int = 0
    fps: float = 0.0
    short: int = 0
    problem: str = ""
    survey_file: Path | None = None


@dataclass(frozen=True)
class BuildResult:
    """What a build has found, and written unless it was a dry run."""

    folder: Path
    options: BuildOptions
    videos: list[VideoResult]

    @property
    def kept_parts(self) -> int:
        """Number of parts that have given clips."""
        return sum(bool(verdict.areas) for video in self.videos for verdict in video.verdicts)

    @property
    def clips(self) -> int:
        """Number of clips."""
        return sum(len(verdict.areas) for video in self.videos for verdict in video.verdicts)

    @property
    def dropped(self) -> dict[str, int]:
        """Number of dropped parts by reason, the most frequent first."""
        counts = Counter(v.reason for video in self.videos for v in video.verdicts if v.reason)
        return dict(counts.most_common())

    def as_dict(self) -> dict[str, Any]:
        """Return the result for JSON."""
        return {
            "folder": str(self.folder),
            "videos": len(self.videos),
            "frames": sum(video.frames for video in self.videos),
            "short_frames": sum(video.short for video in self.videos),
            "parts": sum(len(video.verdicts) for video in self.videos),
            "kept_parts": self.kept_parts,
            "clips": self.clips,
            "dropped": self.dropped,
            "failed": {str(video.path): video.problem for video in self.videos if video.problem},
            "details": [_details(video, verdict) for video in self.videos for verdict in video.verdicts],
        }


def find_videos(paths: Sequence[Path]) -> list[Path]:
    """Return the videos among files and under folders, each once, in natural order.

    Raises:
        DataError: a path does not exist, or holds no video.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if path.is_file():
            videos = [path]
        elif path.is_dir():
            files = [file for _, those in walk_files(path) for file in those]
            videos = [file for file in files if file.suffix.lower() in VIDEO_EXTENSIONS]
        else:
            raise DataError(f"no file or folder {str(path)!r}: name videos, or folders that hold some")
        if not videos:
            raise DataError(f"no video in {str(path)!r}: add some (.mp4, .mkv, ...), or name another folder")
        for video in videos:
            found.setdefault(video.resolve(), video)
    return list(found.values())


def check_apart(videos: Sequence[Path], folder: Path) -> None:
    """Refuse a set among its videos, and videos inside the set: a build would read its own clips.

    Raises:
        UsageError: one is inside the other.
    """
    place = folder.resolve()
    for path in videos:
        if place.is_relative_to(path.resolve()) or path.resolve().is_relative_to(place):
            raise UsageError(f"{str(folder)!r} and {str(path)!r} are inside each other: name OUT elsewhere")


def build_dataset(
    videos: Sequence[Path],
    folder: Path,
    options: BuildOptions,
    provenance: Provenance,
    *,
    dry_run: bool = False,
    on_progress: OnProgress = lambda done, total, text: None,
    on_notice: Callable[[str], None] = lambda text: None,
) -> BuildResult:
    """Build a data set, or report what would be in it.

    A video that cannot be read is reported in the result and stops no other.

    Args:
        videos: see :func:`find_videos`.
        folder: of the data set; created, or that of a build with the same options, which is continued.
        options, provenance: see there.
        dry_run: write nothing.
        on_progress: called with (done, total) videos and a text.
        on_notice: called with one line about a video that cannot be read.

    Raises:
        DataError: nothing can be kept.
        OutputError: the folder holds something else, another build or clips of other videos, is in use, or
            cannot be written.
        SignalInterruptError: a signal arrived; the same command continues.
    """
    names = _distinct_names(videos)
    results = [VideoResult(path, names[path], provenance.of(path)) for path in videos]
    result, selector = BuildResult(folder, options, results), Selector(options.criteria)
    try:
        with _opened(folder, options, results, dry_run=dry_run):
            for number, video in enumerate(results):

                def on_frame(text: str, number: int = number, name: str = video.name) -> None:
                    on_progress(number, len(results), f"{name}: {text}")

                on_frame("looking")
                try:
                    survey = _survey(video, None if dry_run else folder / _SURVEYS, options.frames, on_frame)
                    video.frames, video.fps, video.short = survey.frames, survey.fps, survey.short
                    video.verdicts = selector.decide(survey)
                    if not dry_run:
                        _write(video, folder, options, on_frame)
                except DataError as error:
                    video.problem, video.verdicts = str(error), []
                    on_notice(f"left out: {error}")
            on_progress(len(results), len(results), "manifest and contact sheet")
            if not dry_run:
                _finish(result)
    except SignalInterruptError as stop:
        message = "stopped; the same command continues where it was" if not dry_run else "stopped"
        raise SignalInterruptError(message, signum=stop.signum) from None
    if not result.clips:
        reasons = ", ".join(f"{count} {reason}" for reason, count in result.dropped.items()) or "too short"
        raise DataError(
            f"no part of {len(videos)} videos is kept ({reasons}): change the thresholds"
            + ("" if dry_run else f"; {str(folder / SHEET)!r} shows why")
        )
    return result


def clip_name(video: VideoResult, part: Part, area: Area) -> str:
    """Return the name of a clip, without suffix: video, first frame and corner."""
    return f"{video.name}-{part.first:06d}-{area.box.left}x{area.box.top}"


@contextmanager
def _opened(
    folder: Path, options: BuildOptions, results: Sequence[VideoResult], *, dry_run: bool
) -> Iterator[None]:
    """Create the folder or check that the same build is in it; lock it during the block."""
    if (
        not (folder / BUILT_MARK).is_file()
        and folder.exists()
        and (not folder.is_dir() or visible_entries(folder))
    ):
        raise OutputError(f"{folder} holds something else: name a new folder")
    settings, videos = asdict(options), {video.name: source_video(video.path) for video in results}
    _check_manifest(folder, [video.path for video in results])
    if dry_run:
        update_record(folder, settings, videos, dry_run=True)
        yield
        return
    lock = FileLock(folder / _SURVEYS / "lock")
    try:
        (folder / _SURVEYS).mkdir(parents=True, exist_ok=True)
        lock.acquire()
        update_record(folder, settings, videos)
        (folder / BUILT_CLIPS).mkdir(exist_ok=True)  # after what marks the folder as a build's own
        for leftover in (folder / BUILT_CLIPS).glob(".*.part.*"):  # of a build that was killed
            leftover.unlink(missing_ok=True)
        yield
    except LockHeldError as error:
        raise OutputError(f"{folder}: {error} is at work on it; wait until it has finished") from None
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written ({error.strerror or error}); free some space or name another folder"
        ) from error
    finally:
        lock.release()


def _check_manifest(folder: Path, videos: Sequence[Path]) -> None:
    """Refuse to continue without a video whose clips are there: the manifest would lose them."""
    manifest = folder / MANIFEST
    rows = read_rows(manifest, "path") if manifest.is_file() else []
    names = {replace_undecodable(path.name) for path in videos}
    if other := next((row["source_file"] for row in rows if row.get("source_file") not in names), None):
        raise OutputError(f"{folder} has clips of {other!r}, too: name that video again, or another folder")


def _survey(video: VideoResult, cache: Path | None, frames: int, on_frame: Callable[[str], None]) -> Survey:
    """Return the survey of a video, from the cache if it is there; without thumbnails."""

    def report(done: int, seconds: float) -> None:
        on_frame(f"{done} frames looked at")

    if cache is None:
        return survey_video(video.path, frames, report)
    try:
        digest = sampled_sha256(video.path)[:24]
    except OSError as error:
        raise DataError(f"cannot read {str(video.path)!r}: {error.strerror}; it is left out") from error
    video.survey_file = cache / f"{digest}-{frames}-v{VERSION}.json"
    try:
        return Survey.from_json(video.survey_file.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        text = survey_video(video.path, frames, report).to_json()
        atomic_write(video.survey_file, lambda file: file.write(text.encode()), fsync=False)
        return Survey.from_json(text)


def _write(video: VideoResult, folder: Path, options: BuildOptions, on_frame: Callable[[str], None]) -> None:
    """Write the clips of a video that are not there yet."""
    cuts = [
        Cut(folder / BUILT_CLIPS / f"{clip_name(video, part, area)}.mp4", part.first, part.count, area.box)
        for verdict in video.verdicts
        for part, area in ((verdict.part, area) for area in verdict.areas)
    ]
    if waiting := [cut for cut in cuts if not cut.path.exists()]:
        write_clips(video.path, waiting, video.fps, options.crf, lambda: on_frame("writing clips"))


def _finish(result: BuildResult) -> None:
    """Write the manifest and the contact sheet."""
    buffer = io.StringIO()
    table = csv.DictWriter(buffer, _COLUMNS, lineterminator="\n")
    table.writeheader()
    for video in result.videos:
        for verdict in video.verdicts:
            for area in verdict.areas:
                table.writerow(_row(video, verdict.part, area, result.options.split))
    table_text = replace_undecodable(buffer.getvalue())
    atomic_write(result.folder / MANIFEST, lambda file: file.write(table_text.encode()))
    if not any(video.problem for video in result.videos):
        _remove_others(result)
    image = draw_contact_sheet(result.videos, result.options.criteria)
    atomic_write(result.folder / SHEET, lambda file: image.save(file, format="PNG"))


def _remove_others(result: BuildResult) -> None:
    """Remove clips of an earlier run that are no longer chosen: a video before theirs shows the same.

    What is no clip of these videos by its name was not made here, and stays.
    """
    chosen = {
        f"{clip_name(video, verdict.part, area)}.mp4"
        for video in result.videos
        for verdict in video.verdicts
        for area in verdict.areas
    }
    for video in result.videos:
        for path in clips_of(result.folder / BUILT_CLIPS, video.name):
            if path.name not in chosen:
                path.unlink()


def _row(video: VideoResult, part: Part, area: Area, split: str) -> dict[str, Any]:
    return {
        "path": f"{BUILT_CLIPS}/{clip_name(video, part, area)}.mp4",
        "source_repo": video.origin.source or "not stated",
        "source_file": video.path.name,
        "licence": video.origin.licence or "not stated",
        "width": area.box.width,
        "height": area.box.height,
        "frames": part.count,
        "fps": video.fps,
        "split": split,
        "ship": "yes" if video.origin.ship else "no",
        "category": video.origin.category,
        "start_s": part.start,
        "end_s": round(part.start + part.count / video.fps, 3),
        "x": area.box.left,
        "y": area.box.top,
        "motion_px": round(area.motion, 3),
        "coverage": round(area.coverage, 3),
        "blur": round(area.blur, 3),
        "brightness": part.brightness,
    }


def _details(video: VideoResult, verdict: Verdict) -> dict[str, Any]:
    part, best = verdict.part, verdict.best
    shown = verdict.areas or ((best,) if best else ())
    return {
        "video": str(video.path),
        "start_s": part.start,
        "frames": part.count,
        "reason": verdict.reason or None,
        "areas": [
            {
                "x": area.box.left,
                "y": area.box.top,
                "width": area.box.width,
                "height": area.box.height,
                "motion_px": round(area.motion, 3),
                "coverage": round(area.coverage, 3),
                "blur": round(area.blur, 3),
            }
            for area in shown
        ],
    }


def _distinct_names(videos: Sequence[Path]) -> dict[Path, str]:
    """Return a name for each video that is safe in file names; equal ones end with a digest of the path."""
    names = {
        path: shorten_name(re.sub(r"[^\w.-]+", "-", path.stem).strip("-.") or "video", _MAX_NAME_BYTES)
        for path in videos
    }
    counts = Counter(name.casefold() for name in names.values())
    return {
        path: f"{name}-{hashlib.sha256(encode_text(str(path.resolve()))).hexdigest()[:8]}"
        if counts[name.casefold()] > 1
        else name
        for path, name in names.items()
    }
