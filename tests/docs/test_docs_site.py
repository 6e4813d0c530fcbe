"""The pages as a site: complete, without dead links, and without anything from other servers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import DOCS, ROOT

from terminal import environment
from vsrcli.cli.main import COMMANDS

# Where they may be asked for when somebody clicks; nothing is loaded from there.
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source)[^>]* src="?(https?:)?//|<link[^>]* href="?(https?:)?//"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make docs` does it; a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env=environment(NO_MKDOCS_2_WARNING="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    for page in DOCS.rglob("*.md"):
        made = page.relative_to(DOCS).with_suffix(".html")
        assert (site / (made if made.stem != "README" else made.with_name("index.html"))).is_file()


def test_every_command_stands_in_the_reference(site: Path) -> None:
    text = (site / "commands.html").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f'id="vsr-{name}"' in text


def test_nothing_comes_from_other_servers(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not _LOADED.search(page.read_text(encoding="utf-8")), page
    for page in (*site.rglob("*.css"), *site.rglob("*.svg")):
        assert not re.search(r"url\(['\"]?(https?:)?//", page.read_text(encoding="utf-8")), page
