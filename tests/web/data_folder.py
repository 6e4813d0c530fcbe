"""A data folder with uploads and jobs of chosen ages and states; no server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vsrcli.web.cleanup import delete_expired
from vsrcli.web.settings import JOBS, UPLOADS, Settings
from vsrcli.web.store import QUEUED, READY, RUNNING, JobRecord, Store, Upload, now

HOUR = 3600.0


class DataFolder:
    """A data folder, its settings and its database.

    Args:
        path: of the folder, which exists.
    """

    def __init__(self, path: Path) -> None:
        self.settings = Settings(data=path, keep=HOUR, quota=10_000)
        for name in (UPLOADS, JOBS):
            (path / name).mkdir()
        self.store = Store(self.settings.database)

    def add_upload(self, name: str, *, age: float = 0, **columns: Any) -> Upload:
        """Add an upload with a file; ``name`` is its id."""
        defaults = {
            "id": name, "session": "s", "name": f"{name}.mp4", "suffix": ".mp4", "media_type": "",
            "size": 1000, "state": READY, "reason": None, "code": None, "properties": {},
            "created": now() - age, "last_used": now() - age, "deleted": False,
        }  # fmt: skip
        upload = Upload(**defaults | columns)
        assert self.store.add_upload(upload, max_count=99, quota=self.settings.quota) is None
        path = self.settings.upload_path(upload.id, upload.suffix)
        path.parent.mkdir()
        path.write_bytes(bytes(10))
        return upload

    def add_job(self, name: str, upload: Upload, state: str, *, age: float = 0) -> JobRecord:
        """Add a job with a result; ``name`` is its id."""
        finished = None if state in (QUEUED, RUNNING) else now() - age
        job = JobRecord(
            id=name, upload_id=upload.id, session=upload.session, options={}, arguments=[], suffix=".mp4",
            state=state, cancel_requested=False, done=0, total=None, fps=None, eta=None, message="",
            code=None, details={}, notices=[], result=None, process=None, disk_bytes=500,
            created=now() - age, started=None, finished=finished, deleted=False,
        )  # fmt: skip
        assert self.store.add_job(job, max_count=99, quota=self.settings.quota) is None
        self.store.update_upload(upload.id, last_used=upload.last_used)
        self.settings.job_dir(name).mkdir()
        self.settings.result_path(name, ".mp4").write_bytes(bytes(10))
        return job

    def delete_expired(self, *ids_in_use: str) -> None:
        """Delete what has expired and is not in use."""
        delete_expired(self.store, self.settings, lambda id: id in ids_in_use)

    def ids(self) -> set[str]:
        """Return the ids of all uploads and jobs, which have to be the same on disk and in the database."""
        known = {upload.id for upload in self.store.list_uploads(with_deleted=True)} | {
            job.id for job in self.store.list_jobs(with_deleted=True)
        }
        data = self.settings.data
        assert known == {path.name for kind in (UPLOADS, JOBS) for path in (data / kind).iterdir()}
        return known
