"""The contract of inference: an engine opens streams, a stream turns frames into upscaled frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vsrcli.frames.state import State

RawNetwork = Callable[[np.ndarray], np.ndarray]
"""From a network's input array to its output array, float32 both, in its own layout and range."""


class Stream(Protocol):
    """One shot, or one tile of it, on its way through a network.

    Frames are float32 R'G'B' in [0, 1], shape (height, width, 3); results are float32 of shape
    (scale*height, scale*width, 3), clipped to [0, 1]. There is one result per frame, in the order of the
    frames, possibly late: a network with a lookahead of three returns its first result at the fourth push.
    """

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        """Process the next frame; return the next result, or None while none is ready."""
        ...

    def flush(self) -> list[np.ndarray]:
        """End the shot: return all remaining results, in order. The stream cannot be used afterwards."""
        ...

    def fork(self) -> Stream:
        """Return an independent stream at the same position. Copies no frame."""
        ...

    def state(self) -> State:
        """Return the stream's state between two pushes: named arrays, copies that later pushes do not change.

        Defined before the first push, too; undefined after :meth:`flush`.
        """
        ...

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue where another stream was: results from here on equal those of that stream.

        Bit for bit on the same CPU and backend; a GPU's libraries may choose other kernels in another
        process. Call only on a fresh stream from :meth:`Engine.open`.

        Args:
            state: from :meth:`state` of a stream of the same network, precision and frame size.

        Raises:
            EngineError: the state is of another kind of stream; this stream is then undefined.
        """
        ...

    def take_overdue(self) -> np.ndarray | None:
        """Return the next result if it is later than those of a fresh stream are; None if it is not.

        After :meth:`restore`, a stream may hold more results than it has to: where the other one's came
        later. To be called until it returns None, before the first push.
        """
        return None


class Engine(Protocol):
    """A network on a device. Independent of files, tiles and shots.

    Attributes:
        scale: upscaling factor.
        radius: spatial receptive field radius in low-resolution pixels; tiles with this much context on each
            side give the untiled result (for a recurrent network nearly, see
            :meth:`~vsrcli.models.architectures.Architecture.radius`).
        lookahead: number of frames by which results are late.
        precision: ``fp32``, ``fp16`` or ``bf16``.
        on_gpu: whether a GPU computes.
        description: one line for people: device and precision.
    """

    scale: int
    radius: int
    lookahead: int
    precision: str
    on_gpu: bool
    description: str

    def open(self, height: int, width: int) -> Stream:
        """Return a fresh stream for frames of this size. Streams of one size share one compiled network.

        Raises:
            EngineError: the device has not enough memory for this size.
        """
        ...


@dataclass(frozen=True)
class Compiler:
    """A network that others have trained, on an engine; see :mod:`vsrcli.inference.imported`.

    Attributes:
        compile_raw: returns the network for frames of (height, width), sides that it takes.
        place: device and engine, for people.
        precision: ``fp32``, ``fp16`` or ``bf16``.
        on_gpu: whether a GPU computes.
    """

    compile_raw: Callable[[int, int], RawNetwork]
    place: str
    precision: str
    on_gpu: bool = False
