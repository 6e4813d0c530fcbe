"""One thing that was looked at, and how it was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from vsrcli.errors import VsrError

OK, NOTE, PROBLEM = "ok", "note", "problem"


@dataclass(frozen=True)
class Finding:
    """How something was found.

    Attributes:
        name: what was looked at, in a word or two.
        state: ``ok``; ``note``: works, could be better; ``problem``: something will fail.
        text: what there is, in one line.
        remedy: what to do about it; empty if there is nothing to do.
    """

    name: str
    state: str
    text: str
    remedy: str = ""


Check = Callable[[], Iterator[Finding]]


def run_checks(checks: Sequence[tuple[str, Check]]) -> Iterator[Finding]:
    """The findings of all checks, as they come. A check that fails itself is a problem found.

    Args:
        checks: what is looked at, and how.
    """
    for name, check in checks:
        try:
            yield from check()
        except VsrError as error:
            yield Finding(name, PROBLEM, str(error))
        except Exception as error:
            yield Finding(name, PROBLEM, f"unexpected {type(error).__name__}: {error}")
