"""The linear model: against scikit-learn, on disk, as a run, and without TensorFlow."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastck
from fastck.batches.padding import as_frames, mirrored, pad_sequence
from fastck.store.reader import Store, open_store
from fastck.training.files import write_run_table
from fastck.training.models import linear_fitting
from fastck.training.models.linear import LinearModel, load_linear, sequence_vectors
from fastck.training.models.linear_fitting import fit_regression
from fastck.training.report.wording import interval_text
from fastck.training.report.write import write_report
from fastck.training.settings.config import TrainConfig
from fastck.training.train import train
from tests.helpers.tinystore import make_store, make_table

CONFIG = TrainConfig(
    phase=5, model="linear", protocol="stratified-group", folds=2, timesteps=9, augment=False, final=False
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = make_table(subjects=6, emotions=(1, 2, 3, 4, 5, 6, 7))
    return make_store(tmp_path_factory.mktemp("linear") / "store", table, flow=True, noise=0.6).path


@pytest.fixture(scope="module")
def run(store: Path, tmp_path_factory: pytest.TempPathFactory) -> fastck.Run:
    return train(store, tmp_path_factory.mktemp("run") / "run", CONFIG)


def points(classes: int, n: int, columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    vectors = rng.normal(size=(n, columns)) * rng.uniform(0.01, 3, columns) + rng.normal(size=columns)
    vectors += 0.4 * rng.normal(size=(classes, columns))[labels] * vectors.std(axis=0)
    # A column that never moves, as the padding of projections.
    vectors[:, 0] = 0
    return vectors.astype(np.float32), labels, np.array([f"S{number // 8}" for number in range(n)])


def model_of(arrays: dict[str, np.ndarray]) -> LinearModel:
    return LinearModel(**arrays, view="apex", input_shape=(1, 1, arrays["mean"].size, 1))


@pytest.mark.parametrize(("classes", "n", "columns"), [(7, 84, 20), (4, 64, 300), (2, 48, 100), (2, 48, 5)])
def test_probabilities_are_scikit_learns(classes: int, n: int, columns: int, monkeypatch: pytest.MonkeyPatch):
    """More columns than sequences and fewer; two classes, of which scikit-learn keeps one row of weights."""
    monkeypatch.setattr(linear_fitting, "STRENGTHS", (1e-3, 1e-2))
    vectors, labels, subjects = points(classes, n, columns)
    arrays, iterations = fit_regression(vectors, labels, subjects, range(classes), seed=3)
    folds = StratifiedGroupKFold(3, shuffle=True, random_state=3)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000, tol=1e-8, class_weight="balanced"))
    grid = {"logisticregression__C": linear_fitting.STRENGTHS}
    oracle = GridSearchCV(pipeline, grid, cv=folds, scoring="neg_log_loss").fit(
        vectors.astype(np.float64), labels, groups=subjects
    )
    fresh = points(classes, n, columns, seed=1)[0]
    # The solvers stop a little apart.
    expected = oracle.predict_proba(fresh.astype(np.float64))
    np.testing.assert_allclose(model_of(arrays).probabilities(fresh), expected, atol=2e-3)
    assert iterations > 0


def test_a_class_that_nobody_showed_is_never_predicted():
    vectors, labels, subjects = points(3, 48, 10)
    arrays, _ = fit_regression(vectors, labels, subjects, (0, 1, 5, 2))
    probabilities = model_of(arrays).with_temperature(2.0).probabilities(vectors)
    assert (probabilities[:, 2] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    arrays, iterations = fit_regression(vectors, np.ones(48, int), subjects, (0, 1))
    assert iterations == 0
    np.testing.assert_array_equal(model_of(arrays).probabilities(vectors[:2]), [[0, 1], [0, 1]])


def test_a_temperature_divides_the_logits():
    vectors, labels, subjects = points(3, 48, 10)
    model = model_of(fit_regression(vectors, labels, subjects, range(3))[0])
    logits = np.log(model.probabilities(vectors).astype(np.float64))
    powers = np.exp(logits / 2.5)
    np.testing.assert_allclose(
        model.with_temperature(2.5).probabilities(vectors), powers / powers.sum(axis=1, keepdims=True), atol=1e-5
    )


def test_a_saved_model_is_plain_arrays_and_says_the_same(tmp_path: Path):
    vectors, labels, subjects = points(3, 48, 10)
    model = model_of(fit_regression(vectors, labels, subjects, range(3))[0])
    model.save(tmp_path / "model.npz")
    loaded = load_linear(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.probabilities(vectors), model.probabilities(vectors))
    np.testing.assert_array_equal(loaded.predict(vectors.reshape(-1, 1, 1, 10, 1)), model.probabilities(vectors))
    with pytest.raises(ValueError, match=r"values must have shape \(N, 1, 1, 10, 1\), got \(48, 10\)"):
        loaded.predict(vectors)
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)


def test_damaged_models_are_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_linear(tmp_path / "none.npz")
    vectors, labels, subjects = points(3, 48, 10)
    model = model_of(fit_regression(vectors, labels, subjects, range(3))[0])
    file = tmp_path / "model.npz"
    model.save(file)
    whole = file.read_bytes()
    for damaged in (b"", whole[:200], b"\x93NUMPY" + whole):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match="cannot be loaded as a linear model"):
            load_linear(file)
    replace(model, mean=model.mean[:5]).save(file)
    with pytest.raises(ValueError, match="its arrays do not fit together"):
        load_linear(file)
    np.savez(file, mean=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="cannot be loaded as a linear model"):
        load_linear(file)


def test_vectors_by_hand(store: Path):
    opened: Store = open_store(store)
    names = opened.table["sequence"].tolist()[:4]
    flow = [as_frames(opened.sequence(name, "flow"), "flow") for name in names]
    np.testing.assert_array_equal(sequence_vectors(opened, names, CONFIG), [frames[-1].ravel() for frames in flow])
    both = sequence_vectors(opened, names, CONFIG, augment=True).reshape(4, -1, 28 * 28 * 3)
    for rows, frames in zip(both, flow, strict=True):
        shares = (1.0, 0.7)
        ends = [int(np.ceil(share * len(frames))) - 1 for share in shares]
        expected = [one[end] for end in ends for one in (frames, mirrored(frames, "flow"))]
        np.testing.assert_array_equal(rows, [frame.ravel() for frame in expected])
    projections = TrainConfig(phase=3, model="linear", timesteps=3, too_long="first")
    steps = [as_frames(opened.sequence(name, "projection"), "projection")[:3] for name in names]
    np.testing.assert_array_equal(
        sequence_vectors(opened, names, projections), [pad_sequence(frames, timesteps=3).ravel() for frames in steps]
    )
    pooled = replace(projections, phase=2)
    pools = [as_frames(opened.sequence(name, "pool34"), "pool34")[:3] for name in names]
    means = [pad_sequence(frames, timesteps=3).mean(axis=0) for frames in pools]
    np.testing.assert_allclose(sequence_vectors(opened, names, pooled), [mean.ravel() for mean in means], rtol=1e-6)


def test_a_run_is_like_any_other(store: Path, run: fastck.Run):
    assert run.report["evaluation"]["accuracy"]["value"] > 0.8
    assert {"predictions.csv", "history.csv", "baselines.csv", "report.html", "confusion_matrix.png"} <= {
        path.name for path in run.path.iterdir()
    }
    assert "linear model" in (run.path / "report.txt").read_text()
    assert run.record["memory_plan"] is None
    assert "tensorflow" not in run.record["versions"]
    assert all(fit["temperature"] for fit in run.record["fits"])
    fold = fastck.open_run(run.path / "folds" / "repeat1-fold01")
    opened = open_store(store)
    rows = pd.read_csv(fold.path / "folds" / "repeat1-fold01" / "predictions.csv")
    columns = [name for name in rows if name.startswith("p_")]
    values = np.stack(
        [
            pad_sequence(as_frames(opened.sequence(name, "flow"), "flow"), timesteps=9, padding="before")
            for name in rows["sequence"]
        ]
    )
    np.testing.assert_allclose(fold.model.predict(values), rows[columns], atol=1e-6)


def test_a_better_baseline_is_named_first(run: fastck.Run, tmp_path: Path):
    own = f"linear model, accuracy {interval_text(run.report['evaluation']['accuracy'])}"
    assert f"best model: {own}\n" in (run.path / "report.txt").read_text()
    assert run.report["best"]["baseline"] is False
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    baselines = run.baselines
    assert baselines is not None
    chosen = baselines["baseline"] == "nearest centroid"
    # Right everywhere; and where the trained model is just as good, it is the one that is named.
    write_run_table(
        copy / "baselines.csv", baselines.assign(predicted=baselines["predicted"].where(~chosen, baselines["true"]))
    )
    wrong = run.predictions["predicted"].where(run.predictions["true"] != "surprise", "anger")
    write_run_table(copy / "predictions.csv", run.predictions.assign(predicted=wrong))
    report = write_report(copy)
    assert report["best"]["name"] == "nearest centroid"
    said = "best model: nearest centroid, accuracy 1.000 [0.541, 1.000]: a baseline beats the trained linear model"
    assert said in (copy / "report.txt").read_text()
    page = (copy / "report.html").read_text()
    assert said in page
    assert page.index("accuracy of linear model<") < page.index("accuracy of the best baseline, nearest centroid<")
    write_run_table(copy / "predictions.csv", run.predictions.assign(predicted=run.predictions["true"]))
    assert write_report(copy)["best"]["name"] == "linear model"


def test_good_news_is_no_warning_and_every_figure_has_its_interval_and_people(run: fastck.Run, tmp_path: Path):
    page = (run.path / "report.html").read_text()
    assert '<p class="good">0 % of the test sequences have their subject in the training part' in page
    assert '<p class="warning">' not in page
    figures = re.findall(
        r"<b>([0-9.]+) %</b>.*?95 % interval (.*?) to (.*?) %.*?42 test sequences of 6 people", page, re.S
    )
    entries = [run.report["evaluation"], max(run.report["baselines"], key=lambda entry: entry["accuracy"]["value"])]
    expected = [[f"{100 * entry['accuracy'][name]:.1f}" for name in ("value", "low", "high")] for entry in entries]
    assert [list(figure) for figure in figures] == expected
    copy = shutil.copytree(run.path, tmp_path / "run")
    (copy / "run.json").write_text(json.dumps({**run.record, "leakage": 0.5}))
    write_report(copy)
    assert '<p class="warning">50 % of the test sequences' in (copy / "report.html").read_text()


def test_the_reports_tables_fit_a_terminal(run: fastck.Run):
    lines = (run.path / "report.txt").read_text().splitlines()
    tables = [line for line in lines if line.startswith("  ")]
    assert sum(line.count("[") == 3 for line in tables) == len(run.classes) + 4
    assert max(map(len, tables)) <= 80


def test_the_same_seed_gives_the_same_bytes_and_resumes(store: Path, run: fastck.Run, tmp_path: Path):
    again = train(store, tmp_path / "run", CONFIG).path
    (again / "folds" / "repeat1-fold02" / "fold.json").unlink()
    record = json.loads((again / "run.json").read_text()) | {"status": "running"}
    (again / "run.json").write_text(json.dumps(record))
    train(store, again, CONFIG, resume=True)
    for name in ("predictions.csv", "report.json", "folds/repeat1-fold02/model.npz"):
        assert (again / name).read_bytes() == (run.path / name).read_bytes()


@pytest.mark.parametrize(("phase", "size"), [(2, 134), (4, None)])
def test_the_papers_features_and_augmentation_work_too(store: Path, tmp_path: Path, phase: int, size: int):
    config = replace(CONFIG, phase=phase, size=size, augment=True, protocol="random", baselines=False)
    made = train(store, tmp_path / "run", replace(config, keep_models=False))
    assert made.report["evaluation"]["accuracy"]["value"] > 0.5
    with pytest.raises(ValueError, match="holds no model"):
        _ = made.model


def test_fitting_and_predicting_need_no_tensorflow(store: Path, tmp_path: Path):
    code = f"""
