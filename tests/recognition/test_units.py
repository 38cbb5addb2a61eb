"""Action units: the map from the renderer's weights, the model file, and what rendered faces give."""

import json

import cv2
import numpy as np
import pytest
from sklearn.metrics import f1_score

import fastck
from fastck.faces.appearance import N_PATCHES, PATCH_LEVELS, Look, Looker, median_look, stacked
from fastck.faces.detector import FaceDetector
from fastck.faces.landmarks import LandmarkFinder
from fastck.faces.mirror import MIRRORED, mirrored_look
from fastck.faces.unit_network import PATCH_SCALE, CellNetwork, PatchNetwork, points_inputs
from fastck.faces.units import BUNDLED, OUTPUT_MIRROR, OUTPUTS, UNITS, UnitModel, bundled_units
from fastck.recognition.reading import BY_NATURE, read_units, rest_frames
from fastck.render.action_units import PARTING, action_units
from fastck.render.dataset import Person
from fastck.render.model import deform, load_model
from fastck.render.motion import Pose
from fastck.render.recipes import PEAKS
from fastck.render.variation import EASY, HARD
from tools.landmarks.points import carried
from tools.units.acts import begin as begin_script
from tools.units.acts import emotion_clip, played, pose_of
from tools.units.fit import as_bytes
from tools.units.learn import thresholds_of, turned
from tools.units.network import NetworkConfig, bounded_error, build, cells_inputs, fit_network, folded, import_keras
from tools.units.patches import Basis, inputs, unfolded
from tools.units.rows import closed_smile

SEED = 4242  # of people whom the model was not fitted to
# Units whose look on the mesh is their own; each beside the weights that show it.
CLEAR = {
    "AU12": {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0},
    "AU45": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "AU26": {"jawOpen": 0.8},
    "AU15": {"mouthFrownLeft": 1.0, "mouthFrownRight": 1.0},
    "AU02": {"browOuterUpLeft": 1.0, "browOuterUpRight": 1.0},
}


def frontal(weights=None):
    named = {f"unit/{name}": weight for name, weight in (weights or {}).items()}
    return Pose(weights=named, yaw=0.0, pitch=0.0, roll=0.0, shift=(0.0, 0.0))


def gray(frame):
    return frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


SEARCH, FIND = FaceDetector(0), LandmarkFinder()


def points_of(frame):
    boxes = SEARCH(frame)
    return FIND(frame, boxes[0]).points if boxes else None


@pytest.fixture(scope="module")
def scene():
    return Person(SEED, 3, EASY).get()[0]


@pytest.fixture(scope="module")
def at_rest(scene):
    return [gray(scene.render(frontal(), key=key)) for key in range(3)]


@pytest.fixture(scope="module")
def wink(scene, at_rest):
    shut = {"eyeBlinkLeft": 1.0, "cheekSquintLeft": 0.5}
    return np.stack([*at_rest, gray(scene.render(frontal(shut), key=9))])


def test_the_map_and_the_model_name_the_same_units():
    assert sorted(action_units({})) == list(UNITS)
    assert len(UNITS) == 44
    assert len(OUTPUTS) == 32


def test_the_map_takes_the_stronger_side_and_keeps_to_the_scale():
    found = action_units({"mouthSmileLeft": 0.4, "mouthSmileRight": 0.6, "unit/browInnerUp": 1.2, "jawOpen": -0.1})
    assert found["AU12_left"], found["AU12_right"] == pytest.approx((2.0, 3.0))
    assert found["AU12"] == found["AU12_right"]
    assert found["AU01"] == 5.0
    assert found["AU26"] == 0.0


def test_how_far_units_part_the_lips_is_read_off_the_head_model():
    """Points in the middle of both lips' inner edges, on the mesh."""
    model = load_model()
    x = np.array([-0.0975, 0.0, 0.0975] * 2)
    corners, shares = carried(x, np.array([6.614] * 3 + [6.599, 6.597, 6.599]))

    def gap(weights):
        vertices = deform(model, model.vertices, {f"unit/{name}": weight for name, weight in weights.items()})
        height = np.einsum("nk,nk->n", shares, vertices[corners, 1])
        return float((height[:3] - height[3:]).mean())

    for unit, apart in PARTING.items():
        assert 100 * (gap({unit: 1.0}) - gap({})) == pytest.approx(apart, abs=0.3), unit


