import io
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from fastck.dataset.labels import EMOTIONS
from fastck.recognition.model import BUNDLED, SMALLEST, Recogniser, bundled, inputs


def windows(n: int = 40) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.02, (n, 3, 28, 28)).astype(np.float32)


def taken(cells: np.ndarray) -> np.ndarray:
    """Return the cells of the circle, and these over their root mean square displacement, with plain loops."""
    places = [(r, c) for r in range(14) for c in range(14) if (r - 6.5) ** 2 + (c - 6.5) ** 2 <= 49]
    rows = []
    for one in cells:
        values = [plane[place] for plane in one for place in places]
        squares = [one[0][place] ** 2 + one[1][place] ** 2 for place in places]
        size = np.sqrt(sum(squares) / len(squares) + SMALLEST**2)
        rows.append([*values, *(value / size for value in values)])
    return np.array(rows)


def test_the_bundled_network_equals_scikit_learns() -> None:
    model = bundled()
    flow = windows()
    with np.load(BUNDLED, allow_pickle=False) as file:
        weights = {name: file[name].astype(np.float32) for name in file.files if name != "about"}
    # The cells' means, taken with a plain loop.
    cells = np.empty((len(flow), 3, 14, 14), np.float64)
    for row in range(14):
        for column in range(14):
            cells[:, :, row, column] = flow[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean(axis=(2, 3))
    layers = sum(name.startswith("kernel") for name in weights)
    hidden = tuple(weights[f"kernel{layer}"].shape[1] for layer in range(layers - 1))
    oracle = MLPClassifier(hidden_layer_sizes=hidden, max_iter=1)
    with pytest.warns(match="Maximum iterations"):
        oracle.fit(taken(cells)[:8] * weights["scale"], np.arange(8))
    oracle.coefs_ = [weights[f"kernel{layer}"].astype(np.float64) for layer in range(layers)]
    oracle.intercepts_ = [weights[f"bias{layer}"].astype(np.float64) for layer in range(layers)]
    # The temperature divides what goes into the softmax: the last layer.
    oracle.coefs_[-1] = oracle.coefs_[-1] / model.about["temperature"]
    oracle.intercepts_[-1] = oracle.intercepts_[-1] / model.about["temperature"]
    # The mean of the logits of a face and its mirror image: the logarithms of the probabilities, but for a constant.
    turned = cells[..., ::-1] * np.array([-1, 1, 1])[:, None, None]
    both = [oracle.predict_log_proba(taken(one) * weights["scale"]) for one in (cells, turned)]
    expected = np.exp(np.mean(both, axis=0))
    # 936 products are summed in float32 there, in float64 here.
    np.testing.assert_allclose(model.probabilities(flow), expected / expected.sum(axis=1, keepdims=True), atol=2e-5)


def test_half_of_the_inputs_tell_nothing_about_how_strong_an_expression_is() -> None:
    cells = np.random.default_rng(0).normal(0, 0.1, (5, 3, 14, 14)).astype(np.float32)
    strong, weak = inputs(cells), inputs(cells / 5)
    np.testing.assert_allclose(weak[:, :468], strong[:, :468] / 5, rtol=1e-6)
    # The size is 0.14, and 0.028: beside that the smallest one counts for less than a hundredth.
    np.testing.assert_allclose(weak[:, 468:], strong[:, 468:], rtol=0.01)
    # Noise is not made as large as an expression.
    assert np.abs(inputs(cells / 1000)[:, 468:]).max() < 0.2 * np.abs(strong[:, 468:]).max()


def test_what_moves_in_the_corners_of_a_crop_says_nothing() -> None:
    flow = windows(5)
    elsewhere = flow.copy()
    for rows in (slice(0, 4), slice(24, 28)):
        for columns in (slice(0, 4), slice(24, 28)):
            elsewhere[:, :, rows, columns] = 0.3
    np.testing.assert_array_equal(bundled().probabilities(elsewhere), bundled().probabilities(flow))


def test_a_mirrored_face_gets_the_same_answer() -> None:
    flow = windows()
    turned = flow[..., ::-1].copy()
    turned[:, 0] *= -1
    np.testing.assert_allclose(bundled().probabilities(turned), bundled().probabilities(flow), atol=1e-6)


def test_classes_are_ckplus_codes_and_the_file_is_small() -> None:
    model = bundled()
    assert model.classes == tuple(EMOTIONS.values())
    assert BUNDLED.stat().st_size <= 1_000_000
    np.testing.assert_allclose(model.probabilities(windows(3)).sum(axis=1), 1, atol=1e-6)
    assert model.probabilities(windows(3)).dtype == np.float32


def test_unsure_is_no_emotion() -> None:
    model = bundled()
    row = np.full(8, 0.01, np.float32)
    row[5] = model.unsure_below + 0.01
    assert model.decide(row) == "happy"
    row[5] = model.unsure_below - 0.01
    assert model.decide(row) is None


@pytest.mark.parametrize("shape", [(3, 28, 28), (1, 3, 14, 14), (2, 2, 28, 28)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"flow must have shape \(N, 3, 28, 28\), got"):
        bundled().probabilities(np.zeros(shape, np.float32))


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    for content in (
        b"",
        b"nothing",
        _npz(other=np.zeros(2)),
        _npz(about=np.array(json.dumps({"format": 99}))),
        _npz(about=np.array(json.dumps({"format": 1}))),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is no model of fastck's recogniser"):
            Recogniser(path)


def _npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()