import sys
sys.modules["tensorflow"] = sys.modules["keras"] = None
from fastck.training.settings.config import TrainConfig
from fastck.training.report.write import write_report
from fastck.training.files import write_run_table
from fastck.training.train import train
from fastck.training.report.wording import interval_text
run = train({str(store)!r}, {str(tmp_path / "run")!r}, TrainConfig(phase=5, model="linear", timesteps=9))
import numpy as np
print(run.model.predict(np.zeros((2, 9, 28, 28, 3), np.float32)).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(2, 7)"


def test_rows_in_another_order_go_by_their_names(run: fastck.Run, tmp_path: Path):
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    fold = copy / "folds" / "repeat1-fold01"
    before = fastck.open_run(fold).model
    model = load_linear(fold / "model.npz")
    order = [3, 1, 0, 2, 6, 5, 4]
    turned = replace(
        model,
        coefficients=model.coefficients[order],
        intercept=model.intercept[order],
        classes=model.classes[order],
    )
    turned.save(fold / "model.npz")
    after = fastck.open_run(fold).model
    values = np.random.default_rng(0).normal(size=(5, *model.input_shape))
    np.testing.assert_array_equal(after.predict(values), before.predict(values))
    replace(model, classes=np.array([f"x{name}" for name in model.classes])).save(fold / "model.npz")
    with pytest.raises(ValueError, match="it is of another run"):
        _ = fastck.open_run(fold).model


def write_header(path: Path, name: str, header: str) -> None:
    """Replace an array of an .npz file with one of which there is only a header."""
    with zipfile.ZipFile(path) as file:
        parts = {entry: file.read(entry) for entry in file.namelist()}
    text = header.ljust(117) + "\n"
    parts[f"{name}.npy"] = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
    with zipfile.ZipFile(path, "w") as file:
        for entry, data in parts.items():
            file.writestr(entry, data)


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(7, 1000000000000)", "(-5,)", "(7, 3, 3)"])
@pytest.mark.parametrize("name", ["coefficients", "mean", "classes"])
def test_a_size_that_is_not_there_takes_no_memory(run: fastck.Run, tmp_path: Path, name: str, shape: str):
    file = tmp_path / "model.npz"
    shutil.copy(run.path / "folds" / "repeat1-fold01" / "model.npz", file)
    write_header(file, name, f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}")
    with pytest.raises(ValueError, match=r"model\.npz cannot be loaded as a linear model: ") as told:
        load_linear(file)
    assert "\n" not in str(told.value)


def test_a_small_file_of_large_arrays_is_refused(tmp_path: Path):
    file = tmp_path / "model.npz"
    np.savez_compressed(file, mean=np.zeros(2**25, np.float32))
    assert file.stat().st_size < 2**18
    with pytest.raises(ValueError, match="its arrays claim 134217728 bytes"):
        load_linear(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": np.nan}, "without nan"),
        ({"scale": 0.0}, "scale above 0"),
        ({"coefficients": np.inf}, "must be finite"),
        ({"mean": 1j}, "must hold numbers or text"),
    ],
)
def test_weights_that_give_no_number_are_refused(
    run: fastck.Run, tmp_path: Path, change: dict[str, float], message: str
):
    model = load_linear(run.path / "folds" / "repeat1-fold01" / "model.npz")
    arrays = {name: np.full_like(getattr(model, name), value, np.dtype(type(value))) for name, value in change.items()}
    replace(model, **arrays).save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match=message):
        load_linear(tmp_path / "model.npz")


