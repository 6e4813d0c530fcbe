"""Write what was found: a page and a picture, each of them complete or not at all."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from vsrcli.compare.writers import write_target
from vsrcli.explain.analysis import Explanation
from vsrcli.explain.page import render_page
from vsrcli.explain.sheet import draw_sheet


def write_explanation(found: Explanation, page: Path, picture: Path, *, overwrite: bool) -> None:
    """Write the page and the picture.

    Args:
        found: what they show.
        page, picture: an ``.html`` and a ``.png`` file.
        overwrite: whether existing ones may be replaced.

    Raises:
        OutputError: one of them cannot be written.
    """
    content = render_page(found).encode("utf-8")
    image = Image.fromarray(draw_sheet(found))
    write_target(picture, lambda file: image.save(file, format="PNG"), overwrite=overwrite)
    write_target(page, lambda file: file.write(content), overwrite=overwrite)
