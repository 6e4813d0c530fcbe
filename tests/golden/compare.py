"""Compare two recordings of ``record.py``: what does the new program do differently from the old one?

Contract:

- ``python compare.py OLD.json NEW.json`` prints every difference and ends with status 1 if there is one, else
  with 0. Status 2: a file cannot be read.
- Everything below a key in ``EXACT`` (checksums of frames and packets) has to be identical.
- In all other texts, values and names of keys a word of the old recording may have become one of the words
  that ``WORDS`` lists for it; ``PHRASES`` do the same for more than one word. These differences are
  explained, and are not counted. The table is read from old to new only: a "frame" that became an "image" is
  a difference, unless the table says otherwise.
- The rest is shown as a unified diff under the name of the recording and the path inside it.
- ``--texts`` also prints the explained differences, so that somebody may read every changed sentence.
- ``--only PATTERN`` compares a part, such as 'errors/*'. What only one recording holds is a difference.
"""

from __future__ import annotations

import argparse
import difflib
import fnmatch
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# A word of the old program: what the new one may say instead. Lower case; "Film" is "Video" then, too.
WORDS: dict[str, tuple[str, ...]] = {
    "film": ("video",),
    "films": ("videos",),
    "picture": ("image", "frame", "video"),
    "pictures": ("images", "frames"),
    "a": ("an",),
    "an": ("a",),
}

# Regular expression in the old text: what the new program says there. Applied before the words.
PHRASES: tuple[tuple[str, str], ...] = ()

# Lines of texts that only one side has and that do not matter, as regular expressions. Use it sparingly.
IGNORED: tuple[str, ...] = ()

EXACT = ("checksums", "media/checksums")  # keys below which nothing may differ
UNORDERED = (
    "commands",
    "files",
    "ids",
    "keys",
    "lines",
    "options",
    "said in any order",
)  # lists whose order says nothing

Place = tuple[str, ...]
_TOKENS = re.compile(r"[^\W\d_]+|[\W\d_]+")


def leaves(value: Any, path: Place = ()) -> Iterator[tuple[Place, list[str]]]:
    """Every value with its path; lists of texts and texts of several lines are lists of lines."""
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from leaves(each, (*path, key))
    elif isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        yield path, [line for each in value for line in each.split("\n")]
    elif isinstance(value, list) and value:
        for number, each in enumerate(value):
            yield from leaves(each, (*path, f"[{number}]"))
    elif isinstance(value, str):
        yield path, value.split("\n")
    else:
        yield path, [json.dumps(value)]


def became(old: str, new: str) -> bool:
    """Whether a word may have become another one, in the same case."""
    if old == new:
        return True
    alike = (old.isupper() == new.isupper() or len(old) == 1) and old[:1].isupper() == new[:1].isupper()
    return alike and new.lower() in WORDS.get(old.lower(), ())


def explained(old: str, new: str) -> bool:
    """Whether ``new`` is ``old`` with other words as the tables allow them."""
    for pattern, words in PHRASES:
        old = re.sub(pattern, words, old)
    if old == new:
        return True
    ours, theirs = _TOKENS.findall(old), _TOKENS.findall(new)
    return len(ours) == len(theirs) and all(map(became, ours, theirs))


def canonical(text: str) -> str:
    """One text for all that could be the same, to find what belongs together."""
    for pattern, words in PHRASES:
        text = re.sub(pattern, words, text)
    return "".join(str(_GROUPS.get(token.lower(), token)) for token in _TOKENS.findall(text))


def _groups() -> dict[str, str]:
    """Every word of the table to the name of its group: words that are linked in any way."""
    group: dict[str, str] = {}
    for old, news in WORDS.items():
        together = {group.get(word, word) for word in (old, *news)}
        first = min(together)
        for word, name in list(group.items()):
            if name in together:
                group[word] = first
        group.update(dict.fromkeys((old, *news), first))
    return group


_GROUPS = _groups()


