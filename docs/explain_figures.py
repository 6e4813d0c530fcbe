"""Make the figures of docs/explain.md: `python docs/explain_figures.py [motion] [kernels] [example]`.

*motion* is the synthetic test of Jo et al., "Deep Video Super-Resolution Network Using Dynamic Upsampling
Filters Without Explicit Motion Compensation", CVPR 2018, section 4.1: a bar moves to the left in one window
and to the right in the other, and the middle frame is the same in both. The filters should agree, since they
serve the same picture, and the activations before them should not. It runs for every network in weights/ that
sees a window of frames and carries no state, prints a table, and draws docs/images/explain-motion.png.

*kernels* shows what the first layers of duf-s have learnt, and what they take out of a frame of the example:
docs/images/explain-kernels.jpg. *example* writes the picture and screenshots of the page of `vsr explain`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vsrcli.evaluate.crops import BACKGROUND, FOREGROUND, enlarge
from vsrcli.explain import figures
from vsrcli.explain.filters import softmax
from vsrcli.explain.networks import Examined, KerasNetwork, filter_layers, middle_of, open_networks
from vsrcli.inference.selection import ModelChoice
from vsrcli.models.weights import list_weights

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images"
EXAMPLE = DOCS.parent / "examples" / "butterfly_240x136.mp4"
HEIGHT, WIDTH, BAR, DARK, BRIGHT = 36, 72, 5, 0.15, 0.85
SPEEDS = (1, 2, 4)  # source pixels from frame to frame
REGION = np.s_[8:-8, 24:48]  # where the bar is and was, away from the edges
MUTED = (160, 166, 176)


def moving_bar(direction: int, speed: int, frames: int = 7) -> np.ndarray:
    """Return a window (frames, 36, 72, 3) of a bar that moves to the right (1) or to the left (-1)."""
    window = np.full((frames, HEIGHT, WIDTH, 3), DARK, np.float32)
    for number in range(frames):
        left = WIDTH // 2 - BAR // 2 + direction * speed * (number - frames // 2)
        window[number, :, left : left + BAR] = BRIGHT
    return window


def windowed_networks() -> list[ModelChoice]:
    """Return the networks that come with the program and see a window, without a state."""
    return [
        ModelChoice(weights.architecture, weights, weights.scale)
        for weights in list_weights()
        if weights.architecture.kind in ("window", "cached")
    ]


@dataclass(frozen=True)
class MotionTest:
    """What two windows with the same middle frame have in common.

    Attributes:
        name: of the network.
        speed: of the bar.
        filters: correlation of all taps of all filters.
        filter_changes: the same without the mean of each tap over the region, so that only differences
            between pixels count.
        layers: correlation of activations by name of the layer; the first sees single frames.
        most: layers that see several frames, the least alike first.
        result_steps: mean difference of the results, in steps of 8 bits.
    """

    name: str
    speed: int
    filters: float
    filter_changes: float
    layers: dict[str, float]
    result_steps: float

    @property
    def most(self) -> list[str]:
        return sorted((name for name, value in self.layers.items() if value < 1 - 1e-6), key=self.layers.get)  # type: ignore[arg-type]


def test_motion(network: KerasNetwork, name: str, speed: int) -> MotionTest:
    """Run both windows."""
    names = filter_layers(network)
    assert names is not None
    levels, scale = network.levels, network.scale
    both = [network.trace(moving_bar(direction, speed), levels) for direction in (-1, 1)]

    def inside(layer: str) -> list[np.ndarray]:
        return [middle_of(layers[layer], 2 * levels + 1, levels)[REGION] for _, layers in both]

    left, right = (softmax(logits) for logits in inside(names[0]))
    means = [filters.mean(axis=(0, 1)) for filters in (left, right)]
    rows, columns = (slice(scale * part.start, scale * part.stop) for part in REGION)
    difference = np.abs(both[0][0] - both[1][0])[rows, columns]
    return MotionTest(
        name,
        speed,
        correlation(left, right),
        correlation(left - means[0], right - means[1]),
        {layer: correlation(*inside(layer)) for layer in network.layers if layer not in names},
        255 * float(difference.mean()),
    )


test_motion.__test__ = False  # type: ignore[attr-defined] # pytest: a function of this file, not a test


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Pearson's correlation of all values."""
    a, b = a.astype(np.float64).ravel() - a.mean(), b.astype(np.float64).ravel() - b.mean()
    return float((a * b).sum() / max(np.sqrt((a * a).sum() * (b * b).sum()), 1e-20))


def motion() -> None:
    """Print the table, draw the figure."""
    networks = [(choice, open_networks(choice)) for choice in windowed_networks()]
    print(
        "network            px/frame  filters  filters less mean  activations: least, most      result, steps"
    )
    results: dict[str, MotionTest] = {}
    for choice, examined in networks:
        assert examined.keras is not None
        for speed in SPEEDS:
            found = test_motion(examined.keras, choice.name, speed)
            least, most = found.most[0], found.most[-1]
            spans = f"{found.layers[least]:.2f} ({least}), {found.layers[most]:.2f} ({most})"
            filters = f"{found.filters:7.3f}  {found.filter_changes:15.3f}"
            print(f"{found.name:<18} {speed:8}  {filters}  {spans:<28}  {found.result_steps:.2f}")
            if speed == 2:
                results[choice.name] = found
    draw_motion(networks[-1][1], results)


