"""The way to a GPU, rehearsed without one: what is exported, compiled and installed."""

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


DEVICE = "npu:0"


@pytest.fixture(scope="module")
def device() -> str:
    """Register a device that has no memory: PyTorch for CPUs cannot go back through operations on "cuda"."""
    if start_keras() != "torch":
        pytest.skip("for PyTorch")
    from torch.utils import backend_registration

    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this PyTorch takes no devices that are made in Python")
    backend_registration._setup_privateuseone_for_python_backend(DEVICE.partition(":")[0])
    return DEVICE


def torch_step(network: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Run a step on tensors without values that lie on DEVICE, as Keras runs it; return the gradients.

    Every operation raises where its tensors lie on two devices.
    """
    import keras
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    from fastck.training.models import fused

    def placed(make: Any) -> Any:
        def run(*args: Any, device: Any = None, **options: Any) -> Any:
            made = make(*args, **options)
            return made if device is None else torch.empty(made.shape, dtype=made.dtype, device=device)

        return run

    network.optimizer.build(network.trainable_variables)
    _, targets = batch()
    # Tensors without values have nothing that a loop could count.
    begun, start_order = torch.tensor([0, 2, 3, 5]), fused._start_order
    monkeypatch.setattr(fused, "_start_order", lambda frames: (start_order(frames)[0], begun))
    monkeypatch.setattr(torch, "as_tensor", placed(torch.as_tensor))
    monkeypatch.setattr(torch, "tensor", placed(torch.tensor))
    shapes = ShapeEnv(allow_dynamic_output_shape_ops=True)
    with FakeTensorMode(allow_non_fake_inputs=True, shape_env=shapes), keras.device(DEVICE):
        for variable in network.variables + network.optimizer.variables:
            kind = variable.value.dtype
            value = torch.empty(tuple(variable.shape), dtype=kind, device=DEVICE)
            if kind.is_floating_point:
                value = torch.nn.Parameter(value, requires_grad=variable.trainable)
            variable._value = value
        predicted = network(torch.empty((len(targets), *network.input_shape[1:]), device=DEVICE), training=True)
        network.compute_loss(y=torch.empty(targets.shape, device=DEVICE), y_pred=predicted).backward()
        gradients = [variable.value.grad for variable in network.trainable_weights]
        network.optimizer.apply(gradients, network.trainable_weights)
    return gradients


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("model", ["convlstm", "temporal", "ststnet"])
def test_torch_keeps_the_step_on_one_device(model: Model, fused: bool, device: str, monkeypatch: pytest.MonkeyPatch):
    from fastck.training.models.network import build_network, compile_network

    # Dropout draws from the device, which this one cannot.
    shape = replace(SHAPE, rows=8, model=model)
    network = compile_network(build_network(shape, dropout=0.0, scale=[0.5, 2.0], fused=fused), learning_rate=0.01)
    gradients = torch_step(network, monkeypatch)
    assert [tuple(value.shape) for value in gradients] == [tuple(one.shape) for one in network.trainable_weights]
    assert {str(value.device) for value in gradients} == {device}


def test_torch_raises_where_an_operation_mixes_devices(device: str, monkeypatch: pytest.MonkeyPatch):
    import torch

    from fastck.training.models.backends import current_backend
    from fastck.training.models.network import build_network, compile_network

    def mixed(rows: Any, kernel: Any) -> Any:
        return rows @ torch.empty(tuple(kernel.shape))

    monkeypatch.setattr(current_backend(), "row_products", mixed)
    shape = replace(SHAPE, model="temporal")
    network = compile_network(build_network(shape, dropout=0.0, fused=True), learning_rate=0.01)
    with pytest.raises(RuntimeError, match="same device"):
        torch_step(network, monkeypatch)


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
