"""Whose it is: what the path names, for its owner only."""

from __future__ import annotations

from typing import TypeVar

from starlette.requests import Request

from vsrcli.web.records import JobRecord, Upload
from vsrcli.web.refusal import not_found
from vsrcli.web.store import Store

_Record = TypeVar("_Record", Upload, JobRecord)


def require_owned_upload(store: Store, request: Request) -> Upload:
    """The film that the path names, if it is the visitor's.

    Raises:
        Refusal: 404.
    """
    return _own(store.get_upload(request.path_params["film"]), request)


def require_owned_job(store: Store, request: Request) -> JobRecord:
    """The job that the path names, if it is the visitor's.

    Raises:
        Refusal: 404.
    """
    return _own(store.get_job(request.path_params["job"]), request)


def _own(found: _Record | None, request: Request) -> _Record:
    if found is None or found.session != request.state.session:
        raise not_found()
    return found
