"""The path can be left behind any group of frames and taken up elsewhere."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
from fake_engine import Mixing

from vsrcli.media.types import Frame
from vsrcli.pipeline.shot_upscaler import ShotUpscaler

HEIGHT, WIDTH = 36, 64


def film(*, deep: bool = False, alpha: bool = False) -> list[Frame]:
    """Three shots of textures that drift; the second is a single frame."""
    rng, frames = np.random.default_rng(3), []
    top = 65535 if deep else 255
    for length in (6, 1, 5):
        texture = rng.random((HEIGHT // 4, WIDTH // 4, 3)).repeat(4, 0).repeat(4, 1)
        for shift in range(length):
            pixels = (np.roll(texture, shift, 1) * top).astype(np.uint16 if deep else np.uint8)
            matte = pixels[..., 0].copy() if alpha else None
            frames.append(Frame(pixels, 1001 * len(frames), Fraction(1, 24000), matte))
    return frames


def through_a_file(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    file = io.BytesIO()
    np.savez(file, **state)  # type: ignore[arg-type]
    file.seek(0)
    return dict(np.load(file, allow_pickle=False))


def assert_same(found: list[Frame], wanted: list[Frame]) -> None:
    assert [frame.time for frame in found] == [frame.time for frame in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.pixels.dtype == other.pixels.dtype
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert (one.alpha is None) == (other.alpha is None)
        if one.alpha is not None:
            np.testing.assert_array_equal(one.alpha, other.alpha)


@pytest.mark.parametrize("kind", [{}, {"deep": True}, {"alpha": True}])
def test_every_moment(kind: dict[str, bool]) -> None:
    frames = film(**kind)
    path = ShotUpscaler(lambda: Mixing(HEIGHT, WIDTH))
    wanted = list(path.upscale(frames))
    assert [frame.time for frame in wanted] == [frame.time for frame in frames]
    assert path.count == 3

    path, found, moments = ShotUpscaler(lambda: Mixing(HEIGHT, WIDTH)), [], []
    for group in path.upscale_grouped(frames):
        found += group
        moments.append((through_a_file(path.state()), list(found), path.at_shot_boundary))
    assert [between for *_, between in moments].count(True) == 3

    for state, done, between in moments:
        other = ShotUpscaler(lambda: Mixing(HEIGHT, WIDTH), state)
        assert other.at_shot_boundary == between
        seen = other.last_input
        assert seen is not None
        assert seen.pts == frames[seen.frame_count - 1].pts
        rest = [frame for group in other.upscale_grouped(frames[seen.frame_count :]) for frame in group]
        assert_same(done + rest, wanted)
        assert other.count == 3


def test_no_frames() -> None:
    path = ShotUpscaler(lambda: Mixing(HEIGHT, WIDTH))
    assert list(path.upscale_grouped([])) == []
    assert path.last_input is None
    assert ShotUpscaler(lambda: Mixing(HEIGHT, WIDTH), path.state()).last_input is None