def draw_motion(examined: Examined, results: dict[str, MotionTest]) -> None:
    """Draw windows, filters and activations of a network, and the correlations of all."""
    network, scale = examined.keras, examined.scale
    assert network is not None
    names = filter_layers(network)
    assert names is not None
    windows = [moving_bar(direction, 2) for direction in (-1, 1)]
    traces = [network.trace(window, network.levels)[1] for window in windows]
    found = results[examined.choice.name]
    layer = found.most[0]
    column, row = WIDTH // 2 - BAR // 2, HEIGHT // 2  # the bar's left edge in the middle frame
    canvas, draw = new_canvas(1240, 770)
    text(
        draw,
        28,
        22,
        f"{examined.choice.name}: the same middle frame, and a bar that moves by 2 pixels a frame",
        24,
    )
    kinds = ("to the left", "to the right")
    arrays = [middle_of(trace[layer], 7, 3) for trace in traces]
    gap = np.abs(arrays[0] - arrays[1])[REGION].mean(axis=(0, 1))
    channels = np.argsort(-gap)[:4]
    for number, (window, trace, array) in enumerate(zip(windows, traces, arrays, strict=True)):
        left = 28 + number * 300
        text(draw, left, 66, f"Bar {kinds[number]}", 17)
        text(draw, left, 92, "seven frames, from top to bottom", 13, MUTED)
        strip = np.concatenate([np.pad(frame[14:20], ((0, 1), (0, 0), (0, 0))) for frame in window])
        paste(canvas, enlarge(figures.picture(strip), 3), left, 112)
        text(draw, left, 272, f"filters at the bar's left edge, {scale}x{scale}", 13, MUTED)
        filters = softmax(trace[names[0]][-1])[row, column]
        paste(canvas, figures.filter_grid(filters, 9), left, 292)
        text(draw, left, 504, f"{layer}: the channels that differ most", 13, MUTED)
        low, high = (
            float(min(a[..., channels].min() for a in arrays)),
            max(a[..., channels].max() for a in arrays),
        )
        tiles = [figures.heat(array[8:28, 22:50, channel] - low, float(high - low)) for channel in channels]
        tile = np.concatenate([np.concatenate(tiles[:2], axis=1), np.concatenate(tiles[2:], axis=1)])
        paste(canvas, enlarge(tile, 5), left, 524)
    left, top = 650, 66
    text(draw, left, top, "Correlation of both windows around the bar", 17)
    y = top + 34
    for name, each in results.items():
        text(draw, left, y, name, 14)
        y += 22
        rows = [("filters", each.filters), ("filters less their mean", each.filter_changes)]
        rows += [(f"least: {each.most[0]}", each.layers[each.most[0]])]
        mean = float(np.mean([each.layers[name] for name in each.most]))
        rows += [("layers, mean", mean), (f"most: {each.most[-1]}", each.layers[each.most[-1]])]
        for index, (label, value) in enumerate(rows):
            text(draw, left + 14, y, label, 13, MUTED)
            color = (108, 171, 255) if index < 2 else (255, 154, 98)
            draw.rectangle((left + 190, y + 2, left + 190 + 280 * max(value, 0), y + 14), fill=color)
            text(draw, left + 480, y, f"{value:.3f}", 13)
            y += 20
        y += 12
    note = (
        "Filters serve the middle frame, the same in both windows: they agree most, but less if what all",
        "filters have in common is left out. Layers before them see seven frames, of which six differ;",
        "the first layer, which sees one, is not counted.",
    )
    for line in note:
        text(draw, left, y, line, 13, MUTED)
        y += 19
    save(canvas, "explain-motion.png")


