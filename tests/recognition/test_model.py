import io
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import correlate2d
from sklearn.neural_network import MLPClassifier

from fastck.dataset.labels import EMOTIONS
from fastck.recogniser import BUNDLED, SMALLEST, Recogniser, bundled, inputs


def windows(n: int = 40) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.02, (n, 3, 28, 28)).astype(np.float32)


def taken(flow: np.ndarray) -> np.ndarray:
    """Return the flow of the cells in the circle, and that over its root mean square displacement, with plain loops."""
    places = [(r, c) for r in range(28) for c in range(28) if (r - 13.5) ** 2 + (c - 13.5) ** 2 <= 196]
    rows = np.zeros((len(flow), 6, 28, 28))
    for one, planes in zip(flow.astype(np.float64), rows, strict=True):
        squares = [one[0][place] ** 2 + one[1][place] ** 2 for place in places]
        size = np.sqrt(sum(squares) / len(squares) + SMALLEST**2)
        for place in places:
            for plane in range(3):
                planes[plane][place], planes[plane + 3][place] = one[plane][place], one[plane][place] / size
    return rows


def convolved(planes: np.ndarray, filters: np.ndarray, offsets: np.ndarray, stride: int) -> np.ndarray:
    """Return rectified maps by SciPy's correlation."""
    taps = filters.reshape(3, 3, len(planes), -1)
    before = 2 - stride
    beyond = np.pad(planes, ((0, 0), (before, 1), (before, 1)))
    maps = [
        sum(correlate2d(plane, taps[:, :, place, one], mode="valid") for place, plane in enumerate(beyond))
        for one in range(taps.shape[3])
    ]
    return np.maximum(np.stack(maps)[:, ::stride, ::stride] + offsets[:, None, None], 0)


def test_the_bundled_networks_equal_scipys_convolutions_and_scikit_learns_layers():
    model = bundled()
    flow = windows(12)
    with np.load(BUNDLED, allow_pickle=False) as file:
        weights = {name: file[name].astype(np.float64) for name in file.files if name != "about"}
    turned = flow[..., ::-1] * np.array([-1, 1, 1])[:, None, None]
    members = len(weights["bias1"])
    total = np.zeros((len(flow), 8))
    for values in (flow, turned):
        scaled = taken(values) * weights["scale"][:, None, None]
        for member in range(members):
            one = {name: value[member] for name, value in weights.items() if name != "scale"}
            rows = []
            for planes in scaled:
                maps = planes
                for layer, stride in enumerate((2, 1, 2)):
                    maps = convolved(maps, one[f"filters{layer}"], one[f"offsets{layer}"], stride)
                rows.append(maps.transpose(1, 2, 0).ravel())
            oracle = MLPClassifier(hidden_layer_sizes=one["bias0"].shape, max_iter=1)
            with pytest.warns(match="Maximum iterations"):
                oracle.fit(np.array(rows)[:8], np.arange(8))
            oracle.coefs_, oracle.intercepts_ = [one["kernel0"], one["kernel1"]], [one["bias0"], one["bias1"]]
            # The logarithms of probabilities are the logits, but for a constant of each row.
            total += oracle.predict_log_proba(np.array(rows))
    expected = np.exp(total / (2 * members) / model.about["temperature"])
    # Sums are in float32 there, in float64 here.
    np.testing.assert_allclose(model.probabilities(flow), expected / expected.sum(axis=1, keepdims=True), atol=2e-5)


def test_half_of_the_inputs_tell_nothing_about_how_strong_an_expression_is():
    flow = np.random.default_rng(0).normal(0, 0.1, (5, 3, 28, 28)).astype(np.float32)
    strong, weak = inputs(flow), inputs(flow / 5)
    np.testing.assert_allclose(weak[..., :3], strong[..., :3] / 5, rtol=1e-6)
    # The size is 0.14, and 0.028: beside that the smallest one counts for less than a hundredth.
    np.testing.assert_allclose(weak[..., 3:], strong[..., 3:], rtol=0.01)
    # Noise is not made as large as an expression.
    assert np.abs(inputs(flow / 1000)[..., 3:]).max() < 0.2 * np.abs(strong[..., 3:]).max()


def test_what_moves_in_the_corners_of_a_crop_says_nothing():
    flow = windows(5)
    elsewhere = flow.copy()
    for rows in (slice(0, 4), slice(24, 28)):
        for columns in (slice(0, 4), slice(24, 28)):
            elsewhere[:, :, rows, columns] = 0.3
    np.testing.assert_array_equal(bundled().probabilities(elsewhere), bundled().probabilities(flow))


def test_a_mirrored_face_gets_the_same_answer():
    flow = windows()
    turned = flow[..., ::-1].copy()
    turned[:, 0] *= -1
    np.testing.assert_allclose(bundled().probabilities(turned), bundled().probabilities(flow), atol=1e-6)


def test_classes_are_ckplus_codes_and_the_file_is_small():
    model = bundled()
    assert model.classes == tuple(EMOTIONS.values())
    assert BUNDLED.stat().st_size <= 1_000_000
    np.testing.assert_allclose(model.probabilities(windows(3)).sum(axis=1), 1, atol=1e-6)
    assert model.probabilities(windows(3)).dtype == np.float32


def test_unsure_is_no_emotion():
    model = bundled()
    row = np.full(8, 0.01, np.float32)
    row[5] = model.unsure_below + 0.01
    assert model.decide(row) == "happy"
    row[5] = model.unsure_below - 0.01
    assert model.decide(row) is None


@pytest.mark.parametrize("shape", [(3, 28, 28), (1, 3, 14, 14), (2, 2, 28, 28)])
def test_other_shapes_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"flow must have shape \(N, 3, 28, 28\), got"):
        bundled().probabilities(np.zeros(shape, np.float32))


def test_other_files_are_refused(tmp_path: Path):
    path = tmp_path / "model.npz"
    for content in (
        b"",
        b"nothing",
        _npz(other=np.zeros(2)),
        _npz(about=np.array(json.dumps({"format": 99}))),
        _npz(about=np.array(json.dumps({"format": 2}))),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is no model of fastck's recogniser"):
            Recogniser(path)


def _npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()
