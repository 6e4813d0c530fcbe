"""Frames into picture files: what an encoder is to a film.

What of an EXR no network sees: values outside 0 to 1, and alpha; they are resampled and added again.

A network here is given codes of 0 to 1. What stands out above white (a lamp, a fire) or below black is
interpolated linearly: weights that are never negative draw no dark rings around a bright point. Alpha is
resampled as that of films is; an EXR's colours are multiplied by it, so they go through the network as they
look over black.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np

from vsrcli.errors import EncodeError
from vsrcli.frames.resample import resize
from vsrcli.images import exr, png
from vsrcli.images.encoding import encode_image_file
from vsrcli.images.metadata import ImageMetadata, read_metadata
from vsrcli.images.plan import ImagePlan
from vsrcli.images.probe import probe_image
from vsrcli.images.publish import ImageWorkDir, PendingImages, write_error, write_file
from vsrcli.images.reader import Image, read_image
from vsrcli.media.encoder import AtomicWriter
from vsrcli.media.segments import SegmentFile
from vsrcli.media.types import Frame, ImageSequence, Source
from vsrcli.system.files import publish_file, temporary_name
from vsrcli.system.threads import BackgroundWriter, queue_depth

_LARGEST = 65504.0  # of half floats


def restore_out_of_range(
    codes: np.ndarray, alpha: np.ndarray | None, old: Image | None, seen: tuple[float, float]
) -> Image:
    """A new picture's light.

    Args:
        codes: (H, W, 3), as upscaled.
        alpha: (H, W) codes, if they came with the frame: colours are not multiplied by it yet.
        old: the source's light, if it is of light.
        seen: shares of its width and height that are still there.
    """
    light = exr.srgb_to_linear(codes)
    if alpha is not None:
        opacity = alpha.astype(np.float32) / np.iinfo(alpha.dtype).max
        return Image(light * opacity[..., None], opacity)
    if old is None or old.pixels.dtype.kind != "f":
        return Image(light, None)
    height, width = codes.shape[:2]
    finite = np.nan_to_num(old.pixels, nan=0.0, posinf=_LARGEST, neginf=-_LARGEST).clip(-_LARGEST, _LARGEST)
    outside = finite - finite.clip(0, 1)
    if outside.any():
        light = light + resize(outside, height, width, "linear", visible_share=seen)
    if old.alpha is None:
        return Image(light, None)
    upscaled = resize(old.alpha[..., None], height, width, "bicubic", visible_share=seen)[..., 0]
    return Image(light, upscaled.clip(0, 1))


class ImageWriter(AtomicWriter):
    """A context manager that takes the upscaled frames of a segment in order.

    Leaving it normally moves the pictures to their places, all together; by an exception, removes them.

    Args:
        plan: of all pictures.
        source: what the frames are of.
        folder: where pictures are made; None: a single one, beside its place.
        begins: number of the first frame.

    Attributes:
        count: frames taken so far.
        segment: what has been written, once it is finished.
        warnings: none; a film's encoder has some.

    Raises:
        EncodeError: a picture cannot be encoded, or not be written.
    """

    def __init__(
        self, plan: ImagePlan, source: Source, folder: ImageWorkDir | None, *, begins: int = 0
    ) -> None:
        self.count = 0
        self.segment: SegmentFile | None = None
        self.warnings: list[str] = []
        self._plan, self._source, self._begins = plan, source, begins
        self._behind = BackgroundWriter(self._make, queue_depth(plan.width * plan.height * 8))
        self._batch = None
        if folder is not None:
            self._batch = PendingImages(folder, plan.targets.folder, overwrite=plan.overwrite)
        self._part = temporary_name(plan.target) if folder is None else None
        self._first = self._last = 0

    def write(self, frame: Frame) -> None:
        """Append a frame; it is encoded in a thread, a few frames later.

        Args:
            frame: pixels (plan.height, plan.width, 3); with ``alpha`` if the plan keeps it.

        Raises:
            EncodeError: this picture, or one before, cannot be written.
        """
        plan = self._plan
        if frame.pixels.shape != (plan.height, plan.width, 3) or (frame.alpha is None) == plan.alpha:
            raise ValueError(f"frame of shape {frame.pixels.shape}, alpha: {frame.alpha is not None}")
        if self._part is not None and self.count:
            raise EncodeError(f"{plan.target}: a second frame has come for one picture; use --frames 1")
        self._behind.put((frame, self._begins + self.count))
        self._first, self._last = (self._first if self.count else frame.pts), frame.pts
        self.count += 1

    def _finish(self) -> None:
        plan = self._plan
        if self.count == 0:
            raise EncodeError(
                f"{plan.display_name}: no frame was written, so there is no picture; choose another --start or --end"
            )
        self._behind.drain()
        if self._batch is not None:
            self.segment = self._batch.publish(self._first, self._last)
        elif self._part is not None:
            publish_file(self._part, plan.target, overwrite=plan.overwrite)

    def _discard(self) -> None:
        self._behind.cancel(lambda: None)
        if self._batch is not None:
            self._batch.discard()
        if self._part is not None:
            with contextlib.suppress(OSError):
                self._part.unlink()

    def _make(self, item: tuple[Frame, int]) -> None:
        """One picture: named, encoded, written."""
        import av

        frame, ordinal = item
        plan, source = self._plan, self._source if isinstance(self._source, ImageSequence) else None
        old = source.files[frame.pts] if source else None
        file = plan.targets.file(source.numbers[frame.pts] if source else ordinal + 1, old)
        pixels, alpha = frame.pixels, frame.alpha
        if plan.form.format == "EXR":
            before = read_image(old, probe_image(old)) if source and old and source.format == "EXR" else None
            made = restore_out_of_range(pixels, alpha, before, plan.visible_share)
            pixels, alpha = made.pixels, made.alpha
            if plan.form.alpha and alpha is None:  # of this one picture among others
                alpha = np.ones(pixels.shape[:2], np.float32)
        tags = ImageMetadata()
        if source and old:
            tags = read_metadata(old, source.format, (plan.width, plan.height))
        elif plan.cicp is not None:
            tags = replace(tags, chunks=(png.cicp_chunk(*plan.cicp),))
        if plan.sample_aspect_ratio != 1:  # which takes the place of a size
            others = tuple(chunk for chunk in tags.chunks if chunk[0] != b"pHYs")
            tags = replace(tags, chunks=(*others, png.aspect_chunk(plan.sample_aspect_ratio)), dpi=None)
        try:
            content = encode_image_file(plan.form, pixels, alpha, tags)
        except (ValueError, OSError, av.FFmpegError) as error:
            raise EncodeError(
                f"{file} cannot be encoded as {plan.form.format} ({error}): choose another format"
            ) from error
        if self._batch is not None:
            self._batch.add(file.name, content)
        elif self._part is not None:
            try:
                write_file(self._part, content)
            except OSError as error:
                raise write_error(file, error) from error