def test_lips_that_a_full_smile_parts_are_a_weaker_unit_than_the_smile():
    for strength in (0.3, 0.6, 1.0):
        weights = {}
        for unit, weight in PEAKS["happy"].items():
            sides = [unit] if unit == "jawOpen" else [f"{unit}{side}" for side in ("Left", "Right")]
            weights |= dict.fromkeys(sides, strength * weight)
        found = action_units(weights)
        assert found["AU25"] < 0.7 * found["AU12"]


def test_smiles_with_closed_lips_are_told_from_dimplers_and_open_mouths():
    wanted = np.zeros((4, len(OUTPUTS)), np.float32)
    for row, units in enumerate((("AU12",), ("AU12", "AU14"), ("AU12", "AU25"), ("AU14",))):
        for name in units:
            wanted[row, [place for place, output in enumerate(OUTPUTS) if output.startswith(name)]] = 2
    assert closed_smile(wanted).tolist() == [True, False, False, False]


@pytest.mark.parametrize("name", CLEAR)
def test_a_unit_that_is_rendered_alone_is_the_strongest_one(scene, at_rest, name):
    clip = np.stack([*at_rest, gray(scene.render(frontal(CLEAR[name]), key=7))])
    units = fastck.action_units(clip)
    last = dict(zip(UNITS, units.intensities[-1], strict=True))
    # Parted lips are part of an open jaw.
    plain = {unit: value for unit, value in last.items() if "_" not in unit and (unit, name) != ("AU25", "AU26")}
    assert max(plain, key=plain.__getitem__) == name
    assert units.present[-1, UNITS.index(name)]
    assert not units.present[0, UNITS.index(name)]
    assert units.reference == "onset"


def test_a_wink_is_on_its_own_side_and_a_mirrored_one_on_the_other(wink):
    left, right = UNITS.index("AU45_left"), UNITS.index("AU45_right")
    own, other = (fastck.action_units(np.ascontiguousarray(clip)) for clip in (wink, wink[:, :, ::-1]))
    assert own.present[-1, left]
    assert other.present[-1, right]
    assert own.intensities[-1, left] > own.intensities[-1, right] + 0.5
    assert other.intensities[-1, right] > other.intensities[-1, left] + 0.5


def test_a_mirrored_face_has_the_mirrored_answer():
    rng = np.random.default_rng(5)
    faces, rest, model = looks(rng, 6), looks(rng, 1), bundled_units()
    sides = [UNITS.index(swapped(name)) for name in UNITS]
    for known in (True, False):
        said = model.intensities(rows(faces), rows(rest)[0] if known else None)
        other = model.intensities(rows(mirrored_look(faces)), rows(mirrored_look(rest))[0] if known else None)
        np.testing.assert_allclose(other, said[:, sides], atol=1e-4)


def rows(many):
    """Return each row of arrays as a look."""
    return [Look(*one) for one in zip(*many, strict=True)]


def swapped(name):
    """Return a unit's name on the other side."""
    unit, _, side = name.partition("_")
    return {"left": f"{unit}_right", "right": f"{unit}_left"}.get(side, name)


def test_a_mirrored_picture_gives_mirrored_looks(wink):
    """What the fit takes for a mirrored face is what a mirrored picture shows."""
    picture = wink[-1]
    points = points_of(picture)
    flipped = np.ascontiguousarray(picture[:, ::-1])
    there = points[MIRRORED] * np.array([-1, 1]) + np.array([picture.shape[1] - 1, 0])
    look, other = stacked([Looker()(picture, points)]), Looker()(flipped, there.astype(np.float32))
    mirrored = mirrored_look(look)
    np.testing.assert_allclose(mirrored.shape[0], other.shape, atol=0.004)
    np.testing.assert_allclose(mirrored.pose[0], other.pose, atol=0.01)
    apart = np.abs(mirrored.cells[0].astype(int) - other.cells)
    assert apart.mean() < 1, apart.mean()
    patches = np.abs(mirrored.patches[0].astype(int) - other.patches)
    assert patches.mean() < 2, patches.mean()
    assert np.abs(look.patches[0].astype(int) - other.patches).mean() > 10 * patches.mean()
    assert np.abs(look.cells[0].astype(int) - other.cells).mean() > 10 * apart.mean()
    for one, kept, changed in zip(turned(look, np.array([False])), look, turned(look, np.array([True])), strict=True):
        np.testing.assert_array_equal(one, kept)
        assert not np.array_equal(changed, kept)
    assert [OUTPUTS[number] for number in OUTPUT_MIRROR][:2] == ["AU01", "AU02_right"]


