"""The mean of several states of one training, as a weight file with a card that says so.

    python -m vsrcli.train.averaging OUT.weights.h5 FIRST.weights.h5 SECOND.weights.h5 [...]

States of one training, or of trainings that went on from one another, mostly lie in one valley of the loss,
and their mean lies lower (Izmailov et al., "Averaging weights leads to wider optima", UAI 2018; Wortsman et
al., "Model soups", ICML 2022). Whether it does is for ``vsr evaluate`` to say.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vsrcli.errors import DataError, VsrError
from vsrcli.models.weights import SUFFIX, file_sha256, read_weights
from vsrcli.system.files import atomic_write

_SAME = ("architecture", "options", "scale", "degradation", "look", "phase")
_SCORES = ("validation", "measured", "measurements")


def average_files(out: Path, paths: Sequence[Path]) -> None:
    """Write the mean of weight files of one network, and its card.

    The card is the first file's, without scores; ``mean_of`` has the sha256 of each file.

    Raises:
        DataError: the files are of different networks.
        ModelError: a file cannot be read, or has no card.
    """
    cards = [dict(read_weights(path).card) for path in paths]
    states = [_read_arrays(path) for path in paths]
    for path, card, state in zip(paths, cards, states, strict=True):
        different = [key for key in _SAME if card.get(key) != cards[0].get(key)]
        if different or state.keys() != states[0].keys():
            raise DataError(
                f"{str(path)!r} is another network than the first: {', '.join(different) or 'other arrays'}; "
                "average states of one training"
            )
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")
    shutil.copyfile(paths[0], part)
    with h5py.File(part, "r+") as file:
        for name, array in states[0].items():
            if array.dtype.kind == "f":
                file[name][...] = np.mean([state[name] for state in states], axis=0, dtype=np.float64)
    card = {key: value for key, value in cards[0].items() if key not in _SCORES}
    card |= {"sha256": file_sha256(part), "mean_of": [file_sha256(path) for path in paths]}
    part.replace(out)
    write_card(out, card)


def write_card(weights: Path, card: Mapping[str, Any]) -> None:
    """Write the card beside a weight file."""
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    path = weights.with_name(weights.name.removesuffix(SUFFIX) + ".json")
    atomic_write(path, lambda file: file.write(text.encode()))


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return all arrays of a weight file, by their paths in it."""
    arrays: dict[str, np.ndarray] = {}

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(add)
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("weights", type=Path, nargs="+")
    options = parser.parse_args()
    for path in (options.out, *options.weights):
        if not path.name.endswith(SUFFIX):
            parser.error(f"{str(path)!r} does not end with {SUFFIX}")
    try:
        average_files(options.out, options.weights)
    except VsrError as error:
        sys.exit(f"error: {error}")
    print(f"{options.out}: the mean of {len(options.weights)} files")


if __name__ == "__main__":
    main()
