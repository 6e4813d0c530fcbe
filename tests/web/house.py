"""A data folder with films and jobs as a test wants them; no server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vsrcli.web.cleanup import delete_expired
from vsrcli.web.settings import Settings
from vsrcli.web.store import QUEUED, READY, RUNNING, JobRecord, Store, Upload, now

HOUR = 3600.0


class House:
    """A data folder with films and jobs of chosen ages."""

    def __init__(self, data: Path) -> None:
        self.settings = Settings(data=data, keep=HOUR, quota=10_000)
        for name in ("films", "jobs"):
            (data / name).mkdir()
        self.store = Store(self.settings.database)

    def film(self, name: str, *, age: float = 0, **columns: Any) -> Upload:
        facts = {
            "id": name, "session": "s", "name": f"{name}.mp4", "suffix": ".mp4", "kind": "", "size": 1000,
            "state": READY, "reason": None, "code": None, "facts": {}, "created": now() - age,
            "touched": now() - age, "deleted": False,
        }  # fmt: skip
        film = Upload(**facts | columns)
        assert self.store.add_upload(film, most=99, quota=self.settings.quota) is None
        path = self.settings.film(film.id, film.suffix)
        path.parent.mkdir()
        path.write_bytes(bytes(10))
        return film

    def job(self, name: str, film: Upload, state: str, *, age: float = 0) -> JobRecord:
        finished = None if state in (QUEUED, RUNNING) else now() - age
        job = JobRecord(
            id=name, film=film.id, session=film.session, options={}, arguments=[], suffix=".mp4", state=state,
            cancel=False, done=0, total=None, fps=None, eta=None, message="", code=None, details={},
            notices=[], result=None, runner=None, bytes=500, created=now() - age,
            started=None, finished=finished, deleted=False,
        )  # fmt: skip
        assert self.store.add_job(job, most=99, quota=self.settings.quota) is None
        self.store.update_upload(film.id, touched=film.touched)
        self.settings.job(name).mkdir()
        self.settings.result(name, ".mp4").write_bytes(bytes(10))
        return job

    def sweep(self, *in_use: str) -> None:
        delete_expired(self.store, self.settings, lambda kind, id: id in in_use)

    def there(self) -> set[str]:
        """Names of the folders, which have to be those of the database."""
        known = {film.id for film in self.store.list_all_uploads()} | {
            job.id for job in self.store.list_all_jobs()
        }
        data = self.settings.data
        assert known == {path.name for kind in ("films", "jobs") for path in (data / kind).iterdir()}
        return known
