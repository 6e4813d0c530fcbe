"""The log: one JSON object a line, without names of films or whole ids: it is read by more people."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LOGGER = logging.getLogger("vsrcli.web")
_OTHERS = ("uvicorn", "huey", "sse_starlette")


def event(name: str, *, level: int = logging.INFO, **values: Any) -> None:
    """One line, such as ``event("job done", job=mark(job.id), frames=240)``."""
    LOGGER.log(level, name, extra={"values": values})


def anonymize_id(secret: str) -> str:
    """An id that may stand in a log: the same for the same id, and nothing can be opened with it."""
    return hashlib.sha256(secret.encode()).hexdigest()[:10]


def configure_logging(file: Path | None = None) -> None:
    """Send this process's log to a file, or to stderr.

    Raises:
        OSError: the file cannot be written.
    """
    handler = logging.StreamHandler(sys.stderr) if file is None else logging.FileHandler(file, "a", "utf-8")
    handler.setFormatter(_Lines())
    for name, level in ((LOGGER.name, logging.INFO), *((name, logging.WARNING) for name in _OTHERS)):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": record.process,
            "event": record.getMessage(),
        }
        if record.name != LOGGER.name:
            content["logger"] = record.name
        content.update(getattr(record, "values", {}))
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)
        return json.dumps(content, ensure_ascii=False, default=str)
