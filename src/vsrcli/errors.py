"""The errors of this package, in one tree.

    VsrError                     status 1; the message names the file or option, what is wrong and the remedy
    ├── UsageError               status 2: an invalid option or argument
    ├── InputError               the source is missing, unreadable or holds no video
    │   └── DecodeError          the source ends early or holds damaged data
    ├── OutputError              the target exists, cannot be written, or its container does not fit
    │   ├── EncodeError          the encoder refused to start or stopped early
    │   ├── TargetLockedError    another run is writing the same target
    │   └── ReaderClosedError    status 141: the program that reads stdout has closed it; nothing is printed
    ├── FfmpegError              no usable ffmpeg, or one that is too old
    ├── ModelError               unknown model, scale without weights, damaged weight file
    ├── EngineError              inference failed: device missing, state of another network
    │   ├── OutOfMemoryError     a tile does not fit into memory; a smaller one may
    │   └── NonFiniteError       NaN or infinity; higher precision may help
    ├── DataError                training or evaluation footage that cannot be used
    └── SignalInterruptError     status 130 (SIGINT), 143 (SIGTERM) or 129 (SIGHUP)

Modules raise them; ``vsrcli.cli`` prints ``str(error)`` on one line, ``details`` (the last lines of ffmpeg,
for example) below it, and exits with ``exit_status``.
"""

from __future__ import annotations

import errno
import os

LOST_STORAGE = (
    errno.EIO, errno.ENXIO, errno.ENODEV, errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
)  # fmt: skip
"""Error numbers of the system for a file on a disk or network share that is gone."""


class VsrError(Exception):
    """Base of every error that this package raises on purpose.

    Args:
        message: one line: the file or option, what is wrong with it, and the remedy.
        details: further lines for the user, such as the last messages of ffmpeg.
        resume_option: see the attribute.

    Attributes:
        exit_status: of the process.
        saved_frames: frames of an unfinished output that another run can resume after.
        resume_option: option that the command needs to resume: empty if none; None if it would fail again.
    """

    exit_status = 1

    def __init__(self, message: str, *, details: str = "", resume_option: str | None = "") -> None:
        super().__init__(message)
        self.details = details.strip()
        self.saved_frames = 0
        self.resume_option = resume_option


class UsageError(VsrError):
    """An option or argument is invalid."""

    exit_status = 2


class InputError(VsrError):
    """The source is missing, unreadable, or holds no video."""


class DecodeError(InputError):
    """The source ends early or holds damaged data."""


class OutputError(VsrError):
    """The target exists, cannot be written, or its container cannot hold the requested streams."""


class EncodeError(OutputError):
    """The encoder refused to start or stopped early."""


class TargetLockedError(OutputError):
    """Another run is writing the same target; the message names its process and host."""


class ReaderClosedError(OutputError):
    """The program that reads stdout has closed it, as ``head`` does; the status is a shell's for SIGPIPE."""

    exit_status = 141 if os.name == "posix" else 1


class FfmpegError(VsrError):
    """No usable ffmpeg was found, or it is too old."""


class ModelError(VsrError):
    """The model is unknown, has no weights for the scale, or its weight file does not match its card."""


class EngineError(VsrError):
    """Inference failed: the device is missing, or a state belongs to another network."""


class OutOfMemoryError(EngineError):
    """The device has not enough memory for a tile of this size; a smaller one may fit."""


class NonFiniteError(EngineError):
    """The network returned NaN or infinity, which would become black pixels; higher precision may help."""


class DataError(VsrError):
    """Training or evaluation footage cannot be used."""


class SignalInterruptError(VsrError):
    """SIGINT, SIGTERM or SIGHUP arrived; the exit status is 128 + ``signum``, as a shell's."""

    def __init__(self, message: str, *, signum: int = 2) -> None:
        super().__init__(message)
        self.signum = signum
        self.exit_status = 128 + signum  # type: ignore[misc]


def describe_unexpected(error: Exception) -> str:
    """Return a line about an error that no part of the program has expected: its type and text.

    For a file on a disk or network share that is gone, where any access fails: what to check.
    """
    if isinstance(error, OSError) and error.errno in LOST_STORAGE and error.filename:
        return (
            f"{os.fsdecode(error.filename)} cannot be reached ({error.strerror}); check its disk or network "
            "share, then run the command again"
        )
    return " ".join(filter(None, ("unexpected", type(error).__name__, str(error))))
