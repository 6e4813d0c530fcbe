"""Everything that can go wrong, in one tree.

    VsrError                     status 1; the message says what, where and the remedy, in one line
    ├── UsageError               status 2: an option or argument that cannot be meant
    ├── InputError               the source: missing, unreadable, not a video
    │   └── DecodeError          the source stopped midway or holds damaged data
    ├── OutputError              the target: exists, unwritable, a container that cannot hold it
    │   ├── EncodeError          the encoder stopped or refused
    │   └── ReaderClosedError           status 141: whoever read stdout has left; nothing is said
    ├── FfmpegError              no usable ffmpeg, or one that is too old
    ├── ModelError               unknown model, scale without weights, damaged weight file
    ├── EngineError              the network could not run: device missing, a state that is another's
    │   ├── OutOfMemoryError          this tile does not fit: a smaller one may
    │   └── NonFiniteError            NaN or infinity: more precision may help
    ├── DataError                training or evaluation footage that cannot be used
    └── Interrupted              status 130 (SIGINT) or 143 (SIGTERM)

Libraries raise them, ``cli`` prints ``str(error)`` on one line and exits with ``exit_status``.
``details`` (the last words of ffmpeg, say) are printed below that line.
"""

from __future__ import annotations

import os


class VsrError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        message: one line: what is wrong, with which file or option, and what to do about it.
        details: further lines for the reader, such as the tail of ffmpeg's own messages.

    Attributes:
        kept: frames of an unfinished film that another run can go on from.
    """

    exit_status = 1

    def __init__(self, message: str, *, details: str = "") -> None:
        super().__init__(message)
        self.details = details.strip()
        self.saved_frames = 0


class UsageError(VsrError):
    """An option or argument that cannot be meant."""

    exit_status = 2


class InputError(VsrError):
    """The source is missing, unreadable, or holds no video."""


class DecodeError(InputError):
    """The source stopped midway or holds damaged data."""


class OutputError(VsrError):
    """The target exists, cannot be written, or its container cannot hold what is asked."""


class EncodeError(OutputError):
    """The encoder refused to start or stopped midway."""


class ReaderClosedError(OutputError):
    """The program that read stdout has closed it, as ``head`` does; the status is a shell's for SIGPIPE."""

    exit_status = 141 if os.name == "posix" else 1


class FfmpegError(VsrError):
    """No usable ffmpeg was found, or it is too old."""


class ModelError(VsrError):
    """An unknown model, a scale without weights, or a weight file that is not what its card says."""


class EngineError(VsrError):
    """The network could not run: the device is missing, memory ran out, or numbers became NaN."""


class OutOfMemoryError(EngineError):
    """The device has not enough memory for a tile of this size; a smaller one may fit."""


class NonFiniteError(EngineError):
    """The network gave NaN or infinity, which would become black pixels; in more precision it may not."""


class DataError(VsrError):
    """Training or evaluation footage that cannot be used."""


class SignalInterruptError(VsrError):
    """SIGINT or SIGTERM arrived; ``signum`` decides between status 130 and 143."""

    def __init__(self, message: str, *, signum: int = 2) -> None:
        super().__init__(message)
        self.signum = signum
        self.exit_status = 128 + signum  # type: ignore[misc]
