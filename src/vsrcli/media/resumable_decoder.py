"""Decode a video from where an earlier run stopped, with frames that are the same as then."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from vsrcli.errors import DecodeError, InputError
from vsrcli.media.decoder import Decoder
from vsrcli.media.types import Frame, Source
from vsrcli.system.threads import Prefetcher, queue_depth


@dataclass(frozen=True)
class ResumePoint:
    """The last frame that an earlier run used.

    Attributes:
        frame_count: frames used so far, this one included.
        pts: its presentation time in ticks of the source's clock.
        crc32: of its pixels, see :func:`frame_crc32`.
    """

    frame_count: int
    pts: int
    crc32: int

    @classmethod
    def of(cls, frame: Frame, frame_count: int) -> Self:
        """Return the point after a frame, the ``frame_count``-th."""
        return cls(frame_count, frame.pts, frame_crc32(frame))


def frame_crc32(frame: Frame) -> int:
    """Return the CRC-32 of a frame's pixels."""
    return zlib.crc32(np.ascontiguousarray(frame.pixels).data)


class ResumableDecoder:
    """A context manager and iterator of the frames after ``resume_point``; of all frames if it is None.

    Decoding begins at the resume point, whose frame must be the same as in the earlier run. Where it is not
    (not every file can be decoded from its middle), decoding begins at the start, and frames up to the resume
    point are skipped. A background thread decodes a few frames ahead.

    Args:
        source: the video.
        open_decoder: opens a decoder that begins with the frame of a resume point; for None, with the span.
        resume_point: where the earlier run stopped.

    Raises (while iterating):
        DecodeError: see ``Decoder``; or the frame of the resume point does not occur again.
    """

    def __init__(
        self,
        source: Source,
        open_decoder: Callable[[ResumePoint | None], Decoder],
        resume_point: ResumePoint | None,
    ) -> None:
        self._source, self._open_decoder, self._resume_point = source, open_decoder, resume_point
        self._decoder = open_decoder(resume_point)
        self._prefetcher: Prefetcher[Frame] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._prefetcher is not None:
            self._prefetcher.close()
        self._decoder.close()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Damage that was ignored or concealed; complete at the end of iteration."""
        return tuple(self._decoder.warnings)

    def raise_if_damaged(self) -> None:
        """See ``Decoder.raise_if_damaged``."""
        self._decoder.raise_if_damaged()

    def __iter__(self) -> Iterator[Frame]:
        frames = iter(self._decoder)
        if self._resume_point is not None and not self._starts_at_resume_point(frames):
            self._decoder.close()
            self._decoder = self._open_decoder(None)
            frames = self._skip_to_resume_point(iter(self._decoder))
        video = self._source.video
        frame_bytes = (
            video.width * video.height * (2 if video.is_high_bit_depth else 1) * (4 if video.has_alpha else 3)
        )
        self._prefetcher = Prefetcher(frames, queue_depth(frame_bytes), self._decoder.close)
        yield from self._prefetcher
        self.raise_if_damaged()

    def _starts_at_resume_point(self, frames: Iterator[Frame]) -> bool:
        try:
            return self._is_resume_frame(next(frames))
        except (StopIteration, InputError):  # also an image that is damaged
            return False

    def _skip_to_resume_point(self, frames: Iterator[Frame]) -> Generator[Frame]:
        assert self._resume_point is not None
        for frame in frames:
            if frame.pts >= self._resume_point.pts:
                if self._is_resume_frame(frame):
                    break
                raise self._mismatch_error()
        else:
            raise self._mismatch_error()
        yield from frames

    def _is_resume_frame(self, frame: Frame) -> bool:
        assert self._resume_point is not None
        return (frame.pts, frame_crc32(frame)) == (self._resume_point.pts, self._resume_point.crc32)

    def _mismatch_error(self) -> DecodeError:
        return DecodeError(
            f"{self._source.path}: its frames differ from those decoded before; "
            "use --no-resume to start again",
            resume_option=None,
        )
