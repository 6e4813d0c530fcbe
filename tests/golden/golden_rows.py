"""Command lines that are recorded, by what is kept of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One command line.

    Attributes:
        name: key in the recording.
        line: arguments after ``vsr``.
        stdin: a file of the media folder that goes through a pipe.
        stdout: name of the file in {o} that stdout becomes.
        before: command lines that run first, and are not recorded.
        files: text files written into {o} first.
        here: run inside {o} instead of the folder above the media.
    """

    name: str
    line: str
    stdin: str | None = None
    stdout: str | None = None
    before: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    here: bool = False


LOSSLESS = "--codec ffv1"
FAST = "-m lanczos -s 2"

# Real runs: checksums of every result, what was said, and the commands of ffmpeg.
RUNS: tuple[Row, ...] = (
    Row("default x4", "upscale {m}/clip.mkv {o}/x.mkv"),
    Row("x2 lossless", f"upscale {{m}}/shots.mkv {{o}}/x.mkv -s 2 {LOSSLESS}"),
    Row("x3", "upscale {m}/mute.mkv {o}/x.mkv -s 3"),
    Row("x2.5", "upscale {m}/mute.mkv {o}/x.mkv -s 2.5 --preset fast"),
    Row("fast x4 of two shots", "upscale {m}/shots.mkv {o}/x.mp4 --preset fast"),
    Row("fast x2 lossless", f"upscale {{m}}/shots.mkv {{o}}/x.mkv --preset fast -s 2 {LOSSLESS}"),
    Row("duf-s x4 of two shots", f"upscale {{m}}/shots.mkv {{o}}/x.mkv -m duf-s {LOSSLESS}"),
    Row("lanczos x4", f"upscale {{m}}/clip.mkv {{o}}/x.mkv -m lanczos {LOSSLESS}"),
    Row("bicubic x3", f"upscale {{m}}/clip.mkv {{o}}/x.mkv -m bicubic -s 3 {LOSSLESS}"),
    Row("keras x4", f"upscale {{m}}/shots.mkv {{o}}/x.mkv --engine keras {LOSSLESS}"),
    Row("keras duf-s x2", f"upscale {{m}}/shots.mkv {{o}}/x.mkv --engine keras -m duf-s -s 2 {LOSSLESS}"),
    Row("keras fast x2", f"upscale {{m}}/shots.mkv {{o}}/x.mkv --engine keras --preset fast -s 2 {LOSSLESS}"),
    Row("openvino bf16", f"upscale {{m}}/clip.mkv {{o}}/x.mkv --engine openvino --precision bf16 {LOSSLESS}"),
    Row("tiles", f"upscale {{m}}/wide.mkv {{o}}/x.mkv -s 2 --tile 48 --overlap 8 {LOSSLESS}"),
    Row(
        "tiles, keras",
        "upscale {m}/larger.mkv {o}/x.mkv --preset fast -s 2 --tile 48 --overlap 8 --engine keras"
        f" {LOSSLESS}",
    ),
    Row(
        "bursts",
        f"upscale {{m}}/wide.mkv {{o}}/x.mkv -s 2 --tile 48 --overlap 8 --max-memory 310M {LOSSLESS}",
    ),
    Row(
        "bursts, duf-s",
        "upscale {m}/wide.mkv {o}/x.mkv -m duf-s -s 2 --tile 48 --overlap 8 --max-memory 315M"
        f" {LOSSLESS}",
    ),
    Row("chain", "upscale {m}/mute.mkv {o}/x.mkv --preset fast -s 6 --chain"),
    Row("size, fitted", "upscale {m}/mute.mkv {o}/x.mkv --size 160x160 --preset fast"),
    Row("size, filled", "upscale {m}/mute.mkv {o}/x.mkv --size 100x100 --fill --preset fast"),
    Row("height", "upscale {m}/shaped.mp4 {o}/x.mp4 --height 80 -m lanczos"),
    Row("stills to stills", "upscale {m}/stills/f%03d.png {o}/ -s 2"),
    Row("stills to a clip", f"upscale {{m}}/stills {{o}}/x.mp4 --fps 24000/1001 {FAST}"),
    Row("clip to PNG", f"upscale {{m}}/clip.mkv {{o}}/%04d.png --frames 4 {FAST}"),
    Row("clip to TIFF", f"upscale {{m}}/ten.mkv {{o}}/%04d.tiff --frames 2 {FAST}"),
    Row("EXR to EXR", f"upscale {{m}}/light/f%03d.exr {{o}}/%03d.exr {FAST}"),
    Row("TIFF to WebP", f"upscale {{m}}/tiffs {{o}}/%03d.webp {FAST}"),
    Row("photo", "upscale {m}/photo.jpg {o}/x.png --preset fast"),
    Row("transparent still", f"upscale {{m}}/still.png {{o}}/x.png {FAST}"),
    Row("one of a clip", f"upscale {{m}}/clip.mkv {{o}}/x.png --start 0.2 --frames 1 {FAST}"),
    Row("pipes", "upscale - - --preset fast -s 2", stdin="clip.y4m", stdout="x.y4m"),
    Row(
        "a clip through pipes",
        f"upscale - - {FAST} --format matroska",
        stdin="clip.mkv",
        stdout="x.mkv",
    ),
    Row("to NUT", f"upscale {{m}}/vfr.mkv - {FAST} --format nut", stdout="x.nut"),
    Row("a pipe to a file", f"upscale - {{o}}/x.mkv {FAST} --keep-going", stdin="cut.y4m"),
    Row("alpha ProRes", f"upscale {{m}}/alpha.mov {{o}}/x.mov {FAST}"),
    Row("alpha FFV1", "upscale {m}/alpha.mkv {o}/x.mkv --preset fast"),
    Row("alpha VP9", f"upscale {{m}}/alpha.webm {{o}}/x.webm {FAST}"),
    Row("alpha dropped", f"upscale {{m}}/alpha.mkv {{o}}/x.mp4 {FAST}"),
    Row("variable rate", "upscale {m}/vfr.mkv {o}/x.mkv --preset fast"),
    Row("variable rate to MP4", f"upscale {{m}}/vfr.mkv {{o}}/x.mp4 {FAST}"),
    Row("HDR10", f"upscale {{m}}/hdr.mkv {{o}}/x.mkv {FAST} --codec libx265 -e preset=ultrafast"),
    Row("10 bits", "upscale {m}/ten.mkv {o}/x.mkv --preset fast -s 2"),
    Row("span with sound", f"upscale {{m}}/rich.mkv {{o}}/x.mkv --start 0.2 --end 0.7 {FAST}"),
    Row("span to MP4", f"upscale {{m}}/rich.mkv {{o}}/x.mp4 --start 0.25 --frames 9 {FAST}"),
    Row("rich to MKV", f"upscale {{m}}/rich.mkv {{o}}/x.mkv {FAST} --segment 8"),
    Row("rich to MP4", f"upscale {{m}}/rich.mkv {{o}}/x.mp4 {FAST} --segment 8"),
    Row("in one go", f"upscale {{m}}/clip.mkv {{o}}/x.mkv {FAST} --segment none"),
    Row("AVI", f"upscale {{m}}/clip.mp4 {{o}}/x.avi {FAST}"),
    Row("rotated", f"upscale {{m}}/rotated.mp4 {{o}}/x.mp4 {FAST}"),
    Row("interlaced", f"upscale {{m}}/fields.mkv {{o}}/x.mkv {FAST}"),
    Row("timecode", f"upscale {{m}}/code.mov {{o}}/x.mov {FAST}"),
    Row("GIF", f"upscale {{m}}/slides.gif {{o}}/x.mkv {FAST}"),
    Row("keep going", f"upscale {{m}}/damaged.mp4 {{o}}/x.mp4 {FAST} --keep-going"),
    Row("keep going, torn", f"upscale {{m}}/torn.ts {{o}}/x.mp4 {FAST} --keep-going"),
    Row("AV1", f"upscale {{m}}/clip.mp4 {{o}}/x.mp4 {FAST} --encode-preset av1"),
    Row("preset edit", f"upscale {{m}}/clip.mp4 {{o}}/x.mov {FAST} --encode-preset edit"),
    Row("preset archive", f"upscale {{m}}/clip.mp4 {{o}}/x.mkv {FAST} --encode-preset archive"),
    Row(
        "settings file",
        "--profile quick upscale ../../media/clip.mkv x.mkv",
        files=(
            (
                "vsr.toml",
                "[upscale]\nmodel = 'bicubic'\nscale = 2\n[profile.quick.upscale]\ncrf = 30\nfps = 9\n",
            ),
        ),
        here=True,
    ),
    Row("log", f"upscale {{m}}/clip.mkv {{o}}/x.mkv {FAST} --log {{o}}/told.log"),
    Row("preview", f"preview {{m}}/rich.mkv {{o}}/x.mkv --at 0.3 --seconds 0.3 {FAST}"),
    Row("compared: a clip", "compare {m}/mute.mkv {m}/clip.mkv -o {o}/x.mkv --labels one,two"),
    Row("compared: a still", "compare {m}/mute.mkv {m}/larger.mkv -o {o}/x.png --at 0.2 --layout side"),
    Row("batch", f"batch -r {{m}}/several {{o}} {FAST} --name {{{{stem}}}}_x{{{{scale}}}}"),
    Row(
        "batch, again",
        f"batch -r {{m}}/several {{o}} {FAST} --container .mp4",
        before=(f"batch -r {{m}}/several {{o}} {FAST} --container .mp4 -q",),
    ),
    Row("batch, two at a time", f"batch {{m}}/several {{m}}/mute.mkv {{o}} {FAST} -j 2"),
)

