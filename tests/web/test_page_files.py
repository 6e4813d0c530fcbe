"""What the page is made of: texts in both languages, nothing from elsewhere, the library unchanged."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import vsrcli
from vsrcli.media.encoder_options import PRESETS
from vsrcli.models.architectures import MODEL_PRESETS

WEB = Path(vsrcli.__file__).parent / "web"
STATIC, VENDOR = WEB / "static", WEB / "static" / "vendor"
TEXTS = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((STATIC / "texts").glob("*.json"))}
DOCS = (Path(__file__).parents[2] / "docs" / "web.md").read_text("utf-8")
OWN = [
    path
    for path in (*STATIC.rglob("*"), *(WEB / "templates").iterdir())
    if path.is_file() and not path.is_relative_to(VENDOR)
]


def test_languages_have_the_same_texts() -> None:
    assert set(TEXTS) == {"en", "ko"}
    english, korean = TEXTS["en"], TEXTS["ko"]
    assert english.keys() == korean.keys()
    for key, text in english.items():
        assert text.strip()
        assert korean[key].strip()
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", korean[key])), key


def test_korean_texts_are_korean() -> None:
    names = {"pixels", "size.720p", "size.1440p", "size.2160p", "size.4320p", "convert.to"}
    for key, text in TEXTS["ko"].items():
        assert key in names or re.search("[가-힣]", text), key


def test_every_text_is_there_and_used() -> None:
    everything = "\n".join(path.read_text("utf-8") for path in OWN if path.suffix in (".js", ".html"))
    named = set(
        re.findall(r"""(?:\btext\(|data-text=|data-label=)["']([a-z_.]+[a-z_0-9]+)["']""", everything)
    )
    assert len(named) > 50
    assert named - TEXTS["en"].keys() == set()
    chosen = (
        "job.",
        "left.",
        "upload.",
        "refusal.",
        "model.",
        "preset.",
        "size.",
        "result.",
    )  # `job.${state}`
    unused = {key for key in TEXTS["en"] if f'"{key}"' not in everything and not key.startswith(chosen)}
    assert unused <= {"refusal.token_wrong"}


def test_every_code_is_told_of() -> None:
    """In docs/web.md; and texts are there for codes that exist, and for nothing else."""
    source = "\n".join(path.read_text("utf-8") for path in sorted(WEB.glob("*.py")))
    refusals = set(re.findall(r"""(?:Refusal\(\s*\d+|_unknown\(),\s*"([a-z_]+)\"""", source)) | {"error"}
    login = {"token_wrong", "too_often"}  # in words, by the login page
    jobs = set(re.findall(r"""Said\(\s*"([a-z]+)\"""", source))
    assert len(refusals) > 25
    assert jobs == {"error", "room", "interrupted", "stopped", "command"}
    told = DOCS.partition("### Codes of refusals")[2].partition("\n### ")[0]
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"(?m)^\|([^|]*)\|", told)))) == refusals | login
    told = DOCS.partition("### Codes of jobs")[2].partition("\n### ")[0]
    assert set(re.findall(r"(?m)^\| `(\w+)`", told)) == jobs
    texts = {key.removeprefix("refusal.") for key in TEXTS["en"] if key.startswith("refusal.")}
    assert texts - refusals - jobs == login | {
        "unreachable",
        "unknown",
    }  # where nobody answers, or not in JSON
    assert jobs - texts == {"interrupted", "command"}  # another kind of text; the command's own words


def test_what_can_be_chosen_has_plain_words() -> None:
    assert {f"preset.{name}" for name in PRESETS} <= TEXTS["en"].keys()
    assert {f"model.{name}" for name in (*MODEL_PRESETS.values(), "bicubic", "lanczos")} <= TEXTS["en"].keys()


def test_everything_comes_from_the_server_itself() -> None:
    for path in OWN:
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|[\"'(]//", text), path
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text), path
        assert path.suffix != ".html" or not re.search(
            r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", text
        ), path


def test_the_library_is_unchanged() -> None:
    folder = VENDOR / "tus-js-client"
    stated = dict(re.findall(r"`([\w.]+)` \| `([0-9a-f]{64})`", (folder / "README.md").read_text("utf-8")))
    assert stated.keys() == {"tus.min.js", "LICENSE"}
    for name, digest in stated.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
