import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")
h5py = pytest.importorskip("h5py")

from fastck.training.models.memory import Room, plan_memory  # noqa: E402
from fastck.training.models.network import build_network, calibrate_network, compile_network, load_network  # noqa: E402
from fastck.training.settings.shape import Model, NetworkShape  # noqa: E402

SMALL = NetworkShape(rows=2, columns=16, n_classes=3, timesteps=6, filters=4, dense=5, kernel_size=(1, 3))


def padded_batch(
    seed: int = 0, *, samples: int = 7, timesteps: int = 6, rows: int = 2, columns: int = 16
) -> np.ndarray:
    """Sequences of every length from nothing to full, padded in front and behind."""
    rng = np.random.default_rng(seed)
    batch = np.zeros((samples, timesteps, rows, columns, 1), np.float32)
    for sample in range(samples):
        length = sample % (timesteps + 1)
        left = -((length - timesteps) // 2)
        batch[sample, left : left + length] = rng.random((length, rows, columns, 1))
    return batch


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        # recurrent: 9 * (1 + 64) * 256 + 256 = 150,016; hidden: 265 * 265 * 64 * 100 + 100; output: 707
        ({"rows": 267, "columns": 267, "kernel_size": (3, 3), "n_classes": 7}, 449_590_823),
        ({"rows": 34, "columns": 34, "kernel_size": (3, 3), "n_classes": 7}, 6_704_423),
        ({"rows": 2, "columns": 267, "kernel_size": (1, 3), "n_classes": 7}, 3_442_983),
    ],
)
def test_parameter_counts_by_hand(settings: dict[str, object], parameters: int):
    assert NetworkShape(**settings, filters=64, dense=100).parameters == parameters


