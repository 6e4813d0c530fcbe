"""Published data sets in miniature: folders as unpacked, with a few tiny frames of moving texture."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from PIL import Image

SIDE = 48  # of the truth


def frames(seed: int, count: int, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Return a smooth texture that moves by a pixel a frame, uint8 (count, height, width, 3)."""
    rng = np.random.default_rng(seed)
    size = ((width + count) // 3 + 2, (height + count) // 3 + 2)
    coarse = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    scene = np.asarray(coarse.resize((width + count, height + count), Image.Resampling.BICUBIC))
    return np.stack([scene[t : t + height, t : t + width] for t in range(count)])


def write_frames(folder: Path, clip: np.ndarray, name: str = "{:08d}.png", start: int = 0) -> Path:
    """Write frames as numbered PNGs."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(clip, start=start):
        Image.fromarray(pixels).save(folder / name.format(number))
    return folder


def shrink(clip: np.ndarray, scale: int = 4) -> np.ndarray:
    """Return every frame reduced by bicubic filtering."""
    size = clip.shape[2] // scale, clip.shape[1] // scale
    return np.stack([np.asarray(Image.fromarray(x).resize(size, Image.Resampling.BICUBIC)) for x in clip])


def write_reds(root: Path, *, count: int = 9, sequences: int = 2) -> Path:
    """Write REDS: sharp frames and their bicubic x4, to train and to validate on."""
    for split, seed in (("train", 0), ("val", 50)):
        for number in range(sequences):
            clip = frames(seed + number, count)
            write_frames(root / f"{split}_sharp" / f"{number:03d}", clip)
            write_frames(root / f"{split}_sharp_bicubic" / "X4" / f"{number:03d}", shrink(clip))
    return root


def write_vimeo(root: Path, *, septuplets: int = 3) -> Path:
    """Write Vimeo-90K septuplets: the last of them is to test on, all others to train on."""
    names = [f"00001/{number:04d}" for number in range(1, septuplets + 1)]
    for seed, name in enumerate(names):
        write_frames(root / "sequences" / name, frames(seed, 7), "im{}.png", start=1)
    (root / "sep_trainlist.txt").write_text("\n".join(names[:-1]) + "\n")
    (root / "sep_testlist.txt").write_text(names[-1] + "\n\n")
    return root


def write_benchmark(root: Path, *, lows: tuple[str, ...] = ("BDx4",)) -> Path:
    """Write a benchmark of two clips: truth in ``GT``, low resolution beside it."""
    for seed, name in enumerate(("calendar", "walk")):
        clip = frames(seed, 9)
        write_frames(root / "GT" / name, clip, "Frame {:03d}.png", start=1)
        for low in lows:
            write_frames(root / low / name, shrink(clip), "Frame {:03d}.png", start=1)
    return root


def write_video(path: Path, clip: np.ndarray, *, tags: tuple[int, int] = (1, 1)) -> Path:
    """Write H.264 of high quality; ``tags``: matrix (1: BT.709, 5: BT.601) and range (1: video, 2: full)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "3"})
        stream.width, stream.height, stream.pix_fmt = clip.shape[2], clip.shape[1], "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.colorspace, stream.codec_context.color_range = tags
        for pixels in clip:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(
                stream.encode(
                    frame.reformat(format="yuv420p", dst_colorspace=tags[0], dst_color_range=tags[1])
                )
            )
        container.mux(stream.encode(None))
    return path
