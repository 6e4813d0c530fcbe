"""Options of the commands that upscale; :mod:`vsrcli.cli.upscale_values` reads them."""

from __future__ import annotations

import click

from vsrcli.cli.help import option
from vsrcli.cli.options import combine_options
from vsrcli.cli.types import (
    DeviceParam,
    ModelParam,
    NetworkPresetParam,
    RateParam,
    ScaleParam,
    ScreenParam,
    SegmentParam,
    SettingParam,
    SizeParam,
    TileParam,
    TimeParam,
    join_devices,
)
from vsrcli.frames.geometry import MAX_SCALE
from vsrcli.inference.engine_plan import ENGINES, PRECISIONS
from vsrcli.inference.looks import LOOKS
from vsrcli.media.encoder_options import PRESETS
from vsrcli.models.architectures import MODEL_PRESETS
from vsrcli.pipeline.options import Options

_DEFAULT = Options()

engine_options = combine_options(
    option(
        "-g",
        "--gpu",
        "device",
        "Compute on this GPU, by number, or on the CPU; repeatable with --workers.  [default: auto]",
        type=DeviceParam(),
        multiple=True,
        callback=join_devices,
        metavar="auto|cpu|N",
        group="Computing",
    ),
    option(
        "--precision",
        "Compute in fp32, fp16, bf16 or int8; auto: fp16 on a GPU; fp32, bf16 or int8 on a CPU.",
        type=click.Choice(PRECISIONS),
        default="auto",
        metavar="TYPE",
        group="Computing",
    ),
    option(
        "--engine",
        "Compute with openvino, onnxruntime or keras; auto: the first one installed, on a GPU keras first.",
        type=click.Choice(ENGINES),
        default="auto",
        metavar="NAME",
        group="Computing",
    ),
)
"""``--gpu`` (as ``device``), ``--precision`` and ``--engine``."""

memory_options = combine_options(
    option(
        "-t",
        "--tile",
        "Split frames into tiles of N source pixels a side; auto: as large as memory allows.",
        type=TileParam(),
        default="auto",
        metavar="auto|none|N",
        group="Computing",
    ),
    option(
        "--max-memory",
        "Limit memory, such as 4G or 800M; tiles are chosen to fit.  [default: 75 % of free memory]",
        type=SizeParam(),
        metavar="SIZE",
        group="Computing",
    ),
)
"""``--tile`` and ``--max-memory``."""

_preset_option = option(
    "--preset",
    "Choose between speed and quality: "
    + ", ".join(f"{name} ({model})" for name, model in MODEL_PRESETS.items())
    + ". Also sets the effort of the encoder.  [default: balanced]",
    type=NetworkPresetParam(),
    metavar="NAME",
    group="Model",
)
_MODEL_HELP = (
    "Use this model instead of a preset: a name from `vsr models`, or a network's file{several}.  "
    f"[default: {_DEFAULT.model}]"
)

network_options = combine_options(
    _preset_option,
    option(
        "-m",
        "--model",
        _MODEL_HELP.format(several=""),
        type=ModelParam(),
        metavar="NAME",
        group="Model",
    ),
)
"""``--preset`` and ``--model``; see :func:`~vsrcli.cli.upscale_values.resolve_network`."""

strength_options = combine_options(
    option(
        "--strength",
        "Blend the network's picture with Lanczos of the source: 0 is Lanczos, 1 the network. With sharp "
        "weights: 0 is natural, 1 sharp; between them the weights are mixed, at no cost.",
        type=click.FloatRange(0, 1),
        default=_DEFAULT.strength,
        metavar="0..1",
        group="Model",
    ),
    option(
        "--keep-color/--no-keep-color",
        "Keep the colours of the source, whatever the network makes.  [default: with models of others]",
        default=None,
        group="Model",
    ),
)
"""``--strength`` and ``--keep-color``."""

look_options = combine_options(
    option(
        "--look",
        "Choose natural (true to the source) or sharp (crisp, but makes up texture); see `vsr models` for "
        "those there are.  [default: natural, or that of the model's file]",
        type=click.Choice(LOOKS),
        metavar="NAME",
        group="Model",
    ),
    strength_options,
)
"""``--look``, ``--strength`` and ``--keep-color``; see :func:`~vsrcli.cli.upscale_values.resolve_look`."""

