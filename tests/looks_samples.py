"""A folder of weights with both looks of tiny random networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tiny_networks import tiny_weights
from vsrcli.models.weights import file_sha256


def looks_folder(folder: Path, scale: int = 2, kind: str = "cached") -> dict[str, Path]:
    """Write natural weights, and sharp ones of the same sizes whose values differ; return both by look."""
    import h5py

    folder.mkdir(parents=True, exist_ok=True)
    natural = tiny_weights(folder, kind, scale)
    sharp = natural.with_name(natural.name.replace("-video.", "-footage-sharp."))
    sharp.write_bytes(natural.read_bytes())
    rng = np.random.default_rng(3)
    with h5py.File(sharp, "r+") as file:

        def change(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and item.ndim > 1:
                noise = rng.normal(size=item.shape).astype(np.float32)
                item[...] = item[...] + 0.2 * np.std(item[...]) * noise

        file.visititems(change)
    card = json.loads(natural.with_name(natural.name.replace(".weights.h5", ".json")).read_text())
    card |= {"look": "sharp", "degradation": "footage", "sha256": file_sha256(sharp)}
    sharp.with_name(sharp.name.replace(".weights.h5", ".json")).write_text(json.dumps(card))
    return {"natural": natural, "sharp": sharp}
