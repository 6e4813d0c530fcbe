"""What headers of tus 1.0.0 say, and what a film may be called."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from pathlib import Path

from starlette.requests import Request

from vsrcli.web.refusal import ApiError

VERSION = "1.0.0"
TUS_HEADERS = {"Tus-Resumable": VERSION}
CONTENT_TYPE = "application/offset+octet-stream"
_NAME = 200  # bytes of a name
_SUFFIXES = re.compile(
    r"\.(mp4|m4v|mov|mkv|webm|avi|ts|m2ts|mts|mpg|mpeg|vob|wmv|asf|flv|f4v|3gp|3g2|ogv|mxf|y4m|nut|dv|gif|apng|"
    "ivf|h264|h265|hevc|264|265|av1|obu|divx|rm|rmvb|wtv)"
)


def check_version(request: Request) -> None:
    """Refuse another version of the protocol."""
    if request.headers.get("tus-resumable") != VERSION:
        raise ApiError(
            412,
            "bad_request",
            f"Uploads need the header Tus-Resumable: {VERSION}.",
            headers={"Tus-Version": VERSION},
        )


def parse_length(request: Request, header: str) -> int:
    """A header that is a number of bytes."""
    text = request.headers.get(header, "")
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ApiError(400, "bad_request", f"The header {header.title()} has to be a whole number of bytes.")
    return int(text)


def parse_metadata(header: str) -> dict[str, str]:
    """``key BASE64,key BASE64`` as text."""
    found = {}
    for pair in header[:4096].split(","):
        key, _, value = pair.strip().partition(" ")
        try:
            found[key] = base64.b64decode(value.strip(), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeError, ValueError):
            raise ApiError(400, "bad_request", "The header Upload-Metadata cannot be read.") from None
    return found


def encode_metadata(text: str) -> str:
    """A value of Upload-Metadata."""
    return base64.b64encode(text.encode()).decode()


def sanitized_name(name: str) -> str:
    """A file's name without folders, control characters and excess."""
    name = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(mark for mark in name if mark.isprintable()).strip(" .")
    stem, suffix = Path(name).stem, Path(name).suffix[:16]
    stem = stem.encode()[: _NAME - len(suffix.encode())].decode("utf-8", "ignore")
    return f"{stem}{suffix}" or "film"


def suffix_of(name: str) -> str:
    """Under which a film lies on the disk: its own, if it is a film's."""
    suffix = Path(name).suffix.lower()
    return suffix if _SUFFIXES.fullmatch(suffix) else ".film"
