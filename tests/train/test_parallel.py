"""Training on two devices equals training on one. JAX presents one CPU as two; skipped without JAX."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

RUN = """
import sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from vsrcli.errors import EngineError, UsageError
from vsrcli.models import architectures
from vsrcli.models.weights import load_model, read_weights
from vsrcli.train import loop
from vsrcli.train.pairs import TrainingPair

small = replace(architectures.ARCHITECTURES["duf-r-s"], options={"width": 8, "blocks": 1, "head": 8})
architectures.ARCHITECTURES["duf-r-s"] = small
rng = np.random.default_rng(0)
pairs = [TrainingPair("a", "clip", rng.integers(0, 256, (9, 48, 48, 3), dtype=np.uint8),
                      rng.integers(0, 256, (1, 9, 24, 24, 3), dtype=np.uint8))]
config = loop.TrainConfig("duf-r-s", 2, "video", steps=3, batch=4, frames=8, crop=8, optimizer="muon")
weights = {}
for gpus, placement in ((1, "host"), (2, "host"), (2, "device")):
    losses = []
    run = Path(sys.argv[1]) / f"{gpus}{placement}"
    run_config = replace(config, gpus=gpus, data=placement)
    path = loop.train(run_config, pairs, run, on_step=lambda report: losses.append(report.loss))
    weights[gpus, placement] = load_model(read_weights(path)).get_weights()
    print(losses)
for others in list(weights.values())[1:]:
    for a, b in zip(weights[1, "host"], others, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
loop.train(replace(config, gpus=2, steps=4), pairs, Path(sys.argv[1]) / "2host")
for change, kind in (({"gpus": 3}, EngineError), ({"gpus": 2, "batch": 3}, UsageError)):
    try:
        loop.train(replace(config, **change), pairs, Path(sys.argv[1]) / "none")
    except kind as error:
        print(error)
    else:
        raise SystemExit("not refused")
"""


@pytest.mark.skipif(find_spec("jax") is None, reason="needs JAX")
def test_two_devices_train_as_one(tmp_path):
    changes = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path)],
        env={**os.environ, **changes},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--gpus 3: jax sees 2 (cpu:0, cpu:1)" in done.stdout
    assert "--batch 3 cannot be split among 2 GPUs" in done.stdout
