"""Write upscaled frames as image files, the counterpart of a video encoder.

Networks take codes of 0 to 1, so an EXR's values outside that range and its alpha bypass them: they are
resampled and restored in the upscaled image. Values above white (a lamp, a fire) or below black are
interpolated linearly, since weights that are never negative draw no dark rings around a bright point. Alpha
is resampled like that of videos. An EXR's colours are premultiplied by alpha, so the network processes them
as if over black.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vsrcli.errors import EncodeError, InputError
from vsrcli.frames.resample import resize
from vsrcli.images import exr, png
from vsrcli.images.encoding import encode_image_file
from vsrcli.images.metadata import ImageMetadata, read_metadata
from vsrcli.images.plan import ImagePlan
from vsrcli.images.publish import ImageWorkDir, OutputFolder, PendingImages, write_error
from vsrcli.images.reader import Image, read_image_of
from vsrcli.media.encoder import FrameWriter
from vsrcli.media.ffmpeg_writer import SegmentFile
from vsrcli.media.types import Frame, ImageSequence, Source
from vsrcli.system.files import fsync_path, publish_file, remove_temporary, temporary_name
from vsrcli.system.threads import BackgroundWriter, queue_depth

_MAX_HALF_FLOAT = 65504.0  # of half floats


def restore_out_of_range(
    codes: np.ndarray,
    alpha: np.ndarray | None,
    source_image: Image | None,
    visible_share: tuple[float, float],
) -> Image:
    """Return the linear light of an upscaled image, premultiplied, with values outside 0 to 1 restored.

    Args:
        codes: (H, W, 3), as upscaled.
        alpha: (H, W) codes if the frame has alpha, which means that its colours are straight; else None.
        source_image: the source frame; values and alpha are restored from it if it holds linear light.
        visible_share: shares of its width and height that are left after cropping.
    """
    light = exr.srgb_to_linear(codes)
    if alpha is not None:
        opacity = alpha.astype(np.float32) / np.iinfo(alpha.dtype).max
        return Image(light * opacity[..., None], opacity)
    if source_image is None or source_image.pixels.dtype.kind != "f":
        return Image(light, None)
    height, width = codes.shape[:2]
    finite = np.nan_to_num(source_image.pixels, nan=0.0).clip(-_MAX_HALF_FLOAT, _MAX_HALF_FLOAT)
    outside = finite - finite.clip(0, 1)
    if outside.any():
        light = light + resize(outside, height, width, "linear", visible_share=visible_share)
    if source_image.alpha is None:
        return Image(light, None)
    opacity = source_image.alpha[..., None]
    upscaled = resize(opacity, height, width, "bicubic", visible_share=visible_share)
    return Image(light, upscaled[..., 0].clip(0, 1))


class ImageWriter(FrameWriter):
    """A context manager that writes the upscaled frames of a segment, in order, as images.

    Leaving it normally publishes all images together; leaving it by an exception removes them.

    Args:
        plan: of the whole output.
        source: of the frames.
        workdir: where images are written first; None for a single image, written next to its target.
        first_index: index of the first frame in the output.

    Attributes:
        count: frames taken so far.
        segment: the segment's list of images, once it is published; None for a single image.

    Raises:
        EncodeError: an image cannot be encoded or written.
    """

    def __init__(
        self, plan: ImagePlan, source: Source, workdir: ImageWorkDir | None, *, first_index: int = 0
    ) -> None:
        self.count = 0
        self._plan, self._source, self._first_index = plan, source, first_index
        self._background = BackgroundWriter(self._write_image, queue_depth(plan.width * plan.height * 8))
        self._pending = PendingImages(workdir, overwrite=plan.overwrite) if workdir is not None else None
        self._part_file = temporary_name(plan.target)  # of a single image
        self._folder = OutputFolder(plan.naming.folder)  # of a single image; that of others is the workdir's
        self._first_pts = self._last_pts = 0
        self._source_image: Image | None = None  # of the last frame, if it is linear light

    def start(self) -> None:
        if self._pending is None:
            self._folder.create()

    def write(self, frame: Frame) -> None:
        """Append a frame; a background thread encodes it, a few frames later.

        Args:
            frame: pixels (plan.height, plan.width, 3); with ``alpha`` if and only if ``plan.alpha``.

        Raises:
            EncodeError: this image, or an earlier one, cannot be written.
            ValueError: the frame does not fit the plan.
        """
        plan = self._plan
        if frame.pixels.shape != (plan.height, plan.width, 3) or (frame.alpha is None) == plan.alpha:
            raise ValueError(f"frame of shape {frame.pixels.shape}, alpha: {frame.alpha is not None}")
        if self._pending is None and self.count:
            raise EncodeError(f"{plan.target}: a second frame has come for one image; use --frames 1")
        self._background.put((frame, self._first_index + self.count))
        self._first_pts, self._last_pts = (self._first_pts if self.count else frame.pts), frame.pts
        self.count += 1

    def _publish(self) -> SegmentFile | None:
        plan = self._plan
        if self.count == 0:
            raise EncodeError(
                f"{plan.display_name}: no frame was written, so there is no image; choose another --start or "
                "--end"
            )
        self._background.drain()
        if self._pending is not None:
            return self._pending.publish(self._first_pts, self._last_pts)
        publish_file(self._part_file, plan.target, overwrite=plan.overwrite)
        return None

    def abort(self) -> None:
        self._background.cancel(lambda: None)
        remove_temporary(self._part_file)
        self._folder.remove_if_empty()
        if self._pending is not None:
            self._pending.discard()

    def _write_image(self, item: tuple[Frame, int]) -> None:
        """Encode and write one frame; ``item`` is the frame and its index in the output."""
        import av

        frame, index = item
        plan, source = self._plan, self._source.images
        source_file = source.files[frame.pts] if source else None
        file = plan.naming.path_for(source.numbers[frame.pts] if source else index + 1, source_file)
        pixels, alpha = frame.pixels, frame.alpha

        # EXR: linear light, with the values that bypassed the network
        if plan.image_format.format == "EXR":
            source_image = None
            if source and source.format == "EXR":
                source_image = self._source_image = self._read_source_image(source, frame.pts)
            restored = restore_out_of_range(pixels, alpha, source_image, plan.visible_share)
            pixels, alpha = restored.pixels, restored.alpha
            if plan.image_format.has_alpha and alpha is None:  # other images of the sequence have alpha
                alpha = np.ones(pixels.shape[:2], np.float32)

        # Metadata: inherited from the source image, or HDR tags of a video; the aspect ratio from the plan
        metadata = ImageMetadata()
        if source and source_file:
            metadata = read_metadata(source_file, source.format, (plan.width, plan.height))
        elif plan.cicp is not None:
            metadata = replace(metadata, chunks=(png.cicp_chunk(*plan.cicp),))
        if plan.sample_aspect_ratio != 1:  # pHYs states either an aspect ratio or a density
            chunks = tuple(chunk for chunk in metadata.chunks if chunk[0] != b"pHYs")
            chunks = (*chunks, png.aspect_chunk(plan.sample_aspect_ratio))
            metadata = replace(metadata, chunks=chunks, dpi=None)

        # Encode and write
        try:
            content = encode_image_file(plan.image_format, pixels, alpha, metadata)
        except (ValueError, OSError, av.FFmpegError) as error:
            raise EncodeError(
                f"{file} cannot be encoded as {plan.image_format.format} ({error}): choose another format"
            ) from error
        try:
            part = self._pending.new_part(file.name) if self._pending is not None else self._part_file
            part.write_bytes(content)
            fsync_path(part)
        except OSError as error:
            raise write_error(file, error) from error

    def _read_source_image(self, source: ImageSequence, index: int) -> Image:
        """Return the image that the decoder has made a frame of: instead of a damaged one, that before it.

        Raises:
            InputError: neither it nor any before it can be read.
        """
        damage: InputError | None = None
        for place in range(index, -1, -1):
            try:
                return read_image_of(source, place)
            except InputError as error:
                damage = damage or error
                if self._source_image is not None:
                    return self._source_image
        assert damage is not None
        raise damage