def test_looks_do_not_depend_on_the_size_of_the_picture(at_rest):
    small = cv2.resize(at_rest[0], None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    points = points_of(at_rest[0])
    look, other = Looker()(at_rest[0], points), Looker()(small, (points + 0.5) * np.float32(0.6) - 0.5)
    np.testing.assert_allclose(look.shape, other.shape, atol=0.01)
    assert np.abs(look.cells.astype(int) - other.cells).mean() < 8


def test_frames_without_the_face_are_not_numbers_and_the_table_has_every_frame(at_rest):
    nothing = np.full_like(at_rest[0], 90)
    units = fastck.action_units(np.stack([*at_rest, nothing]), fps=10)
    assert np.isfinite(units.intensities[:3]).all()
    assert np.isnan(units.intensities[3]).all()
    assert not units.present[3].any()
    table = units.to_frame()
    assert list(table.columns) == ["input", "frame", "seconds", "person", "reference", *UNITS]
    assert table["reference"].tolist() == ["onset"] * 4
    assert table["seconds"].tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert units.summary().loc["AU12", "present"] == 0.0


def test_one_picture_is_judged_beside_the_average(scene):
    """Beside itself a face shows nothing, however slight its smile is."""
    for weight in (0.5, 1.0):
        smile = dict.fromkeys(CLEAR["AU12"], weight)
        units = fastck.action_units(np.stack([gray(scene.render(frontal(smile), key=3))]))
        assert units.reference == "average"
        assert units.intensities[0, UNITS.index("AU12")] > 4 * weight - 1


def test_a_list_keeps_its_order_and_says_what_is_wrong_with_one(sample, tmp_path):
    clip = sample / "cohn-kanade-images" / "L032" / "001"
    good, bad = fastck.action_units([clip, tmp_path / "missing.mp4"])
    assert good.intensities.shape[0] == len(list(clip.glob("*.*")))
    assert not good.error
    assert "missing.mp4" in bad.error
    assert bad.intensities.shape == (0, 44)
    assert "missing.mp4" in repr(bad)


def test_a_clip_without_a_face_is_refused():
    with pytest.raises(ValueError, match="no face found in any of its 2 frames"):
        fastck.action_units(np.zeros((2, 120, 160), np.uint8))


def test_real_smiles_have_action_unit_12(sample):
    """The sample's three smiles, which nothing was fitted to; in one with closed lips a dimpler is stronger."""
    strongest = []
    for folder in sorted((sample / "cohn-kanade-images").glob("*/*")):
        units = fastck.action_units(folder)
        table = units.summary()["largest"]
        strongest.append(table[[name for name in UNITS if "_" not in name]].idxmax())
        assert units.present[-1, UNITS.index("AU12")], folder
    assert strongest.count("AU12") >= 2, strongest


def test_intensities_follow_the_renderers_on_people_of_another_seed():
    """A few people; the documentation has the figures of many."""
    model, said, truth = bundled_units(), [], []
    look = Looker()
    for number in (1, 2):
        scene, manner = Person(SEED, number, HARD).get()
        buffers = scene.buffers()
        rng = np.random.default_rng([SEED, number])
        poses = [played(begin_script(manner, 1, rng), HARD)[0] for _ in range(2)]
        for emotion in ("happy", "surprise", "anger"):
            poses += emotion_clip(emotion, manner, rng, HARD).poses[::2]
        seen = []
        for pose in poses:
            frame = gray(scene.render(pose, key=1, buffers=buffers))
            points = points_of(frame)
            if points is not None:
                seen.append(look(frame, points))
                truth.append([action_units(pose.weights)[name] for name in UNITS])
        said.append(model.intensities(seen, seen[0]))
    one, two = np.concatenate(said), np.array(truth)
    moving = [UNITS.index(name) for name in ("AU01", "AU02", "AU05", "AU12", "AU25", "AU26")]
    correlation = [np.corrcoef(one[:, number], two[:, number])[0, 1] for number in moving]
    assert np.mean(correlation) > 0.7, dict(zip(moving, correlation, strict=True))


def test_the_reference_is_the_onset_the_median_or_the_average(at_rest, scene):
    model, look = bundled_units(), Looker()

    def see(frame):
        return look(frame, points_of(frame))

    rest = [see(frame) for frame in at_rest]
    weights = {"jawOpen": 1.0, "browInnerUp": 1.0, "eyeWideLeft": 1.0, "eyeWideRight": 1.0, **CLEAR["AU02"]}
    wide = see(gray(scene.render(frontal(weights), key=3)))
    for looks, reference in (([*rest, wide], "onset"), ([wide, *rest], "median"), ([wide, wide], "average")):
        assert read_units(model, looks)[1] == reference
    assert read_units(model, [])[1] == "average"
    np.testing.assert_array_equal(read_units(model, [wide, None])[0][0], model.intensities([wide])[0])


def test_a_smile_that_rises_while_others_fall_is_not_at_rest():
    absolute = np.zeros((6, len(UNITS)), np.float32)
    absolute[:, UNITS.index("AU12")] = [0, 0.2, 1.6, 2.4, 3.0, 3.0]
    absolute[:, UNITS.index("AU24")] = [3.0, 2.9, 1.5, 0.8, 0.3, 0.3]
    assert rest_frames(absolute) == ([0, 1], "onset")
    assert rest_frames(absolute[:2]) == ([0, 1], "onset")
    absolute[:, UNITS.index("AU24")] *= 1.6
    assert rest_frames(absolute) == ([0, 1], "onset"), "less is seen in the smile than before it"
    assert rest_frames(absolute[:0]) == ([], "average")


def test_a_slight_expression_that_goes_is_no_rest():
    absolute = np.zeros((12, len(UNITS)), np.float32)
    absolute[:, UNITS.index("AU12")] = [2, 2, 1.9, 1.2, 0.9, 0.8, 0.8, 0.8, 0.8, 0.9, 0.8, 0.8]
    assert rest_frames(absolute) == (list(range(3, 12)), "median")
    # One frame alone is a blur, or a blink.
    once = absolute.copy()
    once[:, UNITS.index("AU12")] = 2
    once[6] = 0
    assert rest_frames(once) == ([0, 1, 2, 3, 4], "onset")
    # What goes down while something else rises is no way back.
    absolute[3:, UNITS.index("AU26")] = 0.9
    absolute[:3, UNITS.index("AU01")] = 1
    assert rest_frames(absolute) == ([0, 1, 2, 3, 4], "onset")


@pytest.mark.parametrize("name", BY_NATURE)
def test_a_look_by_nature_is_a_face_at_rest_until_it_changes(name):
    absolute = np.zeros((6, len(UNITS)), np.float32)
    absolute[:, UNITS.index(name)] = 5.0
    absolute[:, UNITS.index("AU04")] = 4.0
    assert rest_frames(absolute) == ([0, 1, 2, 3, 4], "onset")
    absolute[3:, UNITS.index(name)] = 2.0
    assert rest_frames(absolute) == ([0, 1, 2], "onset")


def test_a_shut_eye_is_neither_wide_nor_does_it_look():
    shown = pose_of(
        {"unit/eyeBlinkLeft": 1.0, "unit/eyeWideLeft": 0.8, "unit/eyeWideRight": 0.8}, np.zeros(2), frontal()
    )
    assert shown.weights["unit/eyeWideLeft"] == 0
    assert shown.weights["unit/eyeWideRight"] == 0.8


def arrays():
    with np.load(BUNDLED, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def changed(tmp_path, **values):
    path = tmp_path / "units.npz"
    kept = {name: value for name, value in {**arrays(), **values}.items() if value is not None}
    np.savez(path, **kept)
    return path


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"about": np.array(json.dumps({"format": 99}))}, "format 99 is of another version"),
        ({"thresholds": None}, "thresholds"),
        ({"thresholds": np.ones(44, np.float32)}, "thresholds must be finite and of shape"),
        ({"mean_shape": np.zeros(3, np.float16)}, "mean_shape must be finite and of shape"),
        ({"mean_cells": np.full((24, 24, 8), np.inf, np.float16)}, "mean_cells must be finite"),
        ({"patches/mean_shape": np.zeros(3, np.float16)}, "patches/mean_shape must be finite"),
        ({"patches/dense/kernel0": np.zeros((5, 256), np.int8)}, "does not fit"),
        ({"cells/maps/bias0": np.full(64, np.nan, np.float32)}, "not finite"),
        ({"cells/maps/kernel1": np.zeros((5, 128), np.int8)}, "does not fit"),
        ({"cells/beside/kernel0": np.zeros((5, 64), np.int8)}, "does not fit"),
        ({"cells/dense/kernel1": np.zeros((5, 32), np.int8)}, "does not fit"),
        ({"cells/dense/scale0": np.zeros(3, np.float32)}, "do not fit"),
    ],
)
def test_a_model_file_that_is_damaged_is_refused(tmp_path, values, text):
    with pytest.raises(ValueError, match=text):
        UnitModel(changed(tmp_path, **values))


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "units.npz"
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is no model of fastck's action units"):
        UnitModel(path)


