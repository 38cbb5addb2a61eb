import pickle

import cv2
import numpy as np
import pytest

import fastck
from fastck.batches.gather import Gather, accumulation_pieces
from fastck.batches.padding import as_frames, mirrored, pad_sequence
from fastck.ops.motion import feature_shape
from fastck.store.reader import Store
from tests.helpers.tinystore import make_store, make_table

tfdata = pytest.importorskip("fastck.tfdata", exc_type=ImportError)
CLASSES = (1, 3, 5, 7)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("tfdata") / "store", make_table(subjects=5), side=19)


def plain_batch(store: Store, names: list[str], feature: str, timesteps: int) -> np.ndarray:
    """The paper's construction (fig. 11), one sequence after another."""
    padded = []
    for name in names:
        rows = np.asarray(store.sequence(name, feature), dtype=np.float32)
        rest = timesteps - len(rows)
        left, right = int(np.ceil(rest / 2)), int(np.floor(rest / 2))
        zeros = np.zeros((1, *rows.shape[1:]), np.float32)
        padded.append(np.concatenate([zeros.repeat(left, 0), rows, zeros.repeat(right, 0)])[..., None])
    return np.stack(padded)


@pytest.mark.parametrize("feature", ["projection", "mask", "pool134", "pool67", "pool34"])
def test_batches_equal_the_plain_construction(store: Store, feature: str):
    names = store.table["sequence"].to_list()
    emotion = store.table.set_index("sequence")["emotion"]
    dataset = tfdata.batches(store, names, feature=feature, classes=CLASSES, timesteps=11, batch_size=8)
    assert len(dataset) == 3
    for number, (values, targets) in enumerate(dataset.as_numpy_iterator()):
        part = names[8 * number : 8 * number + 8]
        np.testing.assert_array_equal(values, plain_batch(store, part, feature, 11))
        np.testing.assert_array_equal(targets, [[code == emotion[name] for code in CLASSES] for name in part])
        assert values.dtype == targets.dtype == np.float32


@pytest.mark.parametrize(("feature", "channels"), [("flow", 3), ("flow_projection", 2)])
def test_flow_comes_with_its_channels_last(store: Store, feature: str, channels: int):
    rows = np.random.default_rng(0).normal(size=(int(store.table["length"].sum()), *feature_shape(feature)))

    class FlowStore:
        table = store.table

        def feature(self, name: str) -> np.ndarray:
            assert name == feature
            return rows.astype(np.float32)

    names = store.table["sequence"].to_list()[:5]
    dataset = tfdata.batches(FlowStore(), names, feature=feature, classes=CLASSES, timesteps=10)
    assert dataset.element_spec[0].shape[-1] == channels
    (values, _), *_ = dataset.as_numpy_iterator()
    for name, own in zip(names, values, strict=True):
        row = store.row(name)
        stored = rows[row.start : row.start + row.length].astype(np.float32)
        expected = pad_sequence(stored, timesteps=10)
        if feature == "flow":
            planes = expected.transpose(0, 2, 3, 1)
        else:
            # Column means and row means, each of u and of v.
            planes = np.stack([expected[:, [0, 1]], expected[:, [2, 3]]], axis=-1)
        np.testing.assert_array_equal(own, planes)