# --dry-run, all of what it says.
PLANS: tuple[Row, ...] = (
    Row("default", "upscale {m}/clip.mkv {o}/x.mkv"),
    Row("to MP4", "upscale {m}/rich.mkv {o}/x.mp4 -s 2"),
    Row("to AVI", "upscale {m}/rich.mkv {o}/x.avi -s 2"),
    Row("HDR to MP4", "upscale {m}/hdr.mkv {o}/x.mp4 --preset fast"),
    Row("HDR to H.264", "upscale {m}/hdr.mkv {o}/x.mp4 --codec h264"),
    Row("4k", "upscale {m}/hd.mkv {o}/x.mkv --size 4k --max-memory 4G"),
    Row("little memory", "upscale {m}/hd.mkv {o}/x.mkv --max-memory 3500M -s 2"),
    Row("tile", "upscale {m}/hd.mkv {o}/x.mkv --tile 256 --max-memory 8G -s 2"),
    Row("chain", "upscale {m}/clip.mkv {o}/x.mkv -s 12 --chain"),
    Row("fill", "upscale {m}/clip.mkv {o}/x.mkv --size 640x360 --fill"),
    Row("fit", "upscale {m}/shaped.mp4 {o}/x.mkv --size 640x480 --fit"),
    Row("span", "upscale {m}/vfr.mkv {o}/x.mp4 --start 0.1 --end 0.3"),
    Row("alpha to MP4", "upscale {m}/alpha.mov {o}/x.mp4"),
    Row("alpha to MKV", "upscale {m}/alpha.mov {o}/x.mkv --encode-preset archive"),
    Row("stills", "upscale {m}/stills {o}/%05d.png -m duf-s"),
    Row("stills to a clip", "upscale {m}/stills/f%03d.png {o}/x.mp4"),
    Row("EXR to PNG", "upscale {m}/light {o}/%03d.png"),
    Row("clip to stills", "upscale {m}/clip.mkv {o}/%05d.tif"),
    Row("photo", "upscale {m}/photo.jpg {o}/x.webp -s 8"),
    Row("from stdin", "upscale - {o}/x.mkv", stdin="clip.y4m"),
    Row("a clip from stdin", "upscale - {o}/x.mkv", stdin="clip.mp4"),
    Row("to stdout", "upscale {m}/clip.mkv -"),
    Row("keras", "upscale {m}/clip.mkv {o}/x.mkv --engine keras --precision fp32 --segment none"),
    Row("interlaced", "upscale {m}/fields.mkv {o}/x.mkv --no-deinterlace"),
    Row("timecode", "upscale {m}/code.mov {o}/x.mkv"),
    Row("web", "upscale {m}/clip.mkv {o}/x.mp4 --encode-preset web -e tune=grain"),
    Row("batch", "batch -r {m}/several {o} --scale 2"),
    Row("batch by a pattern", "batch {m}/s*/*.mkv {o} --container .mov --fail-fast -v"),
)