def test_the_model_is_small_and_holds_plain_arrays_only():
    assert BUNDLED.stat().st_size < 2_200_000
    assert not any(values.dtype.hasobject for values in arrays().values())
    look = Look(*(np.zeros_like(values) for values in bundled_units().mean))
    assert bundled_units().intensities([look]).shape == (1, 44)
    assert bundled_units().intensities([]).shape == (0, 44)


def test_presence_has_a_threshold_for_either_reference():
    model = bundled_units()
    assert model.thresholds.shape == (2, len(UNITS))
    level = model.thresholds.mean(axis=0)
    np.testing.assert_array_equal(model.present(level), level >= model.thresholds[0])
    np.testing.assert_array_equal(model.present(level, known=False), level >= model.thresholds[1])
    frames = np.stack([level, np.full(len(UNITS), np.nan, np.float32)])
    for reference, row in (("onset", 0), ("median", 0), ("average", 1)):
        units = fastck.ActionUnits(source="a", intensities=frames, reference=reference, seconds=np.zeros(2))
        np.testing.assert_array_equal(units.present[0], level >= model.thresholds[row])
        assert not units.present[1].any()


def test_thresholds_have_the_best_f1():
    rng = np.random.default_rng(9)
    truth = rng.uniform(0, 3, (400, len(UNITS))).astype(np.float32)
    said = rng.uniform(0.6, 1.4, len(UNITS)).astype(np.float32) * truth + rng.normal(0, 0.4, truth.shape)
    said = said.astype(np.float32)
    found = thresholds_of(said, truth)
    for unit in (0, 20, 43):
        candidates = np.arange(0.4, 2.6, 0.1)
        shares = [f1_score(truth[:, unit] >= 1, said[:, unit] >= value) for value in candidates]
        assert shares[np.abs(candidates - found[unit]).argmin()] == max(shares)
    assert np.ptp(found) > 0.3


