"""Training steps of PyTorch on a device without memory, on which no tensor has values.

    KERAS_BACKEND=torch python -m tests.backends.one_device

prints, as JSON, on which devices each network's gradients are, and what an operation raises that mixes two devices.
PyTorch for CPUs cannot go back through operations on "cuda": a stand-in is registered, which changes the process.
"""

import json
from dataclasses import replace
from typing import Any

import keras
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from fastck.training.models import fused as fused_layers
from fastck.training.models.backends import current_backend
from fastck.training.models.network import build_network, compile_network
from fastck.training.settings.shape import Model, NetworkShape

DEVICE = "npu:0"
MODELS: tuple[Model, ...] = ("convlstm", "temporal", "ststnet")
SAMPLES, BEGUN = 5, (0, 2, 3, 5)
SHAPE = NetworkShape(rows=8, columns=8, channels=2, n_classes=3, timesteps=4, filters=3, dense=4, kernel_size=(1, 3))


def placed(make: Any) -> Any:
    """Return what makes tensors from values, but on the device without them."""

    def run(*args: Any, device: Any = None, **options: Any) -> Any:
        made = make(*args, **options)
        return made if device is None else torch.empty(made.shape, dtype=made.dtype, device=device)

    return run


def step(model: Model, *, fused: bool) -> list[str]:
    """Run a step as Keras does, and return the devices of the gradients.

    Every operation raises where its tensors lie on two devices. Dropout and gradient checkpointing draw numbers on the
    device, which this one cannot.
    """
    shape = replace(SHAPE, model=model)
    network = compile_network(build_network(shape, dropout=0.0, scale=[0.5, 2.0], fused=fused), learning_rate=0.01)
    network.optimizer.build(network.trainable_variables)
    symbols = ShapeEnv(allow_dynamic_output_shape_ops=True)
    with FakeTensorMode(allow_non_fake_inputs=True, shape_env=symbols), keras.device(DEVICE):
        for variable in network.variables + network.optimizer.variables:
            kind = variable.value.dtype
            value = torch.empty(tuple(variable.shape), dtype=kind, device=DEVICE)
            if kind.is_floating_point:
                value = torch.nn.Parameter(value, requires_grad=variable.trainable)
            variable._value = value
        predicted = network(torch.empty((SAMPLES, *shape.input_shape), device=DEVICE), training=True)
        targets = torch.empty((SAMPLES, shape.n_classes), device=DEVICE)
        network.compute_loss(y=targets, y_pred=predicted).backward()
        gradients = [variable.value.grad for variable in network.trainable_weights]
        network.optimizer.apply(gradients, network.trainable_weights)
    if [gradient.shape for gradient in gradients] != [variable.shape for variable in network.trainable_weights]:
        raise ValueError("a gradient has another shape than what it moves")
    return sorted({str(gradient.device) for gradient in gradients})


def main() -> None:
    """Run all networks, then one in which an operation mixes devices."""
    _setup_privateuseone_for_python_backend(DEVICE.partition(":")[0])
    torch.as_tensor, torch.tensor, tensor = placed(torch.as_tensor), placed(torch.tensor), torch.tensor
    # Tensors without values have nothing that a loop could count.
    begun, start_order = tensor(BEGUN), fused_layers._start_order
    fused_layers._start_order = lambda frames: (start_order(frames)[0], begun)
    found: dict[str, Any] = {
        f"{model}, fused={fused}": step(model, fused=fused) for model in MODELS for fused in (0, 1)
    }
    current_backend().row_products = lambda rows, kernel: rows @ torch.empty(tuple(kernel.shape))
    try:
        step("temporal", fused=True)
    except RuntimeError as error:
        found["mixed"] = str(error)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
