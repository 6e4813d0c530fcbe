"""A tiny training folder: two clips of moving textures and a photograph."""

import pytest
from footage import texture, write_clip
from PIL import Image


@pytest.fixture(scope="session")
def footage_folder(tmp_path_factory):
    """Two clips and a photograph, with a manifest that lets the first clip and the photograph be shipped."""
    root = tmp_path_factory.mktemp("footage")
    write_clip(root / "a.mkv", 1)
    write_clip(root / "b.mkv", 2)
    Image.fromarray(texture(3, 420, 560)).save(root / "photo.png")
    (root / "notes.txt").write_text("not footage")
    (root / "manifest.csv").write_text(
        "path,source_repo,ship\na.mkv,x/y,yes\nb.mkv,x/y,no\nphoto.png,x/z,yes\n"
    )
    return root
