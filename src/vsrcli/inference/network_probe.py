"""Experiments that tell what a network of somebody else's is and needs, on small frames.

Nothing that a file states is believed where running the network can tell it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from vsrcli.frames.tiling import min_tile_side
from vsrcli.inference.imported import from_network, to_network
from vsrcli.inference.network_runner import (
    NAMES,
    KerasRunner,
    OnnxRunner,
    RuntimeRefusedError,
    UnusableError,
    installed_runtimes,
    is_interpolation,
    luma,
    moving_picture,
    psnr,
    read_interface,
)
from vsrcli.models.imported import UNKNOWN_BYTES_PER_PIXEL, ModelDescription, NetworkFile, input_shape
from vsrcli.system.resources import peak_memory, reset_peak_memory
from vsrcli.system.text import last_line

MAX_TILE_ERROR = 1e-3
_RESEMBLANCE, _CLOSE = 20.0, 30.0  # dB of a result that is possible, and good
_MUCH_BETTER = 6.0  # dB
_MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
_TILE_STARTS = (61, 62, 68, 88, 16, 32, 64)  # for _MULTIPLES: of no other usual side of blocks, as 56 is of 7
_OVERLAPS = (8, 16, 24, 32, 40, 48, 64)
_WHOLE, _TILE = 160, 96  # sides of the frames by which the overlap is measured
_GLOBAL_OPERATORS = {"InstanceNormalization", "GlobalAveragePool", "GlobalMaxPool"}


class NetworkProbe:
    """Experiments with a network, in this process.

    Args:
        path: of the file.
        sha256: of the network's files.
        file: what was read from it.
        on_step: called with the name of each step before it starts, in the present participle.

    Attributes:
        found: what is known so far.

    Raises:
        UnusableError: the input is not that of an upscaler, or nothing runs the file.
    """

    def __init__(self, path: Path, sha256: str, file: NetworkFile, on_step: Callable[[str], None]) -> None:
        self.path, self.file, self._on_step, self._step = path, file, on_step, ""
        self.found = read_interface(file, sha256)
        self._runtimes = installed_runtimes() if file.format == "onnx" else []
        self._runner: OnnxRunner | KerasRunner | None = None

    def describe(self) -> ModelDescription:
        """Describe the network.

        Raises:
            UnusableError: it is no upscaler, or does not run.
        """
        self._load()
        self._begin("measuring the overlap of its tiles")
        if self.found.fixed_size:
            self._find_overlap_of_fixed(*self.found.fixed_size)
        else:
            self._find_overlap()
        engine = self._loaded.engine
        self.found = replace(self.found, engine=engine, multiply_adds=self._multiply_adds())
        return self.found

    def _load(self) -> None:
        """Load the network and find its output, on the first runtime that runs it."""
        stated, refused = self.found, ""
        for runtime in self._runtimes or [""]:
            self.found = replace(stated, notices=(refused,) if refused else ())
            self._begin("loading it")
            try:
                if self._runtimes:
                    self._runner = OnnxRunner(self.path, self.file, runtime)
                else:
                    self._runner = KerasRunner(self.path)
                self._find_output()
                return
            except RuntimeRefusedError as error:
                refused = f"{refused}; {error}" if refused else str(error)
        if self._runtimes == ["openvino"]:
            refused += "; ONNX Runtime may run it: pip install 'vsrcli[onnxruntime]'"
        raise UnusableError(refused)

    @property
    def _loaded(self) -> OnnxRunner | KerasRunner:
        assert self._runner is not None
        return self._runner

    def run(self, frames: np.ndarray) -> np.ndarray:
        """Return the result (H, W, C) for frames (T, H, W, 3).

        Raises:
            UnusableError: the network fails at this size.
        """
        height, width = frames.shape[1:3]
        array = to_network(self.found, frames)
        try:
            raw = self._compute(array, height, width)
        except MemoryError:
            raise
        except Exception as error:  # of a runtime, in many classes
            raise UnusableError(
                f"it does not run{self._on_runtime} on frames of {width}x{height}: {last_line(error)}"
            ) from error
        return from_network(self.found, raw)

    def _begin(self, step: str) -> None:
        self._step = step
        self._on_step(step)

    def _compute(self, array: np.ndarray, height: int, width: int) -> np.ndarray:
        """Return the raw result; a large network may take minutes for each size."""
        self._on_step(f"{self._step}, at {width}x{height}")
        return self._loaded.run(array)

    def _find_output(self) -> None:
        """Find the first output that resembles the frame, with its sizes and range."""
        stated, failures = self.found, []
        for number in range(len(self.file.outputs) if self.file.format == "onnx" else 1):
            self._loaded.output, self.found = number, stated
            if number:
                self.found = replace(stated, output_name=self.file.outputs[number].name)
            try:
                self._begin("finding its factor and sizes")
                self._find_sizes()
                self._begin("finding its range of values")
                self._find_range()
            except UnusableError as error:
                failures.append(error)
            else:
                return
        raise failures[0]

    def _try(self, height: int, width: int) -> tuple[int, int] | None:
        """Return the sides of the result, or None if the network fails at this size."""
        shape = input_shape(self.found, height, width)
        try:
            raw = self._compute(np.full(shape, 0.5, np.float32), height, width)
        except Exception as error:  # of a runtime, in many classes
            self._failure = last_line(error)
            return None
        sides = raw.shape[1:3] if self.found.layout == "nhwc" else raw.shape[-2:]
        channels = raw.shape[-1] if self.found.layout == "nhwc" else raw.shape[-3] if raw.ndim > 2 else 0
        expected = 1 if self.found.kind == "luma" else 3
        if (
            raw.ndim not in (4, 5)
            or channels != expected
            or math.prod(raw.shape) != channels * math.prod(sides)
        ):
            raise UnusableError(f"its result {list(raw.shape)} is no frame of {expected} channels")
        return int(sides[0]), int(sides[1])

    def _find_sizes(self) -> None:
        """Find factor, margin, multiple and least side."""
        if fixed := self.found.fixed_size:
            before = reset_peak_memory()
            result = self._try(*fixed)
            if before and (grown := peak_memory() - before) > 0:
                bytes_per_pixel = math.ceil(1.25 * grown / math.prod(fixed))
                self.found = replace(self.found, bytes_per_pixel=bytes_per_pixel)
            if result is None:
                raise RuntimeRefusedError(f"it does not run{self._on_runtime}: {self._failure}")
            if result[0] % fixed[0] or result[0] * fixed[1] != result[1] * fixed[0]:
                raise UnusableError(f"{fixed[1]}x{fixed[0]} become {result[1]}x{result[0]}, no whole factor")
            self.found = replace(self.found, scale=self._checked_scale(result[0] // fixed[0]))
            return
        large, larger = self._try(64, 64), self._try(128, 128)
        if large is None or larger is None:
            raise RuntimeRefusedError(
                f"it does not run{self._on_runtime} on frames of 64x64 and 128x128: {self._failure}"
            )
        scale, remainder = divmod(larger[0] - large[0], 64)
        margin = 64 * scale - large[0]
        if remainder or large[0] != large[1] or margin < 0:
            raise UnusableError(f"64x64 become {large[1]}x{large[0]}, 128x128 {larger[1]}x{larger[0]}")
        self._checked_scale(scale)

        def fits(height: int, width: int) -> bool:
            return self._try(height, width) == (scale * height - margin, scale * width - margin)

        multiple = 1 if fits(63, 65) else next((m for m in _MULTIPLES[1:] if fits(64 - m, 64 + m)), 64)
        sides = sorted({multiple * -(-side // multiple) for side in (1, 4, 8, 16, 32)})
        least = next((s for s in sides if scale * s > margin and fits(s, s)), 64)
        self.found = replace(self.found, scale=scale, margin=margin, multiple=multiple, min_side=least)

    @property
    def _on_runtime(self) -> str:
        return f" on {NAMES[self._loaded.engine]}" if self._runtimes else ""

    def _checked_scale(self, scale: int) -> int:
        if not 1 <= scale <= 8:
            raise UnusableError(f"it scales by {scale}, and 1 to 8 are possible")
        return scale

    def _find_range(self) -> None:
        """Find value range and order by how much the result resembles the picture.

        The first one that is close is taken. A less close one may be chance: a network for 0 to 255 can be
        fair on values up to 1, nearly black to it. Then another is taken if much better, but not a mere
        interpolation: to values up to 255, networks for 0 to 1 that normalize features add next to nothing.

        Networks for B'G'R' mostly resemble R'G'B', too, and are taken for such: a user can state the order.
        """
        height, width = self.found.fixed_size or (64, 64)
        frames = moving_picture(height, width, self.found.frames)
        shown = luma(frames) if self.found.kind == "luma" else frames
        measured, resembling = [], {}
        for bgr in (False, True) if self.found.kind != "luma" else (False,):
            for white in (1.0, 255.0):
                self.found = replace(self.found, value_range=white, bgr=bgr)
                result = self.run(frames)
                of_frames = [self._likeness(result, frame) for frame in shown]
                centre = of_frames[len(frames) // 2]
                measured.append(centre)
                if centre <= _RESEMBLANCE or centre < max(of_frames):
                    continue
                if not (resembling and is_interpolation(result, shown[len(frames) // 2], self.found)):
                    resembling[white, bgr] = centre
        if not resembling:
            best = max(measured)
            raise UnusableError(
                f"its result does not resemble the frame ({best:.1f} dB at best): no upscaler?"
            )
        chosen, first = next(iter(resembling.items()))
        if first < _CLOSE:
            enough = max(resembling.values()) - _MUCH_BETTER
            chosen = next(each for each, likeness in resembling.items() if likeness >= enough)
        self.found = replace(self.found, value_range=chosen[0], bgr=chosen[1])

    def _likeness(self, result: np.ndarray, frame: np.ndarray) -> float:
        """Return the PSNR of a result, shrunk to the frame's size."""
        scale, margin = self.found.scale, self.found.margin
        skipped = -(-margin // (2 * scale))  # pixels of the frame without a whole block of the result
        start = scale * skipped - margin // 2
        rows, columns = ((side - start) // scale for side in result.shape[:2])
        rows, columns = min(rows, frame.shape[0] - 2 * skipped), min(columns, frame.shape[1] - 2 * skipped)
        block = result[start : start + scale * rows, start : start + scale * columns]
        shrunk = block.reshape(rows, scale, columns, scale, -1).mean(axis=(1, 3))
        expected = frame[skipped : skipped + rows, skipped : skipped + columns]
        return psnr(shrunk, expected)

    def _find_overlap(self) -> None:
        """Find overlap, memory and time from a frame and tiles in two of its corners.

        A tile that begins elsewhere than the frame can differ where the network pads frames to blocks or
        windows: then tiles begin at multiples of their side.
        """
        tile, whole = (self._allowed_side(side) for side in (_TILE, _WHOLE))
        frames = moving_picture(whole, whole, self.found.frames)
        part = self.run(frames[:, :tile, :tile]).clip(0, 1)
        start = time.perf_counter()
        self.run(frames[:, :tile, :tile])
        seconds = time.perf_counter() - start
        bytes_per_pixel = UNKNOWN_BYTES_PER_PIXEL
        before = reset_peak_memory()
        complete = self.run(frames).clip(0, 1)
        if before and (grown := peak_memory() - before) > 0:
            bytes_per_pixel = math.ceil(1.25 * grown / whole**2)
        self.found = replace(self.found, bytes_per_pixel=bytes_per_pixel, seconds_per_pixel=seconds / tile**2)
        rows, columns = part.shape[:2]
        error = np.abs(part - complete[:rows, :columns]).max(axis=2)
        scale, margin = self.found.scale, self.found.margin

        def error_of_first(overlap: int) -> float:
            kept = scale * (tile - overlap) - margin // 2
            return float(error[:kept, :kept].max())

        sides = [each for each in _OVERLAPS if each >= self._border] or [self._border]
        differs: tuple[Callable[[int], float], bool] | None = None
        for multiple in (each for each in _MULTIPLES if each % self.found.multiple == 0):
            error_of_last = self._error_of_last_tile(frames, complete, multiple)

            def error_at(overlap: int, error_of_last: Callable[[int], float] = error_of_last) -> float:
                return max(error_of_first(overlap), error_of_last(overlap))

            least = next((each for each in sides if error_at(each) <= MAX_TILE_ERROR), None)
            if least is not None:
                self.found = replace(self.found, multiple=multiple, overlap=least, tile_error=error_at(least))
                return
            differs = differs or (error_at, self._sees_whole_frame(error_at))
            if error_of_first(sides[-1]) > MAX_TILE_ERROR:
                break  # wherever tiles begin
        assert differs is not None  # the multiple that was found is one of them
        error_at, whole_frames = differs
        overlap, largest = sides[-1], error_at(sides[-1])
        notice = f"tiles with {overlap} pixels of context differ from whole frames {_up_to(largest)}"
        self.found = replace(
            self.found,
            overlap=overlap,
            tile_error=largest,
            whole_frames=whole_frames,
            notices=(*self.found.notices, notice),
        )

    def _error_of_last_tile(
        self, frames: np.ndarray, complete: np.ndarray, multiple: int
    ) -> Callable[[int], float]:
        """Return the largest difference between a frame's result and that of a tile by the tile's context.

        The tile ends with the frame, and begins at a multiple of ``multiple``.
        """
        shift = _TILE_STARTS[_MULTIPLES.index(multiple)]
        scale, margin = self.found.scale, self.found.margin
        part = self.run(frames[:, shift:, shift:]).clip(0, 1)
        error = np.abs(part - complete[scale * shift :, scale * shift :]).max(axis=2)

        def error_at(overlap: int) -> float:
            cut = max(scale * overlap - margin // 2, 0)
            return float(error[cut:, cut:].max())

        return error_at

    @property
    def _border(self) -> int:
        """Pixels at each edge of a tile that a network without padding gives by reflected ones alone."""
        return -(-self.found.margin // (2 * self.found.scale))

    def _find_overlap_of_fixed(self, height: int, width: int) -> None:
        """Find overlap and time from two frames that are cut from one picture, where both show the same.

        If results differ by where the cut is, the network works on blocks: then by multiples of their side.
        """
        frames = moving_picture(height, width, self.found.frames)
        start = time.perf_counter()
        self.run(frames)
        seconds = (time.perf_counter() - start) / (height * width)
        side = min(height, width) - 2 * self._border  # of a tile, half of which at most is context
        most = max(min(side // 4, (side - min_tile_side(0)) // 2), 0)
        found = replace(self.found, overlap=min(self.found.overlap, most), seconds_per_pixel=seconds)
        notice = "frames of one size only, too small to measure the overlap of tiles"
        for multiple in _MULTIPLES:
            longest = min(most, (side - min_tile_side(0, multiple=multiple)) // 2)
            overlaps = [each for each in _OVERLAPS if self._border <= each <= longest]
            if not overlaps:
                break
            error_at = self._error_of_cuts(height, width, multiple)
            for overlap in (each for each in overlaps if error_at(each) < math.inf):
                error = error_at(overlap)
                if error <= MAX_TILE_ERROR:
                    self.found = replace(found, multiple=multiple, overlap=overlap, tile_error=error)
                    return
                if multiple == 1:
                    found = replace(found, overlap=overlap, tile_error=error)
                    notice = f"tiles with {overlap} pixels of context differ from each other {_up_to(error)}"
        self.found = replace(found, notices=(*found.notices, notice))

    def _error_of_cuts(self, height: int, width: int, multiple: int) -> Callable[[int], float]:
        """Return the largest difference of two frames by the context that a pixel has in both.

        The second frame lies about a quarter of a side to the right and below, by an odd ``multiple``. The
        difference is infinity where no pixel has so much context.
        """
        shift = multiple * (max(min(height, width) // (4 * multiple), 1) | 1)
        frames = moving_picture(height + shift, width + shift, self.found.frames)
        first = self.run(frames[:, :height, :width]).clip(0, 1)
        second = self.run(frames[:, shift:, shift:]).clip(0, 1)
        scale, margin = self.found.scale, self.found.margin
        rows, columns = (side - scale * shift for side in first.shape[:2])
        if min(rows, columns) <= 0:
            return lambda overlap: math.inf
        error = np.abs(first[-rows:, -columns:] - second[:rows, :columns]).max(axis=2)

        def error_at(overlap: int) -> float:
            cut = max(scale * overlap - margin // 2, 0)
            kept = error[cut : rows - cut, cut : columns - cut]
            return float(kept.max()) if 2 * cut < min(rows, columns) else math.inf

        return error_at

    def _sees_whole_frame(self, error_at: Callable[[int], float]) -> bool:
        """Return whether tiles differ however much context they have: an operator reads the whole frame.

        The influence of far pixels on a convolutional network fades; that of a mean over the frame does not.
        """
        if _GLOBAL_OPERATORS & set(self.file.operators):
            return True
        return error_at(_OVERLAPS[-1]) > 0.3 * error_at(_OVERLAPS[1])

    def _allowed_side(self, side: int) -> int:
        return -(-side // self.found.multiple) * self.found.multiple

    def _multiply_adds(self) -> int:
        if self.file.format != "onnx":
            return int(getattr(self._loaded, "multiply_adds", 0))
        from vsrcli.models.onnx_files import count_multiply_adds

        height, width = self.found.fixed_size or (self._allowed_side(64),) * 2
        return count_multiply_adds(self.path, input_shape(self.found, height, width)) // (height * width)


def _up_to(error: float) -> str:
    return f"by up to {255 * error:.1f} codes of 8 bits"
