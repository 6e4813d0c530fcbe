"""Write the templates and precisions that come with the program, whenever networks or shipped weights change.

    python -m vsrcli.inference.openvino_shipping

writes :data:`~vsrcli.inference.openvino_templates.SHIPPED`, the same file for the same code, weights and
versions. Members are named by their content: networks of several scales share most functions.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vsrcli.inference.functions import shapes_of
from vsrcli.inference.graph_cache import Files
from vsrcli.inference.openvino import OpenvinoBackend, cpu_capabilities
from vsrcli.inference.openvino_export import export_templates
from vsrcli.inference.openvino_templates import INDEX, KINDS, SHIPPED, key_name, template_code, template_key
from vsrcli.inference.precision import psnr_between
from vsrcli.models.weights import list_weights
from vsrcli.system.files import atomic_write, temporary_folder

_DATE = (1980, 1, 1, 0, 0, 0)  # of all members
_DIGITS = 1  # of a PSNR


def write_shipped(target: Path = SHIPPED, on_step: Callable[[str], None] = print) -> None:
    """Write the templates of all networks that weights are shipped of, and the precision of all weights.

    Raises:
        SystemExit: this processor does not compute in bf16.
    """
    if "bf16" not in cpu_capabilities():
        raise SystemExit(
            "this processor does not compute in bf16, so it cannot tell the precision of weights"
        )
    members: Files = {}
    templates: dict[str, dict[str, str]] = {}
    psnrs: dict[str, float] = {}
    for weights in list_weights():
        if weights.architecture.kind not in KINDS:
            continue
        for precision in ("fp32", "bf16"):
            shapes = shapes_of(weights.architecture, weights.scale, precision)
            name = key_name(template_key(weights, shapes.row_multiple))
            if name not in templates:
                on_step(f"{weights.name} {precision}")
                templates[name] = _built(weights, precision, members)
        psnr = psnr_between(OpenvinoBackend(weights, "fp32"), OpenvinoBackend(weights, "bf16"))
        psnrs[weights.card["sha256"]] = round(psnr, _DIGITS)
    index = {"code": template_code(), "templates": templates, "bf16": psnrs}
    members[INDEX] = json.dumps(index, indent=1, sort_keys=True).encode()

    def write(file: Any) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for name in sorted(members):
                archive.writestr(zipfile.ZipInfo(name, _DATE), members[name], zipfile.ZIP_DEFLATED, 9)

    atomic_write(target, write)


def _built(weights: Any, precision: str, members: Files) -> dict[str, str]:
    """Add a network's templates to the members; return their names by their names as files."""
    names: dict[str, str] = {}
    with temporary_folder() as folder:
        export_templates(weights, precision, folder)
        for path in sorted(folder.iterdir()):
            content = path.read_bytes()
            names[path.name] = hashlib.sha256(content).hexdigest()[:24]
            members[names[path.name]] = content
    return names


if __name__ == "__main__":
    write_shipped()
