"""Classes are names: chosen, merged, of any label; what is not there is told in one line."""

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from fastck.cli.training_options import spelled_out
from fastck.store.reader import Store
from fastck.training.data.folds import make_splits
from fastck.training.data.samples import make_samples
from fastck.training.settings.classes import class_of, parse_classes, parse_merge, with_classes
from fastck.training.settings.config import FOUR, SEVEN, TrainConfig, read_settings
from tests.helpers.tinystore import make_store, make_table

SIZES = ["--model", "linear", "--timesteps", "9", "--no-augment", "--protocol", "stratified-group"]
LABELS = {1: "repression", 3: "others", 5: "happy", 7: "NA"}


def own_labels(subjects: int = 4) -> pd.DataFrame:
    """A table of labels that CK+ does not have, but for happy; pandas takes one of them for no value, if it is let."""
    table = make_table(subjects=subjects)
    table["label"] = table["emotion"].map(LABELS).astype("str")
    return table.assign(emotion=table["emotion"].where(table["emotion"] == 5))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("labels") / "store", own_labels())


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("happy,surprise", ("happy", "surprise")),
        (" happiness, 7", ("happy", "surprise")),
        ((5, "others"), ("happy", "others")),
        (["all"], ("all",)),
        ("all", ("all",)),
    ],
)
def test_names_and_codes_choose(given: object, names: tuple[str, ...]):
    assert parse_classes(given) == names
    assert TrainConfig(classes=given).classes == names


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": "happy"}, "classes must be at least two, got happy"),
        ({"classes": "happy,joy"}, "classes must not name happy twice"),
        ({"classes": "happy,"}, "a label must not be empty"),
        ({"classes": (5, 9)}, "a label's code must be one of 0, 1, 2"),
        ({"classes": "happy,all"}, "classes must be 'all' alone"),
        ({"classes": 5}, "classes must be names such as"),
        ({"merge": "positive"}, "merge must be CLASS=LABEL"),
        ({"merge": "positive=happy=fear"}, "merge must be CLASS=LABEL"),
        ({"merge": "positive=happy negative="}, "merge must be CLASS=LABEL"),
        ({"merge": ["positive=happy", 3]}, "merge must be CLASS=LABEL"),
        ({"merge": "a=happy; a=fear"}, "merge names the class a twice"),
        ({"merge": ["a=happy", "a=fear"]}, "merge names the class a twice"),
        ({"merge": {"a": ["happy"], "b": ["fear", "joy"]}}, "puts the label happy into a and again into b"),
        ({"merge": {"a": []}}, "merge gives no label for the class a"),
        ({"merge": {"a": ["happy"]}, "classes": "happy,fear"}, "classes names happy, which merge puts into a"),
        ({"merge": 3}, "merge must be such as"),
    ],
)
def test_choices_that_are_none_are_refused(settings: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_dict(settings)


def test_phases_keep_their_classes():
    assert [TrainConfig(phase=phase).class_names for phase in (1, 2, 3, 4)] == [SEVEN, SEVEN, SEVEN, FOUR]
    merged = TrainConfig(merge=["negative=anger,disgust", "positive=happy"])
    assert merged.class_names == ("negative", "positive")
    assert TrainConfig.from_dict(merged.as_dict()) == merged


def test_a_settings_file_chooses(tmp_path: Path):
    (tmp_path / "s.toml").write_text('classes = ["happy", "bad"]\nmerge = {bad = ["anger", "fear"]}\n')
    config = TrainConfig.from_dict(read_settings(tmp_path / "s.toml"))
    assert (config.class_names, config.merge) == (("happy", "bad"), {"bad": ("anger", "fear")})
    (tmp_path / "s.toml").write_text('classes = "happy,fear"\nmerge = "bad=anger"\n')
    assert TrainConfig.from_dict(read_settings(tmp_path / "s.toml")).merge == {"bad": ("anger",)}


@pytest.mark.parametrize(
    "given",
    [
        ["positive=happy", "negative=anger,very sad", "mid=fear"],
        "positive=happy negative=anger,very sad mid=fear",
        "positive=happy;negative=anger, very sad ; mid = fear",
        ["positive = happy  negative=anger,very sad", "mid=fear"],
    ],
)
def test_pairs_stand_in_one_text_or_in_several(given: object):
    assert parse_merge(given) == {"positive": ("happy",), "negative": ("anger", "very sad"), "mid": ("fear",)}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("A B --merge p=happy n=fear,anger -o R", "A B --merge p=happy --merge n=fear,anger -o R"),
        ("--merge=p=happy n=fear m=anger A B", "--merge=p=happy --merge n=fear --merge m=anger A B"),
        ("--merge p=happy A n=fear", "--merge p=happy A n=fear"),
        ("--merge p=happy -- n=fear", "--merge p=happy -- n=fear"),
        ("--merge p=happy --epochs=3 n=fear", "--merge p=happy --epochs=3 n=fear"),
        ("--merge p=happy a=store n=fear", "--merge p=happy a=store n=fear"),
        ("--merge", "--merge"),
    ],
)
def test_one_option_takes_several_pairs(words: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("a=store").mkdir()
    assert spelled_out(words.split()) == expected.split()


def test_merged_labels_are_one_class():
    merge = parse_merge(["negative=repression,others", "positive=happy"])
    classes = with_classes(own_labels(), merge)["label"]
    assert classes.value_counts().to_dict() == {"negative": 8, "positive": 4, "NA": 4}
    assert class_of("surprise", merge) == "surprise"


def test_all_takes_every_label(store: Store):
    assert make_samples(store, TrainConfig(classes="all")).config.class_names == ("NA", "happy", "others", "repression")
    merged = TrainConfig(classes="all", merge="rest=NA,others,repression")
    assert make_samples(store, merged).config.class_names == ("happy", "rest")
    with pytest.raises(ValueError, match=r"at least two classes, and .* has rest"):
        make_samples(store, TrainConfig(classes="all", merge="rest=NA,others,repression,happy"))


def test_a_class_without_sequences_is_told(store: Store):
    with pytest.raises(
        ValueError, match=r"labelled anger, disgust, surprise.* has NA: 4, happy: 4, others: 4, repress"
    ):
        make_splits(store.table, TrainConfig(phase=4))
    with pytest.raises(ValueError, match="no sequence is labelled hapy"):
        make_splits(store.table, TrainConfig(classes="hapy,others"))
    with pytest.raises(ValueError, match="merge names the label fear"):
        make_splits(store.table, TrainConfig(merge=["a=happy,fear", "b=others"]))


def test_a_run_shows_names_only(store: Store, tmp_path: Path):
    merge = ["--merge", "negative=repression,others", "nothing=NA", "--classes", "negative,happy,nothing"]
    command = ["train", *merge[:3], str(store.path), *merge[3:], "-o", str(tmp_path / "run"), "--folds", "2", *SIZES]
    result = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "16 sequences of 4 subjects are used: negative 8, happy 4, nothing 4" in result.stdout
    run = fastck.open_run(tmp_path / "run")
    assert run.classes == ("negative", "happy", "nothing")
    assert run.settings.merge == {"negative": ("repression", "others"), "nothing": ("NA",)}
    assert list(run.predictions.columns[-3:]) == ["p_negative", "p_happy", "p_nothing"]
    expected = with_classes(store.table, run.settings.merge).set_index("sequence")["label"]
    for table in (run.predictions, run.baselines):
        assert table["true"].tolist() == expected[table["sequence"]].tolist()
        assert set(table["predicted"]) <= set(run.classes)
    assert list(run.report["evaluation"]["per_class"]) == list(run.classes)
    assert "paper" not in run.report
    assert run.report["title"] == "Phase 3 (projection): negative, happy, nothing"
    assert fastck.open_run(tmp_path / "run" / "folds" / "repeat1-fold02").model.classes.tolist() == list(run.classes)


def test_wrong_names_get_one_line_on_the_command_line(store: Store, tmp_path: Path):
    for options, message in [
        ([], "no sequence is labelled anger, contempt, disgust, fear, sadness, surprise"),
        (["--classes", "hapy,others"], "no sequence is labelled hapy"),
        (["--merge", "a=happy", "--merge", "b=joy"], "puts the label happy into a and again into b"),
    ]:
        result = CliRunner().invoke(app, ["train", str(store.path), "-o", str(tmp_path / "run"), *options])
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert message in result.stderr
    assert not (tmp_path / "run").exists()
