"""``vsr train --adversarial``: its options, their defaults, and what it refuses before reading footage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from terminal import Outcome
from vsrcli.cli.train import train
from vsrcli.cli.train_options import training_config
from vsrcli.errors import UsageError
from vsrcli.train.config import AdversarialConfig, TrainConfig

Vsr = Callable[..., Outcome]


def config_of(tmp_path: Path, *arguments: str, settings: dict[str, Any] | None = None) -> TrainConfig:
    names = ["-h", "--help"]  # Click keeps the option of its first context
    context = train.make_context(
        "train",
        [str(tmp_path), "--run", "run", *arguments],
        default_map=settings or {},
        help_option_names=names,
    )
    return training_config(context, context.params)


def test_without_the_option_training_is_as_before(tmp_path):
    assert config_of(tmp_path) == TrainConfig()


def test_its_defaults_give_way_to_options_and_settings(tmp_path):
    config = config_of(tmp_path, "--adversarial")
    assert config.adversarial == AdversarialConfig()
    assert (config.steps, config.learning_rate, config.temporal_weight) == (1500, 2e-4, 0.3)
    config = config_of(
        tmp_path,
        "--adversarial",
        "--degradation",
        "footage",
        "--feature-weight",
        "0",
        settings={"learning_rate": 5e-5},
    )
    assert (config.degradation, config.learning_rate, config.frames) == ("footage", 5e-5, 18)
    assert config.adversarial == AdversarialConfig(feature_weight=0.0)


def test_its_options_alone_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"--ping-pong-weight is for --adversarial"):
        config_of(tmp_path, "--ping-pong-weight", "1")


def test_help_lists_the_options_in_a_group_of_their_own(vsr: Vsr):
    group = vsr("train", "--help").out.split("\nSharp:\n")[1].split("\n\n")[0]
    names = [line.split()[0] for line in group.splitlines() if line.startswith("  --")]
    assert names[0] == "--adversarial"
    expected = {f"--{name.replace('_', '-')}" for name in AdversarialConfig.__dataclass_fields__}
    assert set(names[1:]) == expected


def test_initial_weights_are_asked_for_before_footage_is_read(tmp_path, vsr: Vsr):
    (tmp_path / "a.mp4").write_bytes(b"not a video")
    outcome = vsr("train", str(tmp_path), "--run", str(tmp_path / "run"), "--adversarial")
    assert outcome.status == 2
    assert "--init FILE" in outcome.err
    assert not (tmp_path / "run").exists()
