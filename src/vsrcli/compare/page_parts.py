"""Parts of self-contained pages: resources, hashes for their security policy (CSP), embedded data."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from typing import Any


def read_resource(name: str, package: str = "vsrcli.compare") -> str:
    """Return the text of a file of this folder, such as ``page.css``, or of another package's."""
    return resources.files(package).joinpath(name).read_text("utf-8")


def csp_hash(text: str) -> str:
    """Return the hash of a script or style as a Content-Security-Policy source."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def embed_json(data: Any) -> str:
    """Serialize as JSON that is safe inside a ``script`` element."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def data_uri(content: bytes, kind: str) -> str:
    """Return an image as a data URI; ``kind`` is its format, such as ``webp``."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