_model_options = combine_options(
    _preset_option,
    option(
        "-m",
        "--model",
        _MODEL_HELP.format(several="; several run one after the other"),
        type=ModelParam(),
        multiple=True,
        metavar="NAME",
        group="Model",
    ),
    look_options,
)
_size_options = combine_options(
    option(
        "-s",
        "--scale",
        f"Upscale by this factor, from 1 (models that restore) to {MAX_SCALE}.  [default: {_DEFAULT.scale}]",
        type=ScaleParam(MAX_SCALE),
        group="Size",
    ),
    option(
        "--size",
        "Upscale to fit this size instead, such as 1920x1080, 1080p or 4k.",
        type=ScreenParam(),
        metavar="WxH",
        group="Size",
    ),
    option(
        "--width",
        "Upscale to W pixels wide; the height follows.",
        type=click.IntRange(min=1),
        metavar="W",
        group="Size",
    ),
    option(
        "--height",
        "Upscale to H pixels high; the width follows.",
        type=click.IntRange(min=1),
        metavar="H",
        group="Size",
    ),
    option(
        "--same-size",
        "Keep the size of IN: run the network, then resample its result back.",
        is_flag=True,
        group="Size",
    ),
    option(
        "--fit/--fill",
        "fit",
        "With --size: keep the whole frame, without bars (default), or fill the size and crop the rest.",
        default=None,
        group="Size",
    ),
    option(
        "--chain",
        "Upscale twice if one pass does not reach the size. Slow: the second pass computes 4 to 16 "
        "times the pixels.",
        is_flag=True,
        group="Size",
    ),
)
_encoding_options = combine_options(
    option(
        "--encode-preset",
        "Encode for a purpose; other options override it.",
        type=click.Choice(list(PRESETS)),
        metavar="NAME",
        values={name: preset.description for name, preset in PRESETS.items()},
        group="Encoding",
    ),
    option(
        "--codec",
        "Encode as h264, hevc, av1 or vp9, or with any encoder of ffmpeg.  [default: suits OUT]",
        metavar="NAME",
        group="Encoding",
    ),
    option(
        "--crf",
        "Set constant quality on the encoder's scale; lower is better.",
        type=click.FloatRange(min=0),
        metavar="N",
        group="Encoding",
    ),
    option(
        "--pix-fmt",
        "Set the pixel format of OUT.  [default: bit depth and chroma of IN]",
        metavar="NAME",
        group="Encoding",
    ),
    option(
        "-e",
        "--encoder-option",
        "extra",
        "Pass an option to the encoder, such as tune=grain; repeatable, and x264-params and other lists are "
        "joined.",
        type=SettingParam(),
        multiple=True,
        group="Encoding",
    ),
    option("--ffmpeg", "Use this ffmpeg instead of the bundled one.", metavar="PATH", group="Encoding"),
    option(
        "--fps",
        "Set the frame rate of an image sequence, such as 24 or 24000/1001.  [default: 25]",
        type=RateParam(),
        group="Input",
    ),
    option("--no-deinterlace", "Leave interlaced video as it is.", is_flag=True, group="Input"),
    option(
        "--keep-going",
        "Replace each damaged frame with the frame before it, and list them at the end.",
        is_flag=True,
        group="Input",
    ),
)
_overlap_option = option(
    "--overlap",
    "--tile-pad",
    "Overlap tiles by N source pixels.  [default: all that the network sees, so that no seams show]",
    type=click.IntRange(min=0),
    metavar="N",
    group="Computing",
)

preview_options = combine_options(
    _size_options, _model_options, _encoding_options, engine_options, memory_options, _overlap_option
)
"""The options of :data:`upscale_options` that do not select a time range or resume a run."""

upscale_options = combine_options(
    _size_options,
    _model_options,
    option("--start", "Start here: 12.5, 1:02 or 0:01:02.5.", type=TimeParam(), group="Time range"),
    option("--end", "Stop before this time.", type=TimeParam(), group="Time range"),
    option("--frames", "Stop after N frames.", type=click.IntRange(min=1), metavar="N", group="Time range"),
    _encoding_options,
    option(
        "--segment",
        "Save a segment every N frames; auto: about a minute's work; shots: as on many machines, "
        "see docs/cluster.md; none: write OUT in one go.",
        type=SegmentParam(),
        default=_DEFAULT.segment,
        metavar="auto|none|shots|N",
        group="Resume",
    ),
    option("--no-resume", "Start over instead of resuming an interrupted run.", is_flag=True, group="Resume"),
    engine_options,
    memory_options,
    _overlap_option,
)
"""Every option of an upscaling run.

:func:`~vsrcli.cli.upscale_values.build_options` takes their values as keyword arguments.
"""
