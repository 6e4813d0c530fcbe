"""The contact sheet of a build: every part with its areas, what moves in it, the measures, and why it was
dropped."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vsrcli.datasets.selection import REASONS, Area, Criteria, Verdict
from vsrcli.datasets.survey import THUMBNAIL, Survey
from vsrcli.system.text import format_timestamp

MAX_PARTS = 600  # shown; kept ones come first
COLUMNS = 6
_GAP, _HEADER, _CAPTION = 12, 92, 62
_BACKGROUND, _FOREGROUND, _MUTED = (24, 26, 30), (236, 238, 240), (160, 166, 176)
_KEPT, _DROPPED, _MOVING = (88, 214, 141), (240, 128, 98), (64, 196, 255)


class ShownVideo(Protocol):
    """What the sheet needs of a video."""

    name: str
    verdicts: list[Verdict]
    survey_file: Path | None


def draw_contact_sheet(videos: Iterable[ShownVideo], criteria: Criteria) -> Image.Image:
    """Draw all parts of a build, up to ``MAX_PARTS``, in the order of the videos.

    Cells that move are tinted; areas that are kept have a green frame, the best area of a part that is
    dropped an orange one.
    """
    videos = list(videos)
    verdicts = [verdict for video in videos for verdict in video.verdicts]
    kept = sum(bool(verdict.areas) for verdict in verdicts)
    room = {True: min(kept, MAX_PARTS)}
    room[False] = min(len(verdicts) - kept, MAX_PARTS - room[True])
    shown = room[True] + room[False]
    rows = max(1, -(-shown // COLUMNS))
    width, height = THUMBNAIL[0] + _GAP, THUMBNAIL[1] + _CAPTION + _GAP
    sheet = Image.new("RGB", (_GAP + COLUMNS * width, _HEADER + rows * height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    clips = sum(len(verdict.areas) for verdict in verdicts)
    _text(draw, (_GAP, 10), f"{kept} of {len(verdicts)} parts are kept: {clips} clips", 22, _FOREGROUND)
    note = "" if shown == len(verdicts) else f" {len(verdicts) - shown} parts are not shown."
    lines = (
        f"A cell moves (blue) at a normal flow of {criteria.min_motion:g} px/frame or more; "
        f"{criteria.min_coverage:.0%} of an area must move, its blur be at most {criteria.max_blur:g}.{note}",
        "Green: written as a clip. Orange: the area with the most motion of a part that is dropped. "
        "Below: mean flow of the area, share of it that moves, blur.",
    )
    for number, line in enumerate(lines):
        _text(draw, (_GAP, 40 + 20 * number), line, 14, _MUTED)
    position = 0
    for video in videos:
        for verdict, thumbnail in _thumbnails(video):
            if not room[bool(verdict.areas)]:
                continue
            room[bool(verdict.areas)] -= 1
            row, column = divmod(position, COLUMNS)
            position += 1
            corner = _GAP + column * width, _HEADER + row * height
            sheet.paste(_mark(thumbnail, verdict, criteria), corner)
            _caption(draw, video, verdict, corner[0], corner[1] + THUMBNAIL[1] + 4)
    return sheet


def _thumbnails(video: ShownVideo) -> Iterator[tuple[Verdict, Image.Image]]:
    """Yield each verdict on a video with its thumbnail, which is read again: all of them would fill the
    memory."""
    if video.survey_file is None or not video.verdicts:
        return
    survey = Survey.from_json(video.survey_file.read_text(encoding="utf-8"), thumbnails=True)
    for verdict, part in zip(video.verdicts, survey.parts, strict=True):
        yield verdict, Image.open(io.BytesIO(part.thumbnail)).convert("RGB")


def _mark(thumbnail: Image.Image, verdict: Verdict, criteria: Criteria) -> Image.Image:
    """Return the thumbnail on its place, with moving cells tinted and areas framed."""
    part = verdict.part
    scale = thumbnail.width / part.width
    pixels = np.asarray(thumbnail, np.float32)
    rows = np.minimum((np.arange(thumbnail.height) / scale // part.cell).astype(int), part.flow.shape[0] - 1)
    columns = np.minimum(
        (np.arange(thumbnail.width) / scale // part.cell).astype(int), part.flow.shape[1] - 1
    )
    moving = (part.flow >= criteria.min_motion)[rows][:, columns][..., None]
    tinted = np.where(moving, 0.72 * pixels + 0.28 * np.array(_MOVING, np.float32), pixels)
    place = Image.new("RGB", THUMBNAIL, (14, 15, 18))
    left, top = (THUMBNAIL[0] - thumbnail.width) // 2, (THUMBNAIL[1] - thumbnail.height) // 2
    place.paste(Image.fromarray(tinted.astype(np.uint8)), (left, top))
    draw = ImageDraw.Draw(place)
    for area in _shown_areas(verdict):
        box = area.box
        corners = [left + scale * box.left, top + scale * box.top, left + scale * box.right - 1]
        color = _KEPT if verdict.areas else _DROPPED
        draw.rectangle((*corners, top + scale * box.bottom - 1), outline=color, width=2)
    return place


def _shown_areas(verdict: Verdict) -> tuple[Area, ...]:
    return verdict.areas or ((verdict.best,) if verdict.best else ())


def _caption(draw: ImageDraw.ImageDraw, video: ShownVideo, verdict: Verdict, x: int, y: int) -> None:
    part = verdict.part
    name = video.name if len(video.name) <= 24 else f"{video.name[:23]}."
    _text(draw, (x, y), f"{name} {format_timestamp(part.start, digits=1)}", 13, _FOREGROUND)
    areas = _shown_areas(verdict)
    measures = "; ".join(f"{area.motion:.2f} px {area.coverage:.0%} {area.blur:.2f}" for area in areas)
    _text(draw, (x, y + 18), measures or f"luma {part.brightness:.0f}", 13, _MUTED)
    text, color = ("kept", _KEPT) if verdict.areas else (REASONS[verdict.reason], _DROPPED)
    _text(draw, (x, y + 36), text, 13, color)


def _text(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int, color: tuple[int, int, int]
) -> None:
    draw.text(place, text, fill=color, font=ImageFont.load_default(size))
