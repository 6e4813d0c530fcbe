"""Crops cut on the device equal those cut on the host."""

from dataclasses import replace

import numpy as np
import pytest
from keras import ops

from vsrcli.degradations import PRESETS, degrade
from vsrcli.errors import DataError
from vsrcli.models import architectures
from vsrcli.train import loop
from vsrcli.train.batches import BatchPlan, make_batch
from vsrcli.train.config import shape_batch
from vsrcli.train.device_data import DeviceDataset, HostDataset, open_dataset
from vsrcli.train.pairs import TrainingPair


def noise_pairs(preset: str, scale: int) -> list[TrainingPair]:
    """Return two small clips of noise, so that all positions differ; crops of 8 touch their borders."""
    rng = np.random.default_rng(7)
    pairs = []
    for number, kind in enumerate(("clip", "photo")):
        high = rng.integers(0, 256, (10, 48 + 24 * number, 72, 3), dtype=np.uint8)
        variants = range(2 if preset == "video" else 1)
        low = np.stack([degrade(high, scale, PRESETS[preset], v, rng) for v in variants])
        pairs.append(TrainingPair(str(number), kind, high, low))
    return pairs


@pytest.mark.parametrize(
    ("preset", "scale", "model"), [("bd", 4, "duf-s"), ("bi", 3, "duf-16l"), ("video", 2, "duf-s")]
)
def test_host_and_device_give_the_same_batches(preset, scale, model):
    pairs, plan = noise_pairs(preset, scale), BatchPlan(4, 8, 3, 8, scale)
    architecture = architectures.architecture(model)
    data = DeviceDataset(pairs, plan, PRESETS[preset], architecture)
    for step, tensors in enumerate(data.batches(1, 5, 13), start=5):
        low, high = (255 * ops.convert_to_numpy(tensor) for tensor in tensors)
        batch = shape_batch(*make_batch(pairs, plan, 1, step), architecture)
        expected, truth = (255 * array for array in batch)
        assert low.shape == expected.shape
        np.testing.assert_array_equal(np.rint(high), np.rint(truth))
        assert np.abs(np.rint(low) - np.rint(expected)).max() <= (preset != "video")  # codes of 255
        assert np.mean(np.rint(low) != np.rint(expected)) < 0.01  # ties of rounding


def test_a_cpu_maps_footage_from_files_unless_the_device_is_requested():
    pairs, architecture = noise_pairs("bi", 2), architectures.architecture("duf-s")
    plan = BatchPlan(1, 7, 3, 8, 2)
    for placement, kind in (("auto", HostDataset), ("host", HostDataset), ("device", DeviceDataset)):
        assert type(open_dataset(placement, pairs, plan, PRESETS["bi"], architecture)) is kind
    with pytest.raises(DataError, match="--crop 30 is larger"):
        open_dataset("auto", pairs, replace(plan, crop=30), PRESETS["bi"], architecture)


def test_runs_from_host_and_device_learn_the_same(monkeypatch, tmp_path):
    small = architectures.ARCHITECTURES["duf-r-s"].with_sizes(
        {"width": 8, "levels": 1, "blocks": 1, "head": 8}
    )
    monkeypatch.setitem(architectures.ARCHITECTURES, "duf-r-s", small)
    config = loop.TrainConfig("duf-r-s", 2, "bi", steps=3, batch=2, frames=5, crop=8, warmup=0)
    pairs, losses = noise_pairs("bi", 2), {}
    for placement in ("host", "device"):
        own_losses = losses.setdefault(placement, [])
        loop.train(
            replace(config, data=placement),
            pairs,
            tmp_path / placement,
            on_step=lambda report, losses=own_losses: losses.append(report.loss),
        )
    assert losses["device"] == pytest.approx(losses["host"], rel=1e-3)
