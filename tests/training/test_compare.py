"""Runs compared over people who are resampled together: what differs by chance only is no difference."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from typer.testing import CliRunner

from fastck.cli import app
from fastck.training.files import FORMAT, RECORD, write_json, write_run_table
from fastck.training.report.compare import compare_runs
from fastck.training.run import Run

CLASSES = ("negative", "positive", "surprise")


def people(rng: np.random.Generator, *, count: int = 30, each: tuple[int, int] = (3, 6)) -> pd.DataFrame:
    """Sequences of people some of whom are easier than others: subject, true class, probability to be right."""
    rows = []
    for person in range(count):
        easy = rng.beta(6, 2)
        for sequence in range(rng.integers(*each, endpoint=True)):
            rows.append(
                {
                    "repeat": 0,
                    "fold": person,
                    "sequence": f"P{person:02d}_{sequence:03d}",
                    "subject": f"P{person:02d}",
                    "true": CLASSES[sequence % 3],
                    "easy": np.clip(easy + rng.normal(0, 0.2), 0, 1),
                }
            )
    return pd.DataFrame(rows)


def made_run(table: pd.DataFrame, rng: np.random.Generator, name: str = "run", better: float = 0.0) -> Run:
    """A run that gets each sequence right by its probability, and `better` more."""
    right = rng.random(len(table)) < np.clip(table["easy"] + better, 0, 1)
    other = [CLASSES[(CLASSES.index(label) + 1) % 3] for label in table["true"]]
    run = Run(Path(name), {"classes": list(CLASSES), "leakage": 0.0})
    run.__dict__["predictions"] = table.assign(predicted=np.where(right, table["true"], other)).drop(columns="easy")
    return run


def verdict(runs: list[Run]) -> str:
    return compare_runs(runs)["runs"][1]["verdict"]


def test_two_seeds_of_one_setting_do_not_differ_in_95_of_100_pairs():
    rng = np.random.default_rng(2)
    verdicts = []
    for _ in range(100):
        table = people(rng)
        verdicts.append(verdict([made_run(table, rng), made_run(table, rng)]))
    assert verdicts.count("no difference") >= 95


def test_a_difference_is_found():
    rng = np.random.default_rng(0)
    table = people(rng, count=60)
    assert verdict([made_run(table, rng), made_run(table, rng, better=0.3)]) == "better"
    assert verdict([made_run(table, rng), made_run(table, rng, better=-0.3)]) == "worse"
    few = people(rng, count=5)
    assert verdict([made_run(few, rng, better=-1.0), made_run(few, rng, better=1.0)]) == "no difference"


def test_scores_are_scikit_learns_and_the_interval_is_students():
    rng = np.random.default_rng(4)
    table = people(rng, each=(6, 6))
    one, two = made_run(table, rng), made_run(table, rng, better=0.2)
    first, second = compare_runs([one, two])["runs"]
    for entry, run in ((first, one), (second, two)):
        given = run.predictions["true"], run.predictions["predicted"]
        assert entry["accuracy"]["value"] == pytest.approx(accuracy_score(*given))
        assert entry["balanced_accuracy"]["value"] == pytest.approx(balanced_accuracy_score(*given))
        assert entry["macro_f1"]["value"] == pytest.approx(f1_score(*given, average="macro"))
    gains = (two.predictions["predicted"] == table["true"]) * 1.0 - (one.predictions["predicted"] == table["true"])
    # Everybody has six sequences, so that the mean over people is the mean over sequences.
    own = gains.groupby(table["subject"]).mean()
    expected = stats.ttest_1samp(own, 0).confidence_interval(0.95)
    found = second["differences"]["accuracy"]
    assert found["value"] == pytest.approx(own.mean())
    assert [found["low"], found["high"]] == pytest.approx(expected, abs=0.1 * (expected.high - expected.low))


def test_runs_that_do_not_fit_are_refused_and_what_is_left_out_is_said():
    rng = np.random.default_rng(0)
    table = people(rng)
    run, short = made_run(table, rng, "a"), made_run(table[table["subject"] != "P00"], rng, "b")
    comparison = compare_runs([run, short])
    assert comparison["subjects"] == 29
    assert any(note.startswith("a: ") and "P00_000" in note for note in comparison["notes"])
    other = made_run(table.assign(true=CLASSES[0]), rng, "b")
    fewer = Run(Path("c"), {"classes": list(CLASSES[:2]), "leakage": 0.0})
    for runs, message in (
        ([run], "two runs or more can be compared, got 1"),
        ([run, other], "b has another subject or label for P00_001 than a"),
        ([run, fewer], "c tells negative, positive apart, a negative, positive, surprise"),
        ([run, made_run(table.assign(sequence=table["sequence"] + "x"), rng, "b")], "tested no sequence in common"),
    ):
        with pytest.raises(ValueError, match=message):
            compare_runs(runs)


def test_the_command_prints_a_table_and_writes_a_page(tmp_path: Path):
    rng = np.random.default_rng(1)
    table = people(rng)
    for name, better in (("one", 0.0), ("two", 0.3), ("thr<ee", 0.0)):
        folder = tmp_path / name
        folder.mkdir()
        record = {"format": FORMAT, "arguments": {}, "status": "finished", "splits": [], "fits": [], "leakage": 0.2}
        kept = {"name": "store", "path": "store", "config": {}, "config_hash": "", "input_hash": "", "versions": {}}
        record |= {"store": kept, "stores": [kept], "feature": "flow", "notes": [], "versions": {}}
        write_json(folder / RECORD, record | {"classes": list(CLASSES)})
        write_run_table(folder / "predictions.csv", made_run(table, rng, better=better).predictions)
    paths = [str(tmp_path / name) for name in ("one", "two", "thr<ee")]
    result = CliRunner().invoke(app, ["compare", *paths, "--html", str(tmp_path / "page.html")])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith(("two", "thr<ee"))] == ["better", "difference"]
    assert "some of the tested people were trained on" in result.stdout
    page = (tmp_path / "page.html").read_text()
    assert "data:image/png;base64," in page
    assert "thr&lt;ee" in page
    assert "thr<ee" not in page
    refused = CliRunner().invoke(app, ["compare", paths[0]])
    assert refused.exit_code == 2
    assert "two runs or more" in refused.stderr