def test_a_model_of_other_sizes_than_the_runs_is_refused(run: fastck.Run, tmp_path: Path):
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    fold = copy / "folds" / "repeat1-fold01"
    model = load_linear(fold / "model.npz")
    short = replace(
        model, coefficients=model.coefficients[:5], intercept=model.intercept[:5], classes=model.classes[:5]
    )
    short.save(fold / "model.npz")
    with pytest.raises(ValueError, match="it tells 5 classes apart, the run 7"):
        _ = fastck.open_run(fold).model
    replace(model, input_shape=(3, *model.input_shape[1:])).save(fold / "model.npz")
    with pytest.raises(ValueError, match="or the run's input"):
        _ = fastck.open_run(fold).model


def test_a_dollar_in_a_name_is_no_formula(run: fastck.Run, tmp_path: Path):
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    names = {"happy": r"paid $\5 to \10$", "anger": "$x^", "fear": "a\x01"}
    record = json.loads((copy / "run.json").read_text())
    record["classes"] = [names.get(name, name) for name in record["classes"]]
    (copy / "run.json").write_text(json.dumps(record))
    for file in ("predictions.csv", "baselines.csv"):
        table = getattr(run, file.removesuffix(".csv"))
        columns = {column: [names.get(own, own) for own in table[column]] for column in ("true", "predicted")}
        table = table.assign(**columns).rename(columns={f"p_{old}": f"p_{new}" for old, new in names.items()})
        write_run_table(copy / file, table)
    (copy / "confusion_matrix.png").unlink()
    write_report(copy)
    assert (copy / "confusion_matrix.png").exists()
    assert "paid $" in (copy / "report.html").read_text()


def test_a_picture_that_cannot_be_drawn_costs_only_itself(
    run: fastck.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail(*_: object) -> None:
        raise RuntimeError("no fonts")

    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    (copy / "report.html").unlink()
    monkeypatch.setattr("fastck.training.report.write.plot_confusion", fail)
    write_report(copy)
    assert "confusion_matrix.png could not be drawn: no fonts" in caplog.text
    page = (copy / "report.html").read_text()
    assert "loss" in page
    assert "the maximum of 4 models by test accuracy" in page
