"""What is deleted, and when: never what somebody still needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from house import HOUR, House

from vsrcli.web.cleanup import cancel, delete_files, delete_orphans
from vsrcli.web.events import changed_records
from vsrcli.web.store import CANCELLED, DONE, QUEUED, RUNNING, now


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_what_has_expired(house: House) -> None:
    old, young = house.film("old", age=2 * HOUR), house.film("young", age=HOUR / 2)
    house.job("old-old", old, DONE, age=2 * HOUR)
    house.job("young-old", young, DONE, age=2 * HOUR)
    house.job("young-young", young, DONE, age=60)
    house.sweep()
    assert house.there() == {"young", "young-young"}


def test_a_film_stays_as_long_as_its_last_result(house: House) -> None:
    film = house.film("film", age=9 * HOUR)
    house.job("done", film, DONE, age=HOUR / 2)
    house.sweep()
    assert house.there() == {"film", "done"}


@pytest.mark.parametrize("state", [QUEUED, RUNNING])
def test_never_under_a_job(state: str, house: House) -> None:
    film = house.film("film", age=9 * HOUR)
    job = house.job("job", film, state, age=9 * HOUR)
    house.sweep()
    assert house.there() == {"film", "job"}
    house.store.update_upload(film.id, deleted=1)
    house.store.update_job(job.id, deleted=1)
    house.sweep()
    assert house.there() == {"film", "job"}
    house.store.transition_job(job.id, state, DONE, finished=now())
    house.sweep()
    assert house.there() == set()


def test_never_under_a_download_or_an_upload(house: House) -> None:
    film = house.film("film", age=9 * HOUR)
    house.job("job", film, DONE, age=9 * HOUR)
    house.film("upload", age=9 * HOUR, state="uploading")
    house.sweep("job", "upload")
    assert house.there() == {"film", "job", "upload"}
    house.sweep()
    assert house.there() == set()


def test_deleted_by_its_owner(house: House) -> None:
    film = house.film("film")
    house.job("done", film, DONE)
    house.job("waits", film, QUEUED)
    delete_files(house.store, house.settings, film)
    assert house.there() == set()


def test_deleted_while_it_runs(house: House) -> None:
    film = house.film("film")
    job = house.job("runs", film, RUNNING)
    delete_files(house.store, house.settings, film)
    assert house.store.get_upload("film") is None  # its owner sees it no more
    assert house.store.cancel_wanted(job.id)
    assert house.there() == {"film", "runs"}
    house.store.transition_job("runs", RUNNING, "cancelled", finished=now())
    house.sweep()
    assert house.there() == set()


def test_what_a_crash_has_left(house: House) -> None:
    film = house.film("film")
    house.job("job", film, DONE)
    for stray in ("films/unknown", "jobs/unknown"):
        (house.settings.data / stray).mkdir()
        (house.settings.data / stray / "film.mp4").touch()
    assert delete_orphans(house.store, house.settings) == 2
    assert house.there() == {"film", "job"}


def test_room(house: House) -> None:
    film = house.film("film")
    job = house.job("job", film, QUEUED)
    assert house.store.bytes_used() == 1500
    cancel(house.store, job)
    assert house.store.bytes_used() == 1000
    cancel(house.store, job)  # twice does no harm
    assert house.store.counters()["jobs cancelled"] == 1
    house.store.update_upload(film.id, state="refused")
    assert house.store.bytes_used() == 0


def test_one_worker_gets_a_job(house: House) -> None:
    house.job("job", house.film("film"), QUEUED)
    assert house.store.transition_job("job", QUEUED, RUNNING)
    assert not house.store.transition_job("job", QUEUED, RUNNING)
    assert not house.store.transition_job("unknown", QUEUED, RUNNING)


def test_a_job_that_was_cancelled_meanwhile_is_not_done(house: House) -> None:
    job = house.job("job", house.film("film"), RUNNING)
    cancel(house.store, job)
    assert not house.store.transition_job("job", RUNNING, DONE, if_wanted=True)
    assert house.store.transition_job("job", RUNNING, CANCELLED)


def test_places_in_the_queue(house: House) -> None:
    film = house.film("film")
    for age, name in ((30, "first"), (20, "second"), (10, "third")):
        house.job(name, film, QUEUED, age=age)
    assert [place for place, _ in house.store.queue_positions().values()] == [1, 2, 3]
    assert list(house.store.queue_positions()) == ["first", "second", "third"]


def test_changes_are_noted_for_the_session(house: House) -> None:
    last = house.store.last_change()
    film = house.film("film")
    last, changed = house.store.changes(last)
    assert changed == {"s"}
    assert house.store.changes(last) == (last, set())
    house.store.delete_upload(film.id)
    assert house.store.changes(last)[1] == {"s"}


def test_events_lead_from_one_state_to_the_next() -> None:
    job = {"id": "j", "state": "queued"}
    film = {"id": "f", "state": "ready", "jobs": [job]}
    assert list(changed_records({}, [film])) == [("film", film)]
    assert list(changed_records({"f": film}, [film])) == []
    running = film | {"jobs": [job | {"state": "running"}]}
    assert list(changed_records({"f": film}, [running])) == [("job", {"id": "j", "state": "running"})]
    bare = film | {"jobs": []}
    assert list(changed_records({"f": film}, [bare])) == [
        ("film", bare),
        ("gone", {"kind": "job", "id": "j"}),
    ]
    assert list(changed_records({"f": film}, [])) == [("gone", {"kind": "film", "id": "f"})]
