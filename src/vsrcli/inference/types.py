"""The contract of the engine room: an upscaler is a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from vsrcli.frames.state import State


class Stream(Protocol):
    """One shot (or one tile of it) on its way through a network.

    Frames are float32 R'G'B' in [0, 1], shape (height, width, 3); results are float32 of shape
    (scale*height, scale*width, 3), clipped to [0, 1]. Results come in the order of the frames, one for each,
    possibly late: a network that looks three frames ahead answers its first frame at the fourth push.
    """

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        """Take the next frame; return the next finished one, or None while the network still looks ahead."""
        ...

    def flush(self) -> list[np.ndarray]:
        """End the shot: return every result still owed, in order. The stream is then spent."""
        ...

    def fork(self) -> Stream:
        """Another stream that is where this one is, and goes its own way from here on. Copies no picture."""
        ...

    def state(self) -> State:
        """What the stream remembers between two pushes: named arrays, copies that later pushes leave alone.

        A stream that has not been pushed yet has a state, too; one that was flushed has none of any use.
        """
        ...

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where another stream was: from here on, this one answers exactly as that one would have.

        Bit for bit on the same CPU and backend; a GPU's libraries may take other kernels in another process.
        Only for a stream fresh from :meth:`Engine.open`.

        Args:
            state: from :meth:`state` of a stream of the same network, precision and frame size.

        Raises:
            EngineError: it is not that; open a fresh stream then.
        """
        ...


class Engine(Protocol):
    """A network, compiled for a device. Knows nothing of files, tiles or shots.

    Attributes:
        scale: upscaling factor.
        radius: spatial receptive field radius in low-resolution pixels; tiles that share this much context
            on each side give the untiled result (a recurrent network's nearly so, see
            :meth:`~vsrcli.models.architectures.Architecture.radius`).
        lookahead: how many frames later an answer comes.
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
        """A fresh stream for frames of this size. Streams of one size share one compiled network.

        Raises:
            EngineError: the device has not enough memory for this size.
        """
        ...
