"""Validation during training: which frames are scored, and which clips are refused."""

from dataclasses import replace

import pytest
from footage import write_clip

from vsrcli.degradations import PRESETS
from vsrcli.errors import DataError, UsageError
from vsrcli.models.architectures import architecture
from vsrcli.train import loop
from vsrcli.train.config import temporal_margin
from vsrcli.train.footage import find_footage
from vsrcli.train.pairs import prepare_pairs
from vsrcli.train.validation import Validation


def test_networks_that_see_more_frames_than_usual_are_validated(footage_folder, tmp_path):
    """Windows of nine and of three: scored on frames that have all neighbours."""
    sizes = {"width": 4, "blocks": 1, "head": 4}
    for levels, scored in ((4, 4), (1, 6)):
        network = architecture("duf-r-xs").with_sizes(sizes | {"levels": levels})
        validation = Validation(footage_folder, tmp_path, 2, PRESETS["bi"], margin=temporal_margin(network))
        assert [len(case.truth) for case in validation.cases][:2] == [scored, scored]
        scores = validation(network.build(2), network)
        assert scores["bi psnr_y"] == pytest.approx(max(case.baseline for case in validation.cases), abs=10)


def test_a_clip_too_small_to_score_is_named_before_the_training(tmp_path):
    write_clip(tmp_path / "tiny.mkv", 1, height=24, width=48)
    with pytest.raises(DataError, match=r"tiny.*too small to validate on \(48x24\).*27 pixels a side"):
        Validation(tmp_path, tmp_path / "cache", 2, PRESETS["bi"])


def test_a_run_that_has_more_steps_than_wanted_says_so(footage_folder, tmp_path):
    pairs = prepare_pairs(find_footage(footage_folder), tmp_path, 2, PRESETS["bi"])
    config = loop.TrainConfig(
        model="duf-r-xs",
        sizes={"width": 4, "blocks": 1, "head": 4},
        scale=2,
        degradation="bi",
        steps=2,
        batch=1,
        frames=7,
        crop=8,
        warmup=1,
    )
    loop.train(config, pairs, tmp_path / "run")
    with pytest.raises(UsageError, match="has 2 steps already: give --steps 2 or more"):
        loop.train(replace(config, steps=1), pairs, tmp_path / "run")
