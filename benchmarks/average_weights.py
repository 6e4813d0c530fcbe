"""Average several states of one training: the mean of their weights, with a card that says so.

    python benchmarks/average_weights.py OUT.weights.h5 FIRST.weights.h5 SECOND.weights.h5 [...]

States of one training, or of trainings that went on from one another, mostly lie in one valley of the loss,
and their mean lies lower (Izmailov et al., "Averaging weights leads to wider optima", UAI 2018; Wortsman et
al., "Model soups", ICML 2022). All files must be of the same network; the card is the first one's, without
scores, and names the sha256 of each file. Whether the mean is better is for ``vsr evaluate`` to say.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vsrcli.models.weights import file_sha256

SUFFIX = ".weights.h5"
SAME = ("architecture", "options", "scale", "degradation", "look", "phase")
SCORES = ("validation", "measured", "measurements")


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return all arrays of a weight file, by their paths in it."""
    arrays: dict[str, np.ndarray] = {}

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(add)
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("weights", type=Path, nargs="+")
    options = parser.parse_args()
    for path in (options.out, *options.weights):
        if not path.name.endswith(SUFFIX):
            parser.error(f"{str(path)!r} does not end with {SUFFIX}")
    paths = [path.with_name(path.name.removesuffix(SUFFIX) + ".json") for path in options.weights]
    cards = [json.loads(path.read_text("utf-8")) for path in paths]
    states = [read_arrays(path) for path in options.weights]
    for path, card, state in zip(options.weights, cards, states, strict=True):
        different = [key for key in SAME if card.get(key) != cards[0].get(key)]
        if different or state.keys() != states[0].keys():
            parser.error(
                f"{str(path)!r} is another network than the first: {', '.join(different) or 'other arrays'}"
            )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    part = options.out.with_name(f".{options.out.name}.part")
    shutil.copyfile(options.weights[0], part)
    with h5py.File(part, "r+") as file:
        for name, array in states[0].items():
            if array.dtype.kind == "f":
                file[name][...] = np.mean([state[name] for state in states], axis=0, dtype=np.float64)
    part.replace(options.out)
    card = {key: value for key, value in cards[0].items() if key not in SCORES}
    card |= {"sha256": file_sha256(options.out), "mean_of": [file_sha256(path) for path in options.weights]}
    target = options.out.with_name(options.out.name.removesuffix(SUFFIX) + ".json")
    target.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    print(f"{options.out}: the mean of {len(states)} files")


if __name__ == "__main__":
    main()
