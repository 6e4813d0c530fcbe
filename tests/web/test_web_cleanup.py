"""Deletion of what has expired and is not in use; limits, queue positions and changes in the database."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from data_folder import HOUR, DataFolder

from vsrcli.web.cleanup import cancel_job, delete_job, delete_orphans, delete_upload
from vsrcli.web.events import changed_records
from vsrcli.web.serializers import Serializer
from vsrcli.web.store import CANCELLED, DONE, QUEUED, RUNNING, now


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path)


def test_expired(folder: DataFolder) -> None:
    old, new = folder.add_upload("old", age=2 * HOUR), folder.add_upload("new", age=HOUR / 2)
    folder.add_job("old job of old", old, DONE, age=2 * HOUR)
    folder.add_job("job of new", new, DONE, age=60)
    folder.delete_expired()
    assert folder.ids() == {"new", "job of new"}


@pytest.mark.parametrize("last", [DONE, QUEUED])
def test_video_and_its_results_stay_as_long_as_the_last_one(last: str, folder: DataFolder) -> None:
    """That long the page promises each of them."""
    upload = folder.add_upload("video", age=9 * HOUR)
    folder.add_job("first", upload, DONE, age=2 * HOUR)
    folder.store.update_job("first", result={"width": 2})
    other = folder.add_job("other", upload, last, age=HOUR / 2)
    folder.delete_expired()
    assert folder.ids() == {"video", "first", "other"}
    serializer, job = Serializer(folder.store, folder.settings), folder.store.get_job("first")
    assert job is not None
    (video,) = serializer.videos("s")
    expires = None if other.finished is None else other.finished + folder.settings.keep
    assert video["expires"] == expires
    assert video["jobs"][0] == serializer.job(job)
    assert video["jobs"][0]["result"]["expires"] == expires


@pytest.mark.parametrize("state", [QUEUED, RUNNING])
def test_never_during_a_job(state: str, folder: DataFolder) -> None:
    upload = folder.add_upload("video", age=9 * HOUR)
    job = folder.add_job("job", upload, state, age=9 * HOUR)
    folder.delete_expired()
    assert folder.ids() == {"video", "job"}
    folder.store.update_upload(upload.id, deleted=1)
    folder.store.update_job(job.id, deleted=1)
    folder.delete_expired()
    assert folder.ids() == {"video", "job"}
    folder.store.transition_job(job.id, state, DONE, finished=now())
    folder.delete_expired()
    assert folder.ids() == set()


def test_never_during_a_download_or_an_upload(folder: DataFolder) -> None:
    upload = folder.add_upload("video", age=9 * HOUR)
    folder.add_job("job", upload, DONE, age=9 * HOUR)
    folder.add_upload("unfinished", age=9 * HOUR, state="uploading")
    folder.delete_expired("job", "unfinished")
    assert folder.ids() == {"video", "job", "unfinished"}
    folder.delete_expired()
    assert folder.ids() == set()


def test_deleted_by_its_owner(folder: DataFolder) -> None:
    upload = folder.add_upload("video")
    folder.add_job("done", upload, DONE)
    folder.add_job("queued", upload, QUEUED)
    delete_upload(folder.store, folder.settings, upload)
    assert folder.ids() == set()


def test_deleted_result_that_is_being_sent(folder: DataFolder) -> None:
    job = folder.add_job("job", folder.add_upload("video"), DONE)
    delete_job(folder.store, folder.settings, job, lambda id: id == "job")
    assert folder.store.get_job("job") is None  # its owner does not see it any more
    assert folder.ids() == {"video", "job"}
    folder.delete_expired()
    assert folder.ids() == {"video"}


def test_deleted_while_a_job_runs(folder: DataFolder) -> None:
    upload = folder.add_upload("video")
    job = folder.add_job("running", upload, RUNNING)
    delete_upload(folder.store, folder.settings, upload)
    assert folder.store.get_upload("video") is None  # its owner does not see it any more
    assert folder.store.is_cancel_requested(job.id)
    assert folder.ids() == {"video", "running"}
    folder.store.transition_job("running", RUNNING, "cancelled", finished=now())
    folder.delete_expired()
    assert folder.ids() == set()


def test_orphans_of_a_crash(folder: DataFolder) -> None:
    upload = folder.add_upload("video")
    folder.add_job("job", upload, DONE)
    for orphan in (
        f"uploads/{secrets.token_urlsafe(16)}",
        f"jobs/{secrets.token_urlsafe(16)}",
        "jobs/others",
    ):
        (folder.settings.data / orphan).mkdir()
        (folder.settings.data / orphan / "video.mp4").touch()
    assert delete_orphans(folder.store, folder.settings) == 2
    (folder.settings.data / "jobs" / "others" / "video.mp4").unlink()  # not the server's own: still there
    (folder.settings.data / "jobs" / "others").rmdir()
    assert folder.ids() == {"video", "job"}


def test_bytes_used(folder: DataFolder) -> None:
    upload = folder.add_upload("video")
    job = folder.add_job("job", upload, QUEUED)
    assert folder.store.bytes_used() == 1500
    cancel_job(folder.store, job)
    assert folder.store.bytes_used() == 1000
    cancel_job(folder.store, job)  # twice does no harm
    assert folder.store.counters()["jobs cancelled"] == 1
    folder.store.update_upload(upload.id, state="rejected")
    assert folder.store.bytes_used() == 0


def test_counters(folder: DataFolder) -> None:
    folder.store.increase_counter("frames", 2)
    folder.store.increase_counter("frames", 3)
    folder.store.set_counter("time", 7.5)
    folder.store.set_counter("time", 0)
    assert folder.store.counters() == {"frames": 5, "time": 0}


def test_only_one_worker_gets_a_job(folder: DataFolder) -> None:
    folder.add_job("job", folder.add_upload("video"), QUEUED)
    assert folder.store.transition_job("job", QUEUED, RUNNING)
    assert not folder.store.transition_job("job", QUEUED, RUNNING)
    assert not folder.store.transition_job("unknown", QUEUED, RUNNING)


def test_cancelled_job_does_not_become_done(folder: DataFolder) -> None:
    job = folder.add_job("job", folder.add_upload("video"), RUNNING)
    cancel_job(folder.store, job)
    assert not folder.store.transition_job("job", RUNNING, DONE, unless_cancelled=True)
    assert folder.store.transition_job("job", RUNNING, CANCELLED)


def test_queue_positions(folder: DataFolder) -> None:
    upload = folder.add_upload("video")
    for age, name in ((30, "first"), (20, "second"), (10, "third")):
        folder.add_job(name, upload, QUEUED, age=age)
    assert [position for position, _ in folder.store.queue_positions().values()] == [1, 2, 3]
    assert list(folder.store.queue_positions()) == ["first", "second", "third"]


def test_changes_are_recorded_for_the_session(folder: DataFolder) -> None:
    last = folder.store.prune_changes()
    upload = folder.add_upload("video")
    last, changed = folder.store.changes_since(last)
    assert changed == {"s"}
    assert folder.store.changes_since(last) == (last, set())
    folder.store.delete_upload(upload.id)
    assert folder.store.changes_since(last)[1] == {"s"}


def test_events_lead_from_one_state_to_the_next() -> None:
    job = {"id": "j", "state": "queued"}
    video = {"id": "v", "state": "ready", "jobs": [job]}
    assert list(changed_records({}, {"v": video})) == [("video", video)]
    assert list(changed_records({"v": video}, {"v": video})) == []
    running = video | {"jobs": [job | {"state": "running"}]}
    assert list(changed_records({"v": video}, {"v": running})) == [("job", {"id": "j", "state": "running"})]
    without_jobs = video | {"jobs": []}
    assert list(changed_records({"v": video}, {"v": without_jobs})) == [
        ("video", without_jobs),
        ("gone", {"kind": "job", "id": "j"}),
    ]
    assert list(changed_records({"v": video}, {})) == [("gone", {"kind": "video", "id": "v"})]