def compared(old: list[str], new: list[str], exact: bool) -> tuple[list[str], bool]:
    """Old lines as the new ones should be: those that are explained read like the new ones.

    Returns:
        The lines, and whether any line differs that is explained.
    """
    if exact:
        return old, False
    expected, changed = list(old), False
    matcher = difflib.SequenceMatcher(None, [*map(canonical, old)], [*map(canonical, new)], autojunk=False)
    for kind, start, end, other, _ in matcher.get_opcodes():
        if kind != "equal":
            continue
        for number in range(end - start):
            ours, theirs = old[start + number], new[other + number]
            if ours != theirs and explained(ours, theirs):
                expected[start + number], changed = theirs, True
    return expected, changed


def diff(name: str, old: list[str], new: list[str]) -> list[str]:
    """Readable: one heading, then the lines."""
    lines = difflib.unified_diff(old, new, "old", "new", n=1, lineterm="")
    return [f"=== {name}", *list(lines)[2:]]


def matched(old: dict[Place, list[str]], new: dict[Place, list[str]]) -> Iterator[tuple[Place, Place | None]]:
    """Paths of both sides that belong together; None where there is none in the new recording."""
    by_name: dict[Place, list[Place]] = {}
    for path in new:
        if path not in old:
            by_name.setdefault(tuple(map(canonical, path)), []).append(path)
    for path in old:
        if path in new:
            yield path, path
            continue
        others = by_name.get(tuple(map(canonical, path)), [])
        fitting = [other for other in others if all(map(explained, path, other))]
        if fitting:
            others.remove(fitting[0])
        yield path, fitting[0] if fitting else None


def without_ignored(lines: list[str]) -> list[str]:
    """Lines that matter."""
    return [line for line in lines if not any(re.search(pattern, line) for pattern in IGNORED)]


def compare(old: dict[str, Any], new: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Differences, and explained ones, as lines to print."""
    ours, theirs = dict(leaves(old)), dict(leaves(new))
    wrong: list[str] = []
    fine: list[str] = []
    seen = set()
    missing: dict[str, list[str]] = {}
    for path, other in matched(ours, theirs):
        if other is None:
            missing.setdefault(" / ".join(path), []).extend(f"-{line}" for line in ours[path])
            continue
        seen.add(other)
        exact = any(key in EXACT for key in path)
        before, after = without_ignored(ours[path]), without_ignored(theirs[other])
        if path[-1] in UNORDERED:  # they are sorted, and other words are sorted differently
            before, after = sorted(before, key=canonical), sorted(after, key=canonical)
        expected, changed = compared(before, after, exact)
        name = " / ".join(path)
        if path != other:
            fine.append(f"=== {name}\n    is now {' / '.join(other)}")
        if changed:
            fine += diff(name, before, expected)
        if expected != after:
            wrong += diff(name, expected, after)
    for name, lines in missing.items():
        wrong += [f"=== {name}: only in the old recording", *lines]
    for path, lines in theirs.items():
        if path not in seen:
            name = " / ".join(path)
            wrong += [f"=== {name}: only in the new recording", *(f"+{line}" for line in lines)]
    return wrong, fine


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("old", type=Path, metavar="OLD.json")
    parser.add_argument("new", type=Path, metavar="NEW.json")
    parser.add_argument("--texts", action="store_true", help="print what the tables explain, too")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="such as 'errors/*'")
    chosen = parser.parse_args()
    try:
        old, new = (json.loads(path.read_text("utf-8")) for path in (chosen.old, chosen.new))
    except (OSError, ValueError) as error:
        print(f"cannot be read: {error}", file=sys.stderr)
        return 2
    old, new = (
        {name: each for name, each in side.items() if fnmatch.fnmatch(name, chosen.only)}
        for side in (old, new)
    )
    wrong, fine = compare(old, new)
    if chosen.texts and fine:
        print("Explained by the tables:", *fine, "", sep="\n")
    if wrong:
        print("Different:", *wrong, "", sep="\n")
    places, words = (sum(line.startswith("=== ") for line in lines) for lines in (wrong, fine))
    print(f"{len(old)} recordings: {places} places differ, {words} more differ in words only")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