# What cannot be done: exit status and texts.
ERRORS: tuple[Row, ...] = (
    Row("no source", f"upscale {{m}}/none.mp4 {{o}}/x.mp4 {FAST}"),
    Row("empty", f"upscale {{m}}/empty.mp4 {{o}}/x.mp4 {FAST}"),
    Row("rubbish", f"upscale {{m}}/rubbish.mp4 {{o}}/x.mp4 {FAST}"),
    Row("text", f"upscale {{m}}/text.mkv {{o}}/x.mp4 {FAST}"),
    Row("sound only", f"upscale {{m}}/tone.m4a {{o}}/x.mp4 {FAST}"),
    Row("cut", f"upscale {{m}}/cut.mp4 {{o}}/x.mp4 {FAST}"),
    Row("damaged", f"upscale {{m}}/damaged.mp4 {{o}}/x.mp4 {FAST}"),
    Row("torn", f"upscale {{m}}/torn.ts {{o}}/x.mp4 {FAST}"),
    Row("cut stdin", f"upscale - {{o}}/x.mkv {FAST}", stdin="cut.y4m"),
    Row("empty stdin", f"upscale - {{o}}/x.mkv {FAST}", stdin="empty.mp4"),
    Row("rubbish on stdin", f"upscale - {{o}}/x.mkv {FAST}", stdin="rubbish.mp4"),
    Row("folder without anything", f"upscale {{o}} {{o}}/x.mp4 {FAST}"),
    Row("target exists", f"upscale {{m}}/clip.mkv {{o}}/x.mp4 {FAST}", files=(("x.mp4", "older"),)),
    Row("target is a folder", f"upscale {{m}}/clip.mkv {{o}} {FAST}"),
    Row("no folder", f"upscale {{m}}/clip.mkv {{o}}/none/x.mp4 {FAST}"),
    Row("extension", f"upscale {{m}}/clip.mkv {{o}}/x.xyz {FAST}"),
    Row("no extension", f"upscale {{m}}/clip.mkv {{o}}/x {FAST}"),
    Row("itself", f"upscale {{m}}/clip.mkv {{m}}/clip.mkv {FAST} -y"),
    Row("scale 1", "upscale {m}/clip.mkv {o}/x.mkv -s 1"),
    Row("scale 99", "upscale {m}/clip.mkv {o}/x.mkv -s 99"),
    Row("scale in words", "upscale {m}/clip.mkv {o}/x.mkv -s four"),
    Row("size", "upscale {m}/clip.mkv {o}/x.mkv --size huge"),
    Row("smaller", "upscale {m}/clip.mkv {o}/x.mkv --size 20x20"),
    Row("scale and size", "upscale {m}/clip.mkv {o}/x.mkv -s 2 --height 100"),
    Row("crf", f"upscale {{m}}/clip.mkv {{o}}/x.mkv {FAST} --crf 99"),
    Row("codec", f"upscale {{m}}/clip.mkv {{o}}/x.mkv {FAST} --codec nonsense"),
    Row("pixel format", f"upscale {{m}}/clip.mkv {{o}}/x.mkv {FAST} --pix-fmt nonsense"),
    Row("encoder option", f"upscale {{m}}/clip.mkv {{o}}/x.mkv {FAST} -e nonsense=1"),
    Row("encoder option of time", f"upscale {{m}}/clip.mkv {{o}}/x.mkv {FAST} -e t=1"),
    Row("encoder option of frames", f"upscale {{m}}/clip.mkv {{o}}/x.mkv {FAST} -e frames:v=5"),
    Row("filter", f"upscale {{m}}/clip.mkv {{o}}/x.mkv {FAST} -e vf=fps=60"),
    Row("ProRes in MP4", f"upscale {{m}}/clip.mkv {{o}}/x.mp4 {FAST} --codec prores_ks"),
    Row("no ffmpeg", f"upscale {{m}}/clip.mkv {{o}}/x.mp4 {FAST} --ffmpeg /nowhere/ffmpeg"),
    Row("span", f"upscale {{m}}/clip.mkv {{o}}/x.mp4 {FAST} --start 100"),
    Row("span between frames", f"upscale {{m}}/clip.mkv {{o}}/x.mp4 {FAST} --start 0.05 --end 0.06"),
    Row("model", "upscale {m}/clip.mkv {o}/x.mp4 -m nonsense"),
    Row("no weights", "upscale {m}/clip.mkv {o}/x.mp4 -m duf-28l"),
    Row("no weight file", "upscale {m}/clip.mkv {o}/x.mp4 -m nonsense.weights.h5"),
    Row("small tile", "upscale {m}/clip.mkv {o}/x.mp4 -t 20 --overlap 10"),
    Row("memory", "upscale {m}/hd.mkv {o}/x.mp4 --max-memory 100M"),
    Row("preset", "upscale {m}/clip.mkv {o}/x.mp4 --preset slow"),
    Row("fps of a clip", f"upscale {{m}}/clip.mkv {{o}}/x.mp4 {FAST} --fps 25"),
    Row("many into one", f"upscale {{m}}/clip.mkv {{o}}/x.png {FAST}"),
    Row("gap", f"upscale {{m}}/gap/f%03d.png {{o}}/x.mp4 {FAST}"),
    Row("mixed", f"upscale {{m}}/mixed {{o}}/x.mp4 {FAST}"),
    Row("variable rate to Y4M", f"upscale {{m}}/vfr.mkv - {FAST}"),
    Row("format of a file", f"upscale {{m}}/clip.mkv {{o}}/x.mp4 {FAST} --format nut"),
    Row("unknown option", "upscale {m}/clip.mkv {o}/x.mp4 --quality 5"),
    Row("no target", "upscale {m}/clip.mkv"),
    Row("unknown command", "upsale {m}/clip.mkv {o}/x.mp4"),
    Row("bad engine", "upscale {m}/clip.mkv {o}/x.mp4 --engine torch"),
    Row("bad gpu", "upscale {m}/clip.mkv {o}/x.mp4 --gpu 7"),
    Row("no profile", "--profile none upscale {m}/clip.mkv {o}/x.mp4"),
    Row(
        "bad setting",
        "upscale ../../media/clip.mkv x.mp4",
        files=(("vsr.toml", "[upscale]\nspeed = 3\n"),),
        here=True,
    ),
    Row("batch of nothing", "batch {o} {o}/out"),
    Row("batch into the same file", f"batch {{m}}/clip.mkv {{m}}/clip.mp4 {{o}} --container .mkv {FAST}"),
    Row("batch template", f"batch {{m}}/clip.mkv {{o}} --name {{{{nonsense}}}} {FAST}"),
    Row(
        "batch on another's file",
        f"batch {{m}}/several/one.mkv {{o}} {FAST}",
        files=(("one.mkv", "older"),),
    ),
    Row("info of nothing", "info {m}/none.mkv"),
    Row("info of rubbish", "info {m}/rubbish.mp4"),
    Row("info of sound", "info {m}/tone.m4a"),
    Row("preview beyond", f"preview {{m}}/clip.mkv {{o}}/x.mkv --at 99 {FAST}"),
    Row("evaluate nothing", "evaluate {o}"),
    Row("evaluate short", "evaluate {m}/ten.mkv --frames 3"),
    Row("compare nothing", "compare {m}/clip.mkv {m}/none.mkv -o {o}/x.html"),
    Row("compare to text", "compare {m}/clip.mkv {m}/mute.mkv -o {o}/x.txt"),
    Row("compare figures", "compare {m}/clip.mkv {m}/mute.mkv -o {o}/x.png --json"),
    Row("serve everybody", "serve --host 0.0.0.0 --data {o}"),
    Row("train on nothing", "train {o} --run {o}/run"),
    Row("bench of nothing", "bench --input {m}/none.mkv"),
)

