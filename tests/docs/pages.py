"""The pages that people read, and the commands that stand there.

Every line of a ``sh`` block is a command of its own; a backslash continues it. What a test cannot run
has a comment in front of its block that says why, ``<!-- not run: trains for hours -->``, or for some lines
only, by their beginnings, ``<!-- not run (vsr train, vsr doctor): they take minutes -->``.
"""

from __future__ import annotations

import functools
import re
import runpy
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

SHELLS = {
    "bash",
    "console",
    "shell",
    "shellsession",
    "zsh",
}  # other names for sh, which nobody would look for
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_MARK = re.compile(r"<!-- not run(?: \(([^)]*)\))?: (.*?) -->\n*\Z")
_OPERATOR = re.compile(r"[|&;<>()]+")

# The README is read as text, too, so that its marks stand here.
_README = {
    "python3 -m venv": "installs packages; .ci/run does it",
    "vsr doctor": "computes with the default network, as tests/doctor does",
    "vsr serve": "runs until it is stopped; tests/web starts it",
    "vsr train": "trains for hours",
    "vsr tune": "measures for most of a minute; tests/bench does it",
}


@dataclass(frozen=True)
class Fence:
    """A block between three backquotes.

    Attributes:
        before: all of the page in front of it.
    """

    page: str
    line: int
    language: str
    text: str
    before: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command line on a page.

    Attributes:
        reason: why no test runs it, or None.
    """

    page: str
    line: int
    text: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def programs(self) -> list[list[str]]:
        """The words of each program that it runs; redirections and variables in front are left out."""
        words = shlex.shlex(re.sub(r" \d(?=[<>])", " ", self.text), posix=True, punctuation_chars=True)
        words.whitespace_split = True
        found: list[list[str]] = [[]]
        redirected = False
        for word in words:
            if _OPERATOR.fullmatch(word):
                redirected = word[0] in "<>"
                if not redirected:
                    found.append([])
            elif redirected:  # a file's name
                redirected = False
            elif found[-1] or not re.match(r"[A-Z_]+=", word):
                found[-1].append(word)
        return [words for words in found if words]

    @property
    def needs_shell(self) -> bool:
        """More than one program with its words."""
        words = shlex.split(self.text, comments=True)
        return "$" in self.text or self.programs != [words]


@functools.cache
def pages() -> dict[str, str]:
    """Path below the project -> Markdown, the generated reference included."""
    generated = runpy.run_path(str(DOCS / "reference.py"))
    files = [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted(DOCS.rglob("*.md"))]
    texts = {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}
    name = f"docs/{generated['PAGE']}"
    texts[name] = texts[name].replace(generated["MARK"], generated["reference"]())
    return texts


def fences() -> list[Fence]:
    """Every block of every page."""
    return [
        Fence(page, text.count("\n", 0, found.start(2)) + 1, found[1], found[2], text[: found.start()])
        for page, text in pages().items()
        for found in _FENCE.finditer(text)
    ]


def commands() -> list[Command]:
    """Every command of every page."""
    return [command for fence in fences() for command in _commands(fence)]


def _commands(fence: Fence) -> Iterator[Command]:
    whole = ""
    for number, line in enumerate(fence.text.splitlines(), fence.line):
        if fence.language == "sh":
            whole += line
        elif line.startswith("$ "):  # what was typed in a transcript
            whole += line[2:]
        if whole.endswith("\\"):
            whole = whole[:-1]
            continue
        if shlex.split(whole, comments=True):
            yield Command(fence.page, number, whole, _reason(fence, whole))
        whole = ""


def _reason(fence: Fence, line: str) -> str | None:
    if fence.page == "README.md":
        return next((why for begin, why in _README.items() if line.startswith(begin)), None)
    mark = _MARK.search(fence.before)
    if mark is None:
        return None
    begins = tuple(each.strip() for each in (mark[1] or "").split(","))
    return mark[2] if line.startswith(begins) else None
