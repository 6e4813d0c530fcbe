"""Files of the page: texts in both languages, nothing from other servers, the library unchanged."""

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
OWN_FILES = [
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
    same = {
        "resolution",
        "size.720p",
        "size.1440p",
        "size.2160p",
        "size.4320p",
        "convert.to",
        "model.imported",
    }
    for key, text in TEXTS["ko"].items():
        assert key in same or re.search("[가-힣]", text), key


def test_every_text_exists_and_is_used() -> None:
    sources = "\n".join(path.read_text("utf-8") for path in OWN_FILES if path.suffix in (".js", ".html"))
    used = set(re.findall(r"""(?:\btext\(|data-text=|data-label=)["']([a-z_.]+[a-z_0-9]+)["']""", sources))
    assert len(used) > 50
    assert used - TEXTS["en"].keys() == set()
    dynamic_prefixes = (
        "job.",
        "upload.",
        "error.",
        "model.",
        "preset.",
        "size.",
        "result.",
    )  # `job.${state}`
    unused = {
        key for key in TEXTS["en"] if f'"{key}"' not in sources and not key.startswith(dynamic_prefixes)
    }
    assert unused <= {"error.wrong_token"}


def test_every_code_is_documented() -> None:
    """The codes in docs/web.md and those with texts are those in the source."""
    source = "\n".join(path.read_text("utf-8") for path in sorted(WEB.glob("*.py")))
    errors = set(re.findall(r"""(?:ApiError\(\s*\d+|_option_error\(),\s*"([a-z_]+)\"""", source)) | {"error"}
    login = {"wrong_token"}  # on the login page
    jobs = set(re.findall(r"""StatusMessage\(\s*"([a-z_]+)\"""", source))
    assert len(errors) > 25
    assert jobs == {"error", "disk_full", "interrupted", "stopped", "command"}
    documented = DOCS.partition("### Codes of errors")[2].partition("\n### ")[0]
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"(?m)^\|([^|]*)\|", documented)))) == errors | login
    documented = DOCS.partition("### Codes of jobs")[2].partition("\n### ")[0]
    assert set(re.findall(r"(?m)^\| `(\w+)`", documented)) == jobs
    texts = {key.removeprefix("error.") for key in TEXTS["en"] if key.startswith("error.")}
    assert texts - errors - jobs == login | {
        "unreachable",
        "unknown",
    }  # without a response, or one that is no JSON
    assert jobs - texts == {"interrupted", "command"}  # another text; a message of the command


def test_options_have_labels() -> None:
    assert {f"preset.{name}" for name in PRESETS} <= TEXTS["en"].keys()
    assert {f"model.{name}" for name in (*MODEL_PRESETS.values(), "bicubic", "lanczos")} <= TEXTS["en"].keys()


def test_nothing_comes_from_other_servers() -> None:
    for path in OWN_FILES:
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
