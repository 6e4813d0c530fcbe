"""Whose it is: what the path names, for its owner only."""

from __future__ import annotations

from typing import TypeVar

from starlette.requests import Request

from vsrcli.web.records import Film, Job
from vsrcli.web.refusal import not_found
from vsrcli.web.store import Store

_Record = TypeVar("_Record", Film, Job)


def own_film(store: Store, request: Request) -> Film:
    """The film that the path names, if it is the visitor's.

    Raises:
        Refusal: 404.
    """
    return _own(store.film(request.path_params["film"]), request)


def own_job(store: Store, request: Request) -> Job:
    """The job that the path names, if it is the visitor's.

    Raises:
        Refusal: 404.
    """
    return _own(store.job(request.path_params["job"]), request)


def _own(found: _Record | None, request: Request) -> _Record:
    if found is None or found.session != request.state.session:
        raise not_found()
    return found