def kernels() -> None:
    """Draw kernels of the first layers of duf-s, and what they take out of a frame."""
    from vsrcli.explain.moment import read_moment
    from vsrcli.media.ffmpeg import find_ffmpeg

    choice = windowed_networks()[-1]
    network = open_networks(choice).keras
    assert network is not None
    moment = read_moment(EXAMPLE, Fraction(1, 2), before=3, after=3, ffmpeg=find_ffmpeg())
    layers = network.trace(moment.frames, 3)[1]
    encoded, fused = (middle_of(layers[name], 7, 3) for name in ("encode", "fuse0"))
    encode = np.asarray(network.model.encoder.kernel)  # rows, columns, colours, outputs
    fuse = np.asarray(network.model.fusions[0].kernel)
    fuse = fuse.reshape(3, 3, 3, -1, fuse.shape[3])  # rows, columns, frames, inputs, outputs
    canvas, draw = new_canvas(1240, 1096)
    text(draw, 28, 22, f"{choice.name}: kernels of the first layers, and what they take out of a frame", 24)
    count = encode.shape[3]
    text(draw, 28, 64, f"encode: 3x3 over the three colours; 8 of {count}, whose output varies most", 15)
    varied = np.sort(np.argsort(-encoded.std(axis=(0, 1)))[:8])
    tiles = [enlarge(signed(encode[..., number]), 14) for number in varied]
    draw_kernels(canvas, draw, 94, varied, tiles, encoded)
    text(
        draw,
        28,
        560,
        "fuse0: 3x3x3 over the frame before, this one and the one after, of one encoded channel; 8 that "
        "change most in time",
        15,
    )
    change = np.abs(fuse - fuse.mean(axis=2, keepdims=True)).sum(axis=(0, 1, 2)).max(axis=0)
    timed = np.sort(np.argsort(-change * (fused.std(axis=(0, 1)) > 0.01))[:8])
    tiles = []
    for number in timed:
        strongest = int(np.abs(fuse[..., number]).sum(axis=(0, 1, 2)).argmax())
        cube = fuse[:, :, :, strongest, number]
        limit, gap = float(np.abs(cube).max()), np.full((42, 6, 3), BACKGROUND, np.uint8)
        frames = [enlarge(diverging(cube[:, :, time], limit), 14) for time in range(3)]
        tiles.append(np.concatenate([frames[0], gap, frames[1], gap, frames[2]], axis=1))
    draw_kernels(canvas, draw, 590, timed, tiles, fused)
    words = "Kernels: grey is 0; of fuse0, orange adds, blue subtracts. Maps: from lowest value to highest."
    text(draw, 28, 1056, words, 13, MUTED)
    save(canvas, "explain-kernels.jpg")


def draw_kernels(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    top: int,
    channels: np.ndarray,
    tiles: Sequence[np.ndarray],
    maps: np.ndarray,
) -> None:
    """Draw kernels above the maps that they give, four in a row."""
    for place, (channel, tile) in enumerate(zip(channels, tiles, strict=True)):
        left, y = 28 + place % 4 * 298, top + place // 4 * 228
        values = maps[..., channel]
        low, high = np.percentile(values, (0.5, 99.5))
        image = Image.fromarray(figures.heat(values - low, float(high - low)))
        paste(canvas, tile, left, y)
        text(draw, left + tile.shape[1] + 10, y + 14, f"channel {channel}", 13, MUTED)
        canvas.paste(image.resize((290, 164), Image.Resampling.LANCZOS), (left, y + 50))


def signed(kernel: np.ndarray) -> np.ndarray:
    """Return a kernel (3, 3, 3) over colours as colours around grey."""
    return figures.picture(0.5 + 0.5 * kernel / max(float(np.abs(kernel).max()), 1e-12))


def diverging(values: np.ndarray, limit: float) -> np.ndarray:
    """Return values as grey, towards orange above 0 and blue below."""
    part = (values / max(limit, 1e-12)).clip(-1, 1)[..., None]
    grey, orange, blue = (
        np.array(color, np.float32) for color in ((96, 98, 104), (255, 150, 60), (70, 150, 255))
    )
    return np.rint(np.where(part > 0, grey + part * (orange - grey), grey - part * (blue - grey))).astype(
        np.uint8
    )


def new_canvas(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    canvas = Image.new("RGB", (width, height), BACKGROUND)
    return canvas, ImageDraw.Draw(canvas)


def text(
    draw: ImageDraw.ImageDraw, x: int, y: int, words: str, size: int, color: tuple[int, int, int] = FOREGROUND
) -> None:
    draw.text((x, y), words, fill=color, font=ImageFont.load_default(size=size))


def paste(canvas: Image.Image, image: np.ndarray, x: int, y: int) -> None:
    canvas.paste(Image.fromarray(np.ascontiguousarray(image)), (x, y))


def save(canvas: Image.Image, name: str) -> None:
    IMAGES.mkdir(exist_ok=True)
    if name.endswith(".jpg"):
        canvas.save(IMAGES / name, quality=88, optimize=True)
    else:
        canvas.quantize(255, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)


def example() -> None:
    """Write the picture of the example, reduced, and a screenshot of a part of its page."""
    from playwright.sync_api import sync_playwright

    from vsrcli.cli.main import run

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(folder) / "butterfly.html"
        if status := run(["explain", str(EXAMPLE), "--at", "0.5", "-o", str(page), "-q"]):
            raise SystemExit(status)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        tab = browser.new_page(viewport={"width": 1200, "height": 1000}, color_scheme="light")
        tab.goto(page.as_uri())
        tab.evaluate("document.querySelector('#pixels-head').scrollIntoView()")
        tab.screenshot(path=IMAGES / "explain-page.png")
        browser.close()
        with Image.open(page.with_suffix(".png")) as picture:
            size = picture.width * 2 // 3, picture.height * 2 // 3
            small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
            small.save(IMAGES / "explain.jpg", quality=88, optimize=True)


def main() -> None:
    scenes = {scene.__name__: scene for scene in (motion, kernels, example)}
    for name in sys.argv[1:] or scenes:
        scenes[name]()


if __name__ == "__main__":
    main()
