"""Write an evaluation as one self-contained page: its tables, and each clip's details, still and moving.

It looks like the page of a comparison (``page.css``) and needs no script. The frames of a moving detail lie
below each other in one image, which a CSS animation shifts, so that all methods show the same frame at the
same time. A check box stops a clip's; readers who want less motion (``prefers-reduced-motion``) start them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from string import Template
from typing import Any

import numpy as np
from PIL import Image, features

from vsrcli._version import __version__
from vsrcli.compare.page_parts import csp_hash, data_uri, read_resource
from vsrcli.evaluate import tables
from vsrcli.evaluate.benchmark import MOVING_FRAMES
from vsrcli.evaluate.comparison import ModelComparison
from vsrcli.evaluate.crops import DetailCrop, StillFrames
from vsrcli.evaluate.metrics import PSNR_CAP, psnr_y
from vsrcli.evaluate.results import CROP

_FORMATS = {"webp": "WebP", "png": "PNG", "jpeg": "JPEG"}
_FRAMES_PER_SECOND = 12
_STILL: dict[str, dict[str, Any]] = {"webp": {"lossless": True, "method": 4}, "png": {"optimize": True}}
_MOVING: dict[str, dict[str, Any]] = {"webp": {"quality": 88, "method": 4}, "jpeg": {"quality": 90}}


@dataclass(frozen=True)
class _Panel:
    """One method's detail: data URIs of its middle and its moving frames, and the middle one's PSNR in dB."""

    still: str
    moving: str
    psnr: float | None


@dataclass(eq=False)
class _ClipView:
    """What the page shows of a clip; panels by name, in the order in which they came."""

    index: int
    count: int  # of moving frames
    crop: DetailCrop
    panels: dict[str, _Panel] = field(default_factory=dict)

    @property
    def film(self) -> str:
        """CSS class of moving details of this size and number of frames."""
        return f"film-{self.crop.width}x{self.crop.height}-{self.count}"


class EvaluationPage:
    """Collects the details of clips, encoded as they come, and writes the page."""

    def __init__(self) -> None:
        self._views: dict[tuple[str, str], _ClipView] = {}
        has_webp = features.check("webp")
        self._still, self._moving = ("webp", "webp") if has_webp else ("png", "jpeg")

    def add(self, model: str, *, label: str, clip: str, frames: StillFrames) -> None:
        """Add a model's frames of a clip, and the first time those of bicubic, other tools and the truth.

        Args:
            model: its name.
            label: of the protocol.
            clip: its name.
            frames: with moving ones, see :class:`~vsrcli.evaluate.benchmark.Measuring`.

        Raises:
            ValueError: they have no moving ones.
        """
        if frames.crop is None:
            raise ValueError("a page needs moving frames: measure with moving=True")
        view = self._views.get((label, clip))
        if view is None:
            view = _ClipView(frames.index, len(frames.moving["truth"]), frames.crop)
            self._views[label, clip] = view
            stills = {"bicubic": frames.bicubic, **frames.others, "truth": frames.truth}
            for name, still in stills.items():
                view.panels[name] = self._panel(view, still, frames.moving[name], frames.truth)
        view.panels[model] = self._panel(view, frames.model, frames.moving["model"], frames.truth)

    def render(self, comparisons: Sequence[ModelComparison], command: str = "") -> str:
        """Return the text of the page: a section for each protocol.

        Args:
            comparisons: at least one; their clips have been added.
            command: that measured them; empty: unknown.
        """
        names = [evaluation.title for evaluation in comparisons[0].evaluations]
        clips = comparisons[0].evaluations[0].clips
        films = {view.film: _film_rule(view) for view in self._views.values()}
        style = read_resource("page.css") + read_resource("evaluation.css") + "".join(films.values())
        protocols = "; ".join(comparison.protocol.label for comparison in comparisons)
        frames = sum(clip.frames for clip in clips)
        title = (
            f"{names[0]}, measured"
            if len(names) == 1
            else f"{', '.join(names[:-1])} and {names[-1]}, measured"
        )
        text = f"{len(clips)} clip{'s' * (len(clips) > 1)}, {frames:,} frames; {protocols}"
        return Template(read_resource("evaluation.html")).substitute(
            title=escape(title),
            style=style,
            style_hash=csp_hash(style),
            summary=escape(text),
            command=f'<pre tabindex="0" aria-label="Command">{escape(command)}</pre>' if command else "",
            sections="".join(self._section(number, each) for number, each in enumerate(comparisons)),
            notes="".join(f"<li>{escape(note)}</li>" for note in tables.notes(comparisons[0])),
            image_format=f"{_FORMATS[self._still]}, lossless; moving ones {_FORMATS[self._moving]}, quality "
            f"{_MOVING[self._moving]['quality']}, up to {MOVING_FRAMES} frames",
            version=escape(__version__),
        )

    def _panel(self, view: _ClipView, still: np.ndarray, moving: np.ndarray, truth: np.ndarray) -> _Panel:
        column = moving.reshape(-1, *moving.shape[2:])  # frames below each other
        return _Panel(
            data_uri(_encode(view.crop.extract(still), self._still, _STILL), self._still),
            data_uri(_encode(column, self._moving, _MOVING), self._moving),
            None if still is truth else min(psnr_y(still, truth, CROP), PSNR_CAP),
        )

    def _section(self, number: int, comparison: ModelComparison) -> str:
        evaluations, label = comparison.evaluations, comparison.protocol.label
        lines = [f"{comparison.protocol.summary}."]
        lines += tables.engine_lines(comparison) + tables.look_lines(comparison)
        for reason in dict.fromkeys(evaluations[0].omitted.values()):
            if not reason.startswith("not requested"):
                left_out = ", ".join(key for key, why in evaluations[0].omitted.items() if why == reason)
                lines.append(f"Left out: {left_out}: {reason}.")
        parts = [
            f'<section aria-labelledby="part-{number}"><h2 id="part-{number}">{escape(label)}</h2>',
            f"<p>{'<br>'.join(map(escape, lines))}</p>",
            _html_table(tables.method_table(comparison), "Means over clips"),
        ]
        further = tables.further_table(comparison)
        if further is not None:
            parts.append(_html_table(further, "Further measures, means over clips"))
        if len(evaluations) == 1:
            parts.append(_html_table(tables.clip_table(evaluations[0]), "Clip by clip"))
        else:
            parts.append(_html_table(tables.psnr_table(comparison), "PSNR-Y of each clip, dB"))
        for clip in evaluations[0].clips:
            view = self._views.get((label, clip.name))
            if view is not None:
                identifier = f"clip-{number}-{len(parts)}"
                parts.append(_clip_part(clip.name, identifier, view, [each.model for each in evaluations]))
        return "".join([*parts, "</section>"])


def _clip_part(clip: str, identifier: str, view: _ClipView, methods: Sequence[str]) -> str:
    """Return a clip's heading, with this identifier, and details: bicubic, the methods, truth."""
    crop, panels = view.crop, [(name, view.panels[name]) for name in ("bicubic", *methods, "truth")]
    where = f"{crop.width}x{crop.height} pixels at column {crop.left}, row {crop.top}"
    stills, films = [], []
    for name, panel in panels:
        score = "" if panel.psnr is None else f"<small>{panel.psnr:.2f} dB, whole frame</small>"
        size = f'width="{crop.width}" height="{crop.height}"'
        alt = escape(f"{clip}, frame {view.index}, {name}: {where}")
        stills.append(
            f'<figure><div class="picture"><img src="{panel.still}" {size} alt="{alt}"></div>'
            f"<figcaption>{escape(name)}{score}</figcaption></figure>"
        )
        size = f'width="{crop.width}" height="{view.count * crop.height}"'
        alt = escape(f"{clip}, {name}, {view.count} moving frames: the same detail")
        film = f'class="picture film {view.film}"'
        films.append(
            f'<figure><div {film}><img src="{panel.moving}" {size} alt="{alt}"></div>'
            f"<figcaption>{escape(name)}</figcaption></figure>"
        )
    return (
        f'<h3 id="{identifier}">{escape(clip)}</h3>'
        f"<h4>Frame {view.index}, {where}</h4>"
        f'<div class="panels">{"".join(stills)}</div>'
        f'<div class="moving"><div class="head"><h4>{view.count} frames around it, {_FRAMES_PER_SECOND} a '
        f'second, to and fro</h4><label class="check"><input type="checkbox" aria-describedby="{identifier}">'
        '<span class="lively">Pause</span>'
        f'<span class="calm">Play</span></label></div><div class="panels">{"".join(films)}</div></div>'
    )


