"""The way to a GPU, rehearsed without one: what is exported, compiled and installed."""

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras")

from fastck.training.models.startup import start_keras
from fastck.training.settings.shape import Model, NetworkShape

SHAPE = NetworkShape(rows=3, columns=8, channels=2, n_classes=3, timesteps=4, filters=3, dense=4, kernel_size=(1, 3))
NETWORKS: tuple[tuple[Model, bool], ...] = (("convlstm", False), ("convlstm", True), ("temporal", False))


def batch(samples: int = 5) -> tuple[np.ndarray, np.ndarray]:
    values = np.random.default_rng(0).normal(size=(samples, *SHAPE.input_shape)).astype(np.float32)
    values[:2, :2] = 0
    return values, np.eye(SHAPE.n_classes, dtype=np.float32)[np.arange(samples) % SHAPE.n_classes]


def made(model: Model, remat: bool) -> Any:
    from fastck.training.models.network import build_network, compile_network

    network = build_network(replace(SHAPE, model=model), dropout=0.2, scale=[0.5, 2.0], fused=True, remat=remat)
    return compile_network(network, learning_rate=0.01)


@pytest.mark.parametrize(("model", "remat"), NETWORKS)
def test_jax_exports_the_step_for_cuda(model: Model, remat: bool):
    if start_keras() != "jax":
        pytest.skip("for JAX")
    import jax

    network = made(model, remat)
    values, targets = batch()
    trained = [variable.value for variable in network.trainable_variables]
    fixed = [variable.value for variable in network.non_trainable_variables]

    def loss(trained: list[Any], fixed: list[Any], values: Any, targets: Any) -> Any:
        predicted, fixed = network.stateless_call(trained, fixed, values, training=True)
        return -(targets * jax.numpy.log(predicted)).sum(), fixed

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    exported = jax.export.export(step, platforms=["cuda"])(trained, fixed, values, targets)
    assert exported.platforms == ("cuda",)
    assert len(exported.out_avals) == 1 + len(fixed) + len(trained)
    # The gradients are as large as what they move.
    assert [entry.shape for entry in exported.out_avals[-len(trained) :]] == [entry.shape for entry in trained]


def test_tensorflow_compiles_the_step_in_mixed_precision():
    if start_keras() != "tensorflow":
        pytest.skip("for TensorFlow")
    import keras

    from fastck.training.models.network import build_network, compile_network

    values, targets = batch()
    losses = {}
    for policy, compiled in (("float32", False), ("mixed_float16", True)):
        keras.mixed_precision.set_global_policy(policy)
        try:
            # XLA wants fixed shapes: Keras' own layer.
            network = build_network(replace(SHAPE, model="temporal"), dropout=0.0, seed=3)
        finally:
            keras.mixed_precision.set_global_policy("float32")
        compile_network(network, learning_rate=0.01)
        network.jit_compile = compiled
        losses[policy] = float(network.train_on_batch(values, targets, return_dict=True)["loss"])
        assert network.layers[-1].compute_dtype == "float32"
    assert losses["mixed_float16"] == pytest.approx(losses["float32"], rel=0.02)


def test_torch_keeps_each_step_on_one_device():
    if start_keras() != "torch":
        pytest.skip("for PyTorch")
    command = [sys.executable, "-m", "tests.backends.one_device"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "cannot import name '_setup_privateuseone" in done.stderr:
        pytest.skip("this PyTorch takes no devices that are made in Python")
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    # What is checked is checked: an operation that mixes devices raises.
    assert "same device" in found.pop("mixed")
    assert len(found) == 6
    assert all(devices == ["npu:0"] for devices in found.values()), found


EXTRAS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.skipif("FASTCK_EXCHANGE" not in os.environ, reason="asks the package index: see make test-backends")
@pytest.mark.parametrize("extra", sorted(set(EXTRAS) - {"dev", "docs", "bench"}))
def test_an_extra_resolves_to_wheels(extra: str):
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--only-binary", ":all:"]
    done = subprocess.run([*command, *EXTRAS[extra]], capture_output=True, text=True, check=False)
    if "connection broken" in done.stderr or "Failed to establish a new connection" in done.stderr:
        pytest.skip("no network")
    assert done.returncode == 0, done.stderr[-500:]
    assert "Would install" in done.stdout
