"""``log.csv``, one line a step, and the same for TensorBoard where TensorFlow and it are installed."""

from __future__ import annotations

import csv
import json
from importlib.util import find_spec
from pathlib import Path

import keras

from vsrcli.train.config import StepReport

HEADINGS = ("step", "loss", "learning_rate", "seconds", "waited", "validation")


class TrainingLog:
    """The log of a run.

    Args:
        run: its folder.
        step: of the checkpoint that the run goes on from; lines after it are about to be done again and go.
    """

    def __init__(self, run: Path, step: int) -> None:
        path = run / "log.csv"
        kept: list[list[str]] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                kept = [row for row in list(csv.reader(file))[1:] if row and int(row[0]) <= step]
        self._file = path.open("w", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file)
        self._csv.writerows([HEADINGS, *kept])
        self._board = None
        if keras.backend.backend() == "tensorflow" and find_spec("tensorboard"):
            import tensorflow as tf

            self._summary, self._board = tf.summary, tf.summary.create_file_writer(str(run / "tensorboard"))

    def write(self, report: StepReport) -> None:
        """Add the line of a step."""
        scores = report.validation or {}
        row = [report.step, f"{report.loss:.6f}", f"{report.learning_rate:.3e}"]
        row += [f"{report.seconds:.3f}", f"{report.waited:.3f}", json.dumps(scores) if scores else ""]
        self._csv.writerow(row)
        self._file.flush()
        if self._board:
            values = {"loss": report.loss, "learning_rate": report.learning_rate, "seconds": report.seconds}
            with self._board.as_default(step=report.step):
                for name, value in (values | scores).items():
                    self._summary.scalar(name, value)

    def close(self) -> None:
        self._file.close()
        if self._board:
            self._board.close()