@pytest.fixture(scope="module")
def fitted():
    """A network that Keras has fitted a little, so that nothing in it is as at first."""
    keras = import_keras(1)
    network, rng = build(keras, NetworkConfig(), len(OUTPUTS)), np.random.default_rng(0)
    network.compile("adam", loss=bounded_error)
    faces, beside = looks(rng, 96), looks(rng, 96)
    inputs = [cells_inputs(faces, beside), points_inputs(faces, beside, np.zeros(136, np.float32))]
    network.fit(inputs, rng.uniform(0, 5, (96, len(OUTPUTS))), batch_size=32, epochs=3, verbose=0)
    return network


def looks(rng, n):
    shape, pose = rng.normal(0, 0.02, (n, 136)), rng.normal(0, 0.2, (n, 3))
    patches, cells = (rng.integers(0, 256, (n, *size), np.uint8) for size in ((N_PATCHES,), (24, 24, 8)))
    return Look(shape.astype(np.float32), pose.astype(np.float32), patches, cells)


def test_what_runs_is_the_network_that_keras_fitted(fitted):
    arrays = {}
    for part, layers in folded(fitted).items():
        arrays |= as_bytes(layers, f"one/{part}")
    network, rng = CellNetwork(arrays, "one"), np.random.default_rng(1)
    faces, rest, mean = looks(rng, 70), looks(rng, 1), rng.normal(0, 0.01, 136).astype(np.float32)
    beside = Look(*(np.repeat(values, 70, axis=0) for values in rest))
    expected = fitted.predict([cells_inputs(faces, beside), points_inputs(faces, beside, mean)], verbose=0)
    # Weights are bytes.
    said = network(faces, rest, mean)
    np.testing.assert_allclose(said, expected, atol=0.03 * np.ptp(expected))
    assert np.corrcoef(said.ravel(), expected.ravel())[0, 1] > 0.999


