"""Training on the backend that Keras runs on; `make test-backends` runs these for JAX and PyTorch.

In the folder that FASTCK_EXCHANGE names each backend leaves its losses, predictions and networks for the others.
"""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras")

from fastck.training import files
from fastck.training.models.backends import current_backend
from fastck.training.models.startup import start_keras
from fastck.training.run import Run, open_run
from fastck.training.settings.config import TrainConfig
from fastck.training.train import train
from tests.backends import steps
from tests.helpers.tinystore import make_store, make_table

# Losses are near 2, probabilities below 1; ten steps in float32 were 2.4e-7 apart.
TOLERANCE = 1e-5
SMALL = TrainConfig(
    phase=3,
    filters=2,
    dense=4,
    timesteps=9,
    epochs=3,
    batch_size=16,
    micro_batch=6,
    per_emotion=0,
    baselines=False,
    final=False,
)
PHASE_5 = replace(
    SMALL, phase=5, model="temporal", augment=True, early_stopping=2, protocol="stratified-group", folds=2
)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of all backends' results, with this one's in it."""
    folder = Path(os.environ.get("FASTCK_EXCHANGE") or tmp_path_factory.mktemp("exchange"))
    steps.main(folder / start_keras())
    return folder


@pytest.fixture(scope="module")
def others(exchange: Path) -> list[Path]:
    folders = [path.parent for path in sorted(exchange.glob("*/results.npz")) if path.parent.name != start_keras()]
    if not folders:
        pytest.skip("no other backend has left results: see make test-backends")
    return folders


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backends") / "store"
    make_store(path, make_table(subjects=4, emotions=tuple(range(1, 8))), side=16, flow=True)
    return path


@pytest.fixture(scope="module")
def whole(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(store, tmp_path_factory.mktemp("whole") / "run", PHASE_5, verbose=0).path


def test_ten_steps_agree_with_other_backends(exchange: Path, others: list[Path]):
    with np.load(exchange / start_keras() / "results.npz") as own:
        for folder in others:
            with np.load(folder / "results.npz") as other:
                assert set(own) == set(other)
                for name in own:
                    np.testing.assert_allclose(own[name], other[name], atol=TOLERANCE, err_msg=f"{folder.name} {name}")


@pytest.mark.parametrize("name", steps.TRIED)
def test_a_network_of_another_backend_predicts_alike(others: list[Path], name: str):
    from fastck.training.models.network import load_network

    for folder in others:
        network = load_network(folder / f"{name}.keras")
        _, timesteps, rows, columns, channels = network.input_shape
        values, _ = steps.sequences(steps.TRIED[name][0], channels, rows, columns, timesteps)
        with np.load(folder / "results.npz") as results:
            np.testing.assert_allclose(
                network.predict(values, verbose=0), results[f"predictions-{name}"], atol=TOLERANCE
            )


def test_the_losses_fall_or_move(exchange: Path):
    with np.load(exchange / start_keras() / "results.npz") as own:
        for name in steps.TRIED:
            losses = own[f"losses-{name}"]
            assert np.isfinite(losses).all()
            assert len(set(losses)) == steps.STEPS * steps.MICRO_BATCHES


@pytest.mark.parametrize("options", [{"phase": 3, "remat": True}, {"phase": 4}])
def test_the_papers_network_trains_and_says_on_what(store: Path, tmp_path: Path, options: dict[str, object]):
    train(store, tmp_path / "run", replace(SMALL, epochs=1, **options), verbose=0)
    check_run(open_run(tmp_path / "run"))


def test_the_temporal_network_trains_and_says_on_what(whole: Path):
    check_run(open_run(whole / "folds" / "repeat1-fold01"))


def check_run(run: Run) -> None:
    assert run.record["backend"] == start_keras()
    assert run.record["versions"][start_keras()] == current_backend().version()
    assert run.record["memory_plan"]["backend"] == start_keras()
    assert np.isfinite(run.history["loss"]).all()
    assert run.model.predict(np.zeros((1, *run.model.input_shape[1:]), np.float32), verbose=0).sum() == pytest.approx(1)


def test_a_killed_run_ends_as_one_that_was_not(
    store: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from fastck.training.models.checkpoint import Checkpoint

    class Killed(BaseException):
        pass

    write = Checkpoint._write

    def write_and_die(self: Checkpoint, epoch: int) -> None:
        write(self, epoch)
        if epoch == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "_write", write_and_die)
        with pytest.raises(Killed):
            train(store, tmp_path / "killed", PHASE_5, verbose=0)
    record = json.loads((tmp_path / "killed" / files.RECORD).read_text())
    (tmp_path / "killed" / files.RECORD).write_text(json.dumps(record | {"backend": "other"}))
    with pytest.raises(ValueError, match="with Keras' backend other, this is"):
        train(store, tmp_path / "killed", PHASE_5, resume=True, verbose=0)
    (tmp_path / "killed" / files.RECORD).write_text(json.dumps(record))
    train(store, tmp_path / "killed", PHASE_5, resume=True, verbose=0)
    assert not (tmp_path / "killed" / files.CHECKPOINTS).exists()
    for name in (files.HISTORY, files.PREDICTIONS):
        assert (tmp_path / "killed" / name).read_bytes() == (whole / name).read_bytes()


def out_of_memory() -> BaseException:
    """Return what the backend raises where a device has no memory left."""
    if start_keras() == "tensorflow":
        import tensorflow as tf

        return tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
    if start_keras() == "jax":
        import jax

        return jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8589934592 bytes.")
    import torch

    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8.00 GiB.")


def test_without_memory_the_micro_batch_is_halved_once(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import keras

    fit = keras.Model.fit
    left = [1]

    def failing(self: keras.Model, *args: object, **options: object) -> object:
        if left[0]:
            left[0] -= 1
            raise out_of_memory()
        return fit(self, *args, **options)

    start_keras()
    assert not current_backend().is_out_of_memory(ValueError("out of memory"))
    monkeypatch.setattr(keras.Model, "fit", failing)
    lines: list[str] = []
    config = replace(PHASE_5, protocol="random", epochs=1, early_stopping=None)
    train(store, tmp_path / "run", config, verbose=0, on_message=lines.append)
    assert any("started again with micro-batches of 3 in place of 6" in line for line in lines)
    plan = open_run(tmp_path / "run").record["memory_plan"]
    assert (plan["micro_batch"], plan["micro_batches"], plan["halved"]) == (3, 6, True)
    left[0] = 2
    with pytest.raises(ValueError, match="no memory left with micro-batches of 3"):
        train(store, tmp_path / "twice", config, verbose=0)