@pytest.mark.parametrize("kernel_size", [(1, 3), (3, 3), (2, 5)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("model", ["convlstm", "temporal", "ststnet"])
def test_counted_parameters_are_keras(kernel_size: tuple[int, int], channels: int, model: str):
    small = {"rows": 9, "columns": 12, "n_classes": 4, "filters": 3, "dense": 6, "timesteps": 2}
    shape = NetworkShape(**small, kernel_size=kernel_size, channels=channels, model=model)
    assert build_network(shape).count_params() == shape.parameters


@pytest.mark.parametrize("model", ["convlstm", "temporal"])
def test_the_scale_is_in_the_network_and_survives_saving(tmp_path: Path, model: str):
    shape = NetworkShape(rows=2, columns=8, n_classes=3, filters=2, dense=4, timesteps=5, channels=2, model=model)
    values = np.random.default_rng(0).normal(size=(3, 5, 2, 8, 2)).astype(np.float32)
    plain, scaled = build_network(shape, seed=4), build_network(shape, seed=4, scale=[2.0, 0.5])
    expected = plain.predict(values * np.float32([2.0, 0.5]), verbose=0)
    np.testing.assert_allclose(scaled.predict(values, verbose=0), expected, rtol=1e-5)
    scaled.save(tmp_path / "scaled.keras")
    np.testing.assert_array_equal(
        load_network(tmp_path / "scaled.keras").predict(values, verbose=0), scaled.predict(values, verbose=0)
    )


def test_network_is_the_papers():
    network = build_network(NetworkShape(rows=2, columns=267, n_classes=7))
    assert [type(layer).__name__ for layer in network.layers] == ["ConvLSTM2D", "Dropout", "Flatten", "Dense", "Dense"]
    recurrent, dropout, _, hidden, output = network.layers
    assert recurrent.filters == 64
    assert recurrent.kernel_size == (1, 3)
    assert recurrent.activation is keras.activations.relu
    assert dropout.rate == 0.5
    assert (hidden.units, hidden.activation) == (100, keras.activations.relu)
    assert (output.units, output.activation) == (7, keras.activations.softmax)
    assert network.input_shape == (None, 39, 2, 267, 1)


STSTNET = NetworkShape(rows=28, columns=28, channels=3, n_classes=3, timesteps=4, model="ststnet")


def test_ststnet_is_three_streams_on_the_last_step():
    """The authors' source: convolutions of 3, 5 and 8 filters side by side, 5 x 5 x 16 values, one for each class."""
    network = build_network(STSTNET, seed=2)
    # 3 * 3 * 3 * 16 + 16 and 400 * 3 + 3
    assert network.count_params() == STSTNET.parameters == 1651
    frame = keras.Input((28, 28, 3))
    streams = [keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(frame) for filters in (3, 5, 8)]
    pooled = [keras.layers.MaxPooling2D(3, padding="same")(stream) for stream in streams]
    mean = keras.layers.AveragePooling2D(2)(keras.layers.Concatenate()(pooled))
    assert mean.shape[1:] == (5, 5, 16)
    output = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(mean))
    papers = keras.Model(frame, output)
    kernel, bias, *dense = network.get_weights()
    kernels, biases = (np.split(values, [3, 8], axis=-1) for values in (kernel, bias))
    papers.set_weights([values for pair in zip(kernels, biases, strict=True) for values in pair] + dense)
    values = np.random.default_rng(3).normal(size=(5, *STSTNET.input_shape)).astype(np.float32)
    expected = papers.predict(values[:, -1], verbose=0)
    np.testing.assert_allclose(network.predict(values, verbose=0), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="ststnet needs frames of 4x4 or more, got 3x28"):
        replace(STSTNET, rows=3)


def test_seed_decides_the_weights():
    first, again, other = (build_network(SMALL, seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


# In 20 rows and 16 columns a part of the frame stands for what has not begun.
@pytest.mark.parametrize(("rows", "timesteps", "batches"), [(2, 6, [7]), (5, 6, [7]), (20, 4, [7, 1, 2])])
@pytest.mark.parametrize("model", ["convlstm", "temporal"])
def test_other_computations_of_the_network_agree_with_keras(
    model: Model, rows: int, timesteps: int, batches: list[int]
):
    """One graph takes any number of samples, as in training."""
    import tensorflow as tf

    shape = replace(SMALL, model=model, rows=rows, timesteps=timesteps, kernel_size=(min(rows, 3) - 1, 3))

    def step_of(network: keras.Model) -> Callable[[np.ndarray], tuple[tf.Tensor, list[tf.Tensor]]]:
        @tf.function(input_signature=[tf.TensorSpec((None, *shape.input_shape))])
        def step(values: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
            with tf.GradientTape() as tape:
                output = network(values, training=True)
                loss = -tf.reduce_mean(tf.math.log(output[:, 1]))
            return output, tape.gradient(loss, network.trainable_variables)

        return step

    reference = build_network(shape, dropout=0.0)
    reference.set_weights([w + 0.1 for w in reference.get_weights()])
    reference_step = step_of(reference)
    for remat in (False, True) if model == "convlstm" else (False,):
        other = build_network(shape, dropout=0.0, fused=True, remat=remat)
        other.set_weights(reference.get_weights())
        other_step = step_of(other)
        for samples in batches:
            values = padded_batch(rows=rows, timesteps=timesteps, samples=samples)
            (expected, gradients), (output, others) = reference_step(values), other_step(values)
            np.testing.assert_allclose(output, expected, atol=1e-5)
            for got, want in zip(others, gradients, strict=True):
                np.testing.assert_allclose(got, want, atol=1e-5 * max(1.0, float(np.abs(want).max())))


def test_no_convolution_is_of_no_samples(monkeypatch: pytest.MonkeyPatch):
    """With oneDNN its result has a wrong shape; elsewhere nobody would see it."""
    import tensorflow as tf

    from fastck.training.models.backends import current_backend

    backend, counts = current_backend(), []
    convolve = backend.convolve

    def counting(values: tf.Tensor, kernel: tf.Tensor, padding: str) -> tf.Tensor:
        tf.py_function(lambda samples: counts.append(int(samples)), [tf.shape(values)[0]], [])
        return convolve(values, kernel, padding)

    monkeypatch.setattr(backend, "convolve", counting)
    network = build_network(SMALL, dropout=0.0, fused=True)
    values = padded_batch(samples=3)
    values[:, :2] = 0  # no sample has begun in the first two frames
    tf.function(network)(values, training=True)
    assert len(counts) >= 2 * SMALL.timesteps
    assert min(counts) == 1
    assert max(counts) == 3


def test_accumulated_micro_batches_move_the_weights_as_one_batch_does():
    import tensorflow as tf

    from fastck.batches.gather import accumulation_pieces

    values, targets = padded_batch(samples=11), np.eye(3, dtype=np.float32)[np.arange(11) % 3]
    orders = [np.random.default_rng(epoch).permutation(11) for epoch in range(3)]
    whole, cut = build_network(SMALL, dropout=0.0), build_network(SMALL, dropout=0.0)
    compile_network(whole, learning_rate=0.01)
    compile_network(cut, learning_rate=0.01, micro_batches=4)
    for order in orders:
        for batch in (order[:8], order[8:]):
            whole.train_on_batch(values[batch], targets[batch])
    pieces, weights = accumulation_pieces(orders, batch_size=8, micro_batches=4)
    for piece, weight in zip(pieces, weights, strict=True):
        cut.train_on_batch(values[piece], targets[piece], sample_weight=tf.constant(weight))
    assert int(cut.optimizer.iterations) == int(whole.optimizer.iterations) == 6
    for got, want in zip(cut.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)


def test_loss_and_accuracy_do_not_depend_on_the_micro_batches():
    import tensorflow as tf

    from fastck.batches.gather import accumulation_pieces

    values, targets = padded_batch(samples=16), np.eye(3, dtype=np.float32)[np.arange(16) % 3]
    temporal, results = replace(SMALL, model="temporal"), []
    for micro_batches in (1, 4, 6):
        # A step so small that every sequence sees the same weights.
        network = build_network(temporal, dropout=0.0)
        compile_network(network, learning_rate=1e-12, micro_batches=micro_batches)
        pieces, weights = accumulation_pieces([np.arange(16)], batch_size=10, micro_batches=micro_batches)
        steps = [(values[piece], targets[piece], weight) for piece, weight in zip(pieces, weights, strict=True)]
        dataset = tf.data.Dataset.from_generator(
            lambda steps=steps: iter(steps),
            output_signature=tuple(tf.TensorSpec((None, *shape)) for shape in (values.shape[1:], (3,), ())),
        )
        logs = network.fit(dataset, steps_per_epoch=len(pieces), verbose=0).history
        results.append({name: entries[0] for name, entries in logs.items()})
    probabilities = build_network(temporal, dropout=0.0).predict(values, verbose=0)
    loss = keras.losses.CategoricalCrossentropy()(targets, probabilities)
    accuracy = (probabilities.argmax(axis=1) == targets.argmax(axis=1)).mean()
    for logs in results:
        assert logs["loss"] == pytest.approx(float(loss), rel=1e-5)
        assert logs["accuracy"] == pytest.approx(accuracy)


def test_a_calibrated_network_divides_its_logits():
    from fastck.training.models.calibration import with_temperature

    network = build_network(SMALL)
    before = network.predict(padded_batch(), verbose=0)
    after = calibrate_network(network, 2.5).predict(padded_batch(), verbose=0)
    np.testing.assert_allclose(after, with_temperature(before, 2.5), atol=1e-6)


def test_saved_network_loads_without_running_code(tmp_path: Path):
    network = build_network(SMALL)
    path = tmp_path / "model.keras"
    network.save(path)
    loaded = load_network(path)
    np.testing.assert_array_equal(loaded.predict(padded_batch(), verbose=0), network.predict(padded_batch(), verbose=0))


def test_a_network_with_code_in_it_is_refused(tmp_path: Path):
    network = keras.Sequential([keras.layers.Input((3,)), keras.layers.Lambda(lambda x: x * 2)])
    network.save(tmp_path / "lambda.keras")
    with pytest.raises(ValueError, match="cannot be loaded as a network"):
        load_network(tmp_path / "lambda.keras")
    (tmp_path / "broken.keras").write_bytes(b"not a zip file")
    with pytest.raises(ValueError, match="cannot be loaded as a network"):
        load_network(tmp_path / "broken.keras")


@pytest.mark.parametrize("model", ["convlstm", "temporal"])
def test_a_network_of_the_runs_shape_is_loaded_as_it_was_saved(tmp_path: Path, model: Model):
    shape = replace(SMALL, model=model)
    network = build_network(shape, scale=[2.5], seed=3)
    network.save(tmp_path / "model.keras")
    loaded = load_network(tmp_path / "model.keras", shape=shape)
    np.testing.assert_array_equal(loaded.predict(padded_batch(), verbose=0), network.predict(padded_batch(), verbose=0))
    with pytest.raises(ValueError, match=r"expected the [\d,]+ weights of the run's network, got [\d,]+"):
        load_network(tmp_path / "model.keras", shape=replace(shape, filters=shape.filters + 1))
    with pytest.raises(ValueError, match=r"expected the [\d,]+ weights of the run's network, got [\d,]+"):
        load_network(tmp_path / "model.keras", shape=replace(shape, filters=10_000, dense=100_000))


def remade(path: Path, out: Path, change: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Write a .keras file anew with other contents."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w", compression) as made:
        for name in source.namelist():
            made.writestr(name, change.get(name, source.read(name)))
    return out


def test_hostile_network_files_are_refused_before_memory_is_taken(tmp_path: Path):
    path = tmp_path / "model.keras"
    build_network(SMALL, scale=[2.5]).save(path)
    # Compressed, a small file may hold gigabytes.
    bomb = remade(path, tmp_path / "bomb.keras", {"model.weights.h5": bytes(2**24)}, zipfile.ZIP_DEFLATED)
    # Weights that the file says it has, and has not.
    with h5py.File(tmp_path / "empty.h5", "w") as weights:
        weights.create_dataset("layers/dense/vars/0", shape=(2**40,), dtype="f4", chunks=(2**20,))
    sparse = remade(path, tmp_path / "sparse.keras", {"model.weights.h5": (tmp_path / "empty.h5").read_bytes()})
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    for layer in config["config"]["layers"]:
        if layer["class_name"] == "Rescaling":
            layer["config"]["scale"] = [float("nan")]
    scaled = remade(path, tmp_path / "scaled.keras", {"config.json": json.dumps(config).encode()})
    empty = remade(path, tmp_path / "none.keras", {"config.json": b"{}"})
    cut = tmp_path / "cut.keras"
    cut.write_bytes(path.read_bytes()[:2000])
    for file in (bomb, sparse, scaled, empty, cut):
        with pytest.raises(ValueError, match=rf"^{file} cannot be loaded as a network: .*$"):
            load_network(file, shape=SMALL)


def test_frames_smaller_than_the_kernel_are_refused():
    with pytest.raises(ValueError, match="frames of 2x16 are smaller than the kernel 3x3"):
        replace(SMALL, kernel_size=(3, 3))
    with pytest.raises(ValueError, match="model must be one of convlstm, temporal, ststnet, got 'lstm'"):
        build_network(replace(SMALL, model="lstm"))


PHASE_1 = NetworkShape(rows=267, columns=267, n_classes=7, kernel_size=(3, 3))
PHASE_3 = NetworkShape(rows=2, columns=267, n_classes=7)


def test_plan_cuts_until_it_fits():
    roomy = plan_memory(PHASE_3, Room(budget=64 * 2**30))
    assert (roomy.micro_batch, roomy.micro_batches, roomy.remat, roomy.accumulators) == (64, 1, False, 0)
    tight = plan_memory(PHASE_3, Room(budget=2 * 2**30))
    assert tight.total <= 2 * 2**30
    assert tight.micro_batch * tight.micro_batches >= 64 > tight.micro_batch
    first = plan_memory(PHASE_1, Room(budget=20 * 2**30))
    assert first.total <= 20 * 2**30
    assert first.micro_batch * first.micro_batches == 64
    assert first.accumulators == 4 * first.parameters


def test_plan_counts_what_each_fit_before_leaves_behind():
    small = NetworkShape(rows=2, columns=267, n_classes=4, filters=8)
    one, sixty = plan_memory(small, Room(budget=2**40)), plan_memory(small, Room(budget=2**40, fits=60))
    # Measured: 60 fits under `loso` peaked at 2.65 GiB, a single one at 1.24.
    assert sixty.total - one.total == pytest.approx((2.65 - 1.24) * 2**30, rel=0.05)


def test_plan_says_when_nothing_fits():
    with pytest.raises(ValueError, match=r"needs about .* GiB even in micro-batches of 1, 4.0 GiB are allowed"):
        plan_memory(PHASE_1, Room(budget=4 * 2**30))


def test_plan_of_a_network_without_recurrence_knows_one_step_only():
    one, many = (plan_memory(replace(STSTNET, timesteps=steps), Room(budget=2**40)) for steps in (1, 39))
    assert many.activations == one.activations
    assert many.inputs == 39 * one.inputs


def test_plan_keeps_to_what_was_asked():
    shape = NetworkShape(rows=34, columns=34, n_classes=7, kernel_size=(3, 3))
    plan = plan_memory(shape, Room(budget=2**40), micro_batch=5, remat=True)
    assert (plan.micro_batch, plan.micro_batches, plan.remat) == (5, 13, True)
    assert "64 in 13 micro-batches of 5" in plan.text()