def test_padding_before_ends_with_the_apex_and_augmenting_keeps_what_was_asked_for(store: Store):
    names = store.table["sequence"].to_list()[:6]
    options = {"feature": "projection", "classes": CLASSES, "timesteps": 20, "padding": "before"}
    gather = Gather(store, names, **options)
    positions = np.arange(len(names))
    plain, varied, again = gather(positions), gather.augmented(positions, 3), gather.augmented(positions, 3)
    np.testing.assert_array_equal(varied, again)
    assert not np.array_equal(varied, gather.augmented(positions, 4))
    for name, own, other in zip(names, plain, varied, strict=True):
        rows = store.sequence(name, "projection")
        np.testing.assert_array_equal(own[-len(rows) :, :, :, 0], rows)
        assert not own[: -len(rows)].any()
        ends = range(-(-7 * len(rows) // 10), len(rows) + 1)
        mirror = np.stack([rows[:, 0, ::-1], rows[:, 1]], axis=1)
        # Up to two steps less, or its last step held up to two steps longer.
        moved = [np.minimum(np.arange(max(1, end + shift)), end - 1) for end in ends for shift in range(-2, 3)]
        assert any(
            np.array_equal(other[-len(kept) :, :, :, 0], kind[kept]) for kept in moved for kind in (rows, mirror)
        )


def test_augmenting_moves_a_sequence_within_its_padding(store: Store):
    names = store.table["sequence"].to_list()[:6]
    gather = tfdata.Gather(store, names, feature="pool34", classes=CLASSES, timesteps=14)
    found = set()
    for seed in range(20):
        for name, own in zip(names, gather.augmented(np.arange(len(names)), seed), strict=True):
            rows = store.sequence(name, "pool34")
            length = int(own.any(axis=(1, 2, 3)).sum())
            first = int(own.any(axis=(1, 2, 3)).argmax())
            kept = own[first : first + length, :, :, 0]
            assert any(np.array_equal(kept, kind[:length]) for kind in (rows, rows[:, :, ::-1]))
            found.add(first - -(-(14 - length) // 2))
    assert found == {-2, -1, 0, 1, 2}


def test_a_mirrored_face_has_the_mirrored_flow():
    rng = np.random.default_rng(0)
    crops = np.stack([cv2.GaussianBlur(rng.integers(0, 256, (128, 128), np.uint8), (0, 0), 3) for _ in range(1)] * 2)
    crops[1] = np.roll(crops[1], 2, axis=1)
    flow = fastck.optical_flow(crops, compensate=False)
    other = fastck.optical_flow(np.ascontiguousarray(crops[:, :, ::-1]), compensate=False)
    inner = (slice(None), slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(
        mirrored(as_frames(flow, "flow"), "flow")[inner], as_frames(other, "flow")[inner], atol=2e-3
    )


def test_shuffling_depends_on_seed_and_epoch_alone(store: Store):
    names = store.table["sequence"].to_list()
    common = {"feature": "pool34", "classes": CLASSES, "timesteps": 8, "batch_size": 6, "shuffle": True, "seed": 3}

    def targets(**options: int) -> np.ndarray:
        return np.concatenate([y for _, y in tfdata.batches(store, names, **common, **options).as_numpy_iterator()])

    three = targets(epochs=3)
    np.testing.assert_array_equal(three[40:], targets(epoch=2))
    assert not np.array_equal(three[:20], three[20:40])
    np.testing.assert_array_equal(three[:20].sum(axis=0), three[20:40].sum(axis=0))


def test_each_iteration_shuffles_anew(store: Store):
    names = store.table["sequence"].to_list()
    common = {"feature": "pool34", "classes": CLASSES, "timesteps": 8, "batch_size": 6, "shuffle": True, "seed": 3}
    dataset = tfdata.batches(store, names, **common)
    passes = [np.concatenate([y for _, y in dataset.as_numpy_iterator()]) for _ in range(3)]
    for number, targets in enumerate(passes):
        alone = tfdata.batches(store, names, epoch=number, **common)
        np.testing.assert_array_equal(targets, np.concatenate([y for _, y in alone.as_numpy_iterator()]))
    assert not np.array_equal(passes[0], passes[1])
    assert not np.array_equal(passes[1], passes[2])
    assert len(dataset) == 4


@pytest.mark.parametrize(("too_long", "expected"), [("last", slice(-3, None)), ("first", slice(None, 3))])
def test_too_long_sequences_are_cut_only_when_asked(store: Store, too_long: str, expected: slice):
    names = store.table.loc[store.table["length"] > 3, "sequence"].to_list()
    common = {"feature": "projection", "classes": CLASSES, "timesteps": 3}
    with pytest.raises(ValueError, match=r"more than timesteps=3 .* too_long="):
        tfdata.batches(store, names, **common)
    (values, _), *_ = tfdata.batches(store, names, too_long=too_long, **common).as_numpy_iterator()
    np.testing.assert_array_equal(values[0, ..., 0], store.sequence(names[0], "projection")[expected])
    assert len(Gather(store, names, too_long="skip", **common)) == 0


def test_bad_input_is_refused(store: Store):
    with pytest.raises(ValueError, match="not in the store, for example 'S999'"):
        tfdata.batches(store, ["S999"], feature="projection", classes=CLASSES)
    with pytest.raises(ValueError, match="has emotion 1, not one of"):
        tfdata.batches(store, ["S000_001"], feature="projection", classes=(3, 5))
    with pytest.raises(ValueError, match="too_long must be one of"):
        tfdata.batches(store, ["S000_001"], feature="projection", classes=CLASSES, too_long="cut")
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        tfdata.batches(store, ["S000_001"], feature="projection", classes=CLASSES, batch_size=0)


def test_classes_are_labels_or_codes(store: Store):
    names = store.table["sequence"].to_list()
    by_code = tfdata.Gather(store, names, feature="projection", classes=CLASSES)
    by_label = tfdata.Gather(store, names, feature="projection", classes=[fastck.EMOTIONS[code] for code in CLASSES])
    np.testing.assert_array_equal(by_label.targets, by_code.targets)
    np.testing.assert_array_equal(np.asarray(CLASSES)[by_code.classes], store.table["emotion"].to_numpy(int))
    with pytest.raises(ValueError, match=r"S000_001 has label 'anger', not one of \('fear', 'happy'\)"):
        tfdata.Gather(store, names, feature="projection", classes=["fear", "happy"])
    with pytest.raises(TypeError, match="labels or codes, not both"):
        tfdata.Gather(store, names, feature="projection", classes=["fear", 3])
    for wrong in ("happy", (), (1, 1)):
        with pytest.raises(ValueError, match="must be a sequence of different labels or codes"):
            tfdata.Gather(store, names, feature="projection", classes=wrong)


def test_a_pickled_gather_holds_no_values_and_reads_the_same(store: Store):
    names = store.table["sequence"].to_list()
    gather = tfdata.Gather(store, names, feature="mask", classes=CLASSES, timesteps=12)
    everything = np.arange(len(names))
    expected = gather(everything)
    packed = pickle.dumps(gather)
    assert len(packed) < 20_000
    np.testing.assert_array_equal(pickle.loads(packed)(everything), expected)


@pytest.mark.parametrize(("n", "batch_size", "micro_batches"), [(98, 64, 8), (20, 8, 4), (9, 8, 8), (73, 64, 64)])
def test_micro_batches_weigh_every_sequence_of_a_batch_alike(n: int, batch_size: int, micro_batches: int):
    order = np.random.default_rng(0).permutation(n)
    pieces, weights = accumulation_pieces([order], batch_size=batch_size, micro_batches=micro_batches)
    assert len(pieces) == micro_batches * -(-n // batch_size)
    value = np.random.default_rng(1).normal(size=n)  # stands for a sequence's gradient
    for batch in range(0, n, batch_size):
        step = slice(batch // batch_size * micro_batches, (batch // batch_size + 1) * micro_batches)
        # Keras: each step's loss is the mean of weight times loss, and the gradients' mean over steps is applied.
        means = [np.mean(w * value[p]) for p, w in zip(pieces[step], weights[step], strict=True)]
        np.testing.assert_allclose(np.mean(means), value[order[batch : batch + batch_size]].mean())


def test_tensorflow_takes_a_batch_over_without_a_copy(store: Store):
    """TensorFlow copies an array that begins elsewhere, which takes longer than gathering it."""
    tf = pytest.importorskip("tensorflow")
    names = store.table["sequence"].to_list()[:4]
    gather, gathered = Gather(store, names, feature="projection", classes=CLASSES, timesteps=11), []

    def keep(positions: np.ndarray) -> np.ndarray:
        gathered.append(gather(positions))
        return gathered[-1]

    # Within a graph, as in a pipeline: outside of one TensorFlow copies in any case.
    values = tf.function(lambda: tf.numpy_function(keep, [tf.range(4, dtype=tf.int64)], tf.float32))()
    assert np.shares_memory(np.asarray(memoryview(values)), gathered[0])
    assert not np.shares_memory(gathered[0], gather(np.arange(4)))
