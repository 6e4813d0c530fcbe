"""``dataset.json`` of a built set: its options, and of which videos its clips are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsrcli.datasets.layouts import BUILT_CLIPS, BUILT_MARK
from vsrcli.errors import OutputError
from vsrcli.system.files import atomic_write, sampled_sha256

FORMAT = 1  # of dataset.json


@dataclass(frozen=True)
class SourceVideo:
    """A video of a set: its file name, and a digest of what it holds (empty where it cannot be read)."""

    file: str
    digest: str


def source_video(path: Path) -> SourceVideo:
    """Return name and digest of a video, which stay the same when it is moved or copied."""
    try:
        return SourceVideo(path.name, sampled_sha256(path)[:24])
    except OSError:
        return SourceVideo(path.name, "")


def update_record(
    folder: Path, options: Mapping[str, Any], videos: Mapping[str, SourceVideo], *, dry_run: bool = False
) -> None:
    """Check that a build goes on with a set, and record it.

    Clips go by the name of their video, so those of a name that now stands for another video, or none, are
    deleted.

    Args:
        folder: of the set. The record is written into it unless ``dry_run``.
        options: all options of the build.
        videos: all videos of the build by their names in the set.

    Raises:
        OutputError: the set has other options, or clips of a video that is not among these, or is not what it
            was; or its record is damaged.
        OSError: it cannot be written.
    """
    mark = folder / BUILT_MARK
    recorded: dict[str, SourceVideo] = {}
    if mark.is_file():
        try:
            content = json.loads(mark.read_text(encoding="utf-8"))
            differing = sorted(_differences(options, content["options"]))
            recorded = {name: SourceVideo(**video) for name, video in content.get("videos", {}).items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutputError(f"{mark} is damaged ({error}): name another folder") from error
        if differing:
            raise OutputError(
                f"{folder} was built with another {', '.join(differing)}: "
                "name another folder, or use the same options"
            )
    _check_complete(folder, recorded, videos)
    if dry_run:
        return
    known = {name: video if video.digest else recorded.get(name, video) for name, video in videos.items()}
    for name, video in recorded.items():
        if name not in known or known[name].digest != video.digest:
            for path in clips_of(folder / BUILT_CLIPS, name):
                path.unlink()
    text = json.dumps(
        {
            "format": FORMAT,
            "options": options,
            "videos": {name: vars(video) for name, video in sorted(known.items())},
        },
        indent=2,
    )
    atomic_write(mark, lambda file: file.write(text.encode()))


def _check_complete(
    folder: Path, recorded: Mapping[str, SourceVideo], videos: Mapping[str, SourceVideo]
) -> None:
    digests = {video.digest for video in videos.values()}
    unread = {video.file for video in videos.values() if not video.digest}
    files = {video.file for video in videos.values()}
    for video in recorded.values():
        if not video.digest or video.digest in digests or video.file in unread:
            continue
        if video.file in files:
            raise OutputError(
                f"{folder} has clips of another {video.file!r}, or of what it was before it was changed: "
                "name another folder, or that video again beside this one"
            )
        raise OutputError(
            f"{folder} has clips of {video.file!r}, too: name that video again, or another folder"
        )


def clips_of(clips: Path, name: str) -> list[Path]:
    """Return the clips of a video of that name, which are known by their own names."""
    pattern = re.compile(rf"{re.escape(name)}-\d{{6,}}-\d+x\d+\.mp4")
    return [path for path in (clips.iterdir() if clips.is_dir() else ()) if pattern.fullmatch(path.name)]


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    for name, value in one.items():
        if isinstance(value, dict):
            yield from _differences(value, other.get(name, {}))
        elif other.get(name) != value:
            yield f"--{name.replace('_', '-')}"