def test_what_runs_is_the_dense_network_that_was_fitted():
    rng, mean = np.random.default_rng(4), np.full(136, 0.01, np.float32)
    weights = {"kernel0": rng.normal(0, 0.02, (278 + N_PATCHES, 12)), "bias0": rng.normal(0, 0.1, 12)}
    weights |= {"kernel1": rng.normal(0, 0.3, (12, 32)), "bias1": rng.normal(0, 0.1, 32)}
    weights = {name: values.astype(np.float32) for name, values in weights.items()}
    network = PatchNetwork({"one/mean_shape": mean, **as_bytes(weights, "one/dense")}, "one")
    faces, rest = looks(rng, 9), looks(rng, 1)
    parts, others = (look.patches / PATCH_LEVELS * PATCH_SCALE for look in (faces, rest))
    values = inputs(faces.shape, faces.pose, parts, (rest.shape, rest.pose, others), mean)
    expected = np.maximum(values @ weights["kernel0"] + weights["bias0"], 0) @ weights["kernel1"] + weights["bias1"]
    np.testing.assert_allclose(network(faces, rest), expected, atol=0.03 * np.ptp(expected))


def test_the_components_of_patches_are_multiplied_into_the_first_layer():
    rng = np.random.default_rng(6)
    basis = Basis(shape=np.zeros(136, np.float32), patches=rng.random(N_PATCHES), parts=rng.random((N_PATCHES, 256)))
    weights = {"kernel0": rng.random((278 + 256, 5)), "bias0": rng.random(5)}
    points, patches = rng.random((3, 278)), rng.random((3, N_PATCHES))
    folded_in = np.concatenate([points, patches], axis=1) @ unfolded(weights, basis)["kernel0"]
    np.testing.assert_allclose(folded_in, np.concatenate([points, patches @ basis.parts], axis=1) @ weights["kernel0"])


def test_fitting_is_repeatable_and_learns():
    """A point that moves and a brighter corner."""
    rng = np.random.default_rng(3)
    faces, rest, mean = looks(rng, 256), looks(rng, 1), np.zeros(136, np.float32)
    faces.cells[:, :12, :12] //= 1 + (np.arange(256) % 2)[:, None, None, None].astype(np.uint8)
    wanted = np.stack([2 + 50 * faces.shape[:, 7], 1.0 + np.arange(256) % 2], axis=1).astype(np.float32)
    wanted = np.concatenate([wanted] * 16, axis=1)

    def batches(chosen, rng):
        some = Look(*(values[chosen] for values in faces))
        beside = Look(*(np.repeat(values, len(chosen), axis=0) for values in rest))
        return cells_inputs(some, beside), points_inputs(some, beside, mean), wanted[chosen]

    config = NetworkConfig(filters=(4, 6), hidden=16, epochs=20, batch=32, rate=1e-2)
    first, second = (fit_network(batches, 256, 32, config, seed=7) for _ in range(2))
    arrays = {}
    for part, layers in first.items():
        assert all((values == second[part][name]).all() for name, values in layers.items()), part
        arrays |= as_bytes(layers, f"one/{part}")
    said = CellNetwork(arrays, "one")(faces, rest, mean)
    assert all(np.corrcoef(said[:, column], wanted[:, column])[0, 1] > 0.8 for column in (0, 1))


def test_what_is_beyond_the_scale_is_no_error():
    wanted, outputs = np.array([[0.0, 5.0, 2.0]], np.float32), np.array([[-1.0, 6.0, 1.0]], np.float32)
    assert float(bounded_error(wanted, outputs)[0]) == 0.5
    assert float(bounded_error(wanted, -outputs)[0]) == pytest.approx(0.5 * (1 + 121 + 9))


def test_rest_is_the_median_value_by_value():
    rng = np.random.default_rng(2)
    many = looks(rng, 5)
    found = median_look(rows(many))
    for values, medians in zip(many, found, strict=True):
        np.testing.assert_array_equal(medians, np.median(values, axis=0).astype(np.float32))