# JSON messages.
MESSAGES: tuple[Row, ...] = (
    Row("upscale", "upscale {m}/rich.mkv {o}/x.mp4 --preset fast -s 2 --segment 8 --progress json"),
    Row("dry run", "upscale {m}/rich.mkv {o}/x.mp4 --preset fast -s 2 --dry-run --progress json"),
    Row("stills", f"upscale {{m}}/stills {{o}}/%03d.png {FAST} --progress json"),
    Row("keep going", f"upscale {{m}}/damaged.mp4 {{o}}/x.mp4 {FAST} --keep-going --progress json"),
    Row("failure", f"upscale {{m}}/damaged.mp4 {{o}}/x.mp4 {FAST} --progress json"),
    Row("usage", "upscale {m}/clip.mkv {o}/x.mp4 -s 1 --progress json"),
    Row("preview", f"preview {{m}}/rich.mkv {{o}}/x.mkv --at 0.3 --seconds 0.3 {FAST} --progress json"),
)

# JSON documents on stdout, or in {o}/x.json. Values of keys in TIMED are left out.
DOCUMENTS: tuple[Row, ...] = (
    *(Row(f"info {name}", f"info {{m}}/{name} --json") for name in (
        "rich.mkv", "clip.mp4", "hdr.mkv", "alpha.mov", "alpha.webm", "vfr.mkv", "rotated.mp4", "shaped.mp4",
        "fields.mkv", "code.mov", "slides.gif", "stills", "photo.jpg", "light/f%03d.exr",
    )),
    Row("info of stdin", "info - --json", stdin="clip.y4m"),
    Row("models", "models --json"),
    Row("batch", f"batch -r {{m}}/several {{o}} {FAST} --json -"),
    Row(
        "batch, again",
        f"batch -r {{m}}/several {{o}} {FAST} --json {{o}}/x.json",
        before=(f"batch -r {{m}}/several {{o}} {FAST} -q",),
    ),
    Row("batch, dry", f"batch -r {{m}}/several {{o}} {FAST} -n --json -"),
    Row("evaluate", "evaluate {m}/larger.mkv -m duf-r-xs --crf none --crf 23 --json {o}/x.json"),
    Row("evaluate, two models", "evaluate {m}/larger.mkv -m lanczos -m duf-r-xs -s 2 --json {o}/x.json"),
    Row("compare", "compare {m}/mute.mkv {m}/clip.mkv --reference {m}/mute.mkv -o {o}/x.html --json"),
)  # fmt: skip

# Texts on stdout and stderr as they are.
TEXTS: tuple[Row, ...] = (
    Row("version", "--version"),
    *(Row(f"info {name}", f"info {{m}}/{name}") for name in (
        "rich.mkv", "hdr.mkv", "alpha.mov", "vfr.mkv", "rotated.mp4", "fields.mkv", "code.mov", "stills",
        "photo.jpg",
    )),
    Row("models", "models"),
    Row("config", "config show upscale"),
    Row("evaluate", "evaluate {m}/larger.mkv -m lanczos -m bicubic -s 2 --crf none --markdown -"),
    Row("evaluate table", "evaluate {m}/larger.mkv -m lanczos -s 2 --crf none"),
)  # fmt: skip

COMMANDS = (
    "upscale", "batch", "preview", "info", "models", "train", "bench", "serve", "evaluate", "compare",
    "doctor", "config", "config show", "config path", "completion",
)  # fmt: skip