def _film_rule(view: _ClipView) -> str:
    """Return the CSS of moving details like these: a window that shows one frame at a time."""
    last, seconds = 100 * (view.count - 1) / view.count, view.count / _FRAMES_PER_SECOND
    return (
        f".{view.film} {{ aspect-ratio: {view.crop.width} / {view.crop.height}; --last: -{last:.6g}%; "
        f"--time: {seconds:.4g}s; }}\n"
        f".{view.film} img {{ animation-timing-function: steps({view.count}, jump-none); }}\n"
    )


def _html_table(table: tables.Table, caption: str) -> str:
    kinds = [' class="text"' if heading == "worst clip" else "" for heading in table.headings]
    heads = [escape(re.sub(r"(?<=[-/])\n", "", heading).replace("\n", " ")) for heading in table.headings]
    rows = []
    for index, (name, *cells) in enumerate(table.rows):
        is_mean = table.has_total_row and index == len(table.rows) - 1
        content = "".join(
            f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds[1:], cells, strict=True)
        )
        rows.append(
            f'<tr{" class=mean" if is_mean else ""}><th scope="row">{escape(name)}</th>{content}</tr>'
        )
    columns = "".join(f'<th scope="col"{kind}>{head}</th>' for kind, head in zip(kinds, heads, strict=True))
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _encode(image: np.ndarray, kind: str, options: dict[str, dict[str, Any]]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(content, format=kind, **options[kind])
    return content.getvalue()
