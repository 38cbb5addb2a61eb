"""Settings: each bound and choice is refused by name, and the command offers exactly what the library knows."""

import inspect
import math
import re

import pytest
from typer.testing import CliRunner

from fastck.cli import app
from fastck.cli.training_options import GROUPS
from fastck.training.settings.config import MODEL_DEFAULTS, SETTINGS, TrainConfig
from fastck.training.settings.setting import Setting


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("phase", 9, "phase must be one of 1, 2, 3, 4, 5, 6, got 9"),
        ("protocol", "lopo", "protocol must be one of random, random-folds"),
        ("folds", 1, "folds must be at least 2 and at most 1,000, got 1"),
        ("test_size", 1.0, r"test_size must be above 0 and below 1, got 1\.0"),
        ("dropout", 1.0, "dropout must be at least 0 and below 1"),
        ("learning_rate", 0.0, "learning_rate must be above 0"),
        ("learning_rate", math.nan, "learning_rate must be above 0, got nan"),
        ("learning_rate", math.inf, "learning_rate must be above 0, got inf"),
        ("mean_frames", math.nan, "mean_frames must be at least 0 .* got nan"),
        ("dropout", math.nan, "dropout must be at least 0 and below 1, got nan"),
        ("seed", 10**20, "seed must be at least 0 and at most"),
        ("epochs", 10**20, "epochs must be at least 1 and at most"),
        ("batch_size", 0, "batch_size must be at least 1"),
        ("size", 67, "size must be one of 267 for phase 3, got 67"),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: object, message: str):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("epochs", 1.5), ("epochs", True), ("fused", 1), ("protocol", 3)])
def test_values_of_the_wrong_kind_are_refused(name: str, value: object):
    with pytest.raises(TypeError, match=f"{name} must be of type"):
        TrainConfig(**{name: value})
    with pytest.raises(ValueError, match=f"{name} must be of type"):
        TrainConfig.from_dict({name: value})


def test_settings_survive_a_file():
    config = TrainConfig(phase=4, protocol="loso", mean_frames=12, memory=2**33)
    assert TrainConfig.from_dict(config.as_dict()) == config


@pytest.mark.parametrize("entry", SETTINGS.values(), ids=lambda entry: entry.name)
def test_a_default_is_a_value_of_its_setting_and_has_a_help(entry: Setting):
    entry.check(getattr(TrainConfig(), entry.name))
    assert entry.help.endswith((".", ")."))
    assert f"{entry.name} : " in inspect.getdoc(TrainConfig)


@pytest.mark.parametrize("model", MODEL_DEFAULTS)
def test_a_model_brings_its_own_defaults_and_what_is_given_wins(model: str):
    # STSTNet reads flow only.
    own = TrainConfig(model=model, phase=5, protocol="loso").as_dict()
    assert MODEL_DEFAULTS[model].items() <= own.items()
    given = TrainConfig(model=model, phase=5, epochs=3, augment=False)
    assert (given.epochs, given.augment) == (3, False)
    assert TrainConfig.from_dict(given.as_dict()) == given
    assert (
        TrainConfig().as_dict() == TrainConfig(augment=False, learning_rate=0.001, epochs=100, batch_size=64).as_dict()
    )


def test_what_is_tested_does_not_choose_ststnets_epochs():
    assert TrainConfig(model="ststnet", phase=5, protocol="loso").early_stopping == 50
    assert TrainConfig(model="ststnet", phase=5, protocol="random").early_stopping is None
    for options in ({"phase": 3}, {"phase": 5, "size": 64}):
        with pytest.raises(ValueError, match="ststnet reads flow, phase 5 with size 28; got phase"):
            TrainConfig(model="ststnet", **options)


def test_the_command_has_each_setting_as_an_option():
    result = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    offered = set(re.findall(r"--([a-z][a-z-]+)", result.stdout))
    named = {(entry.flag or entry.name).lstrip("-").replace("_", "-") for entry in SETTINGS.values()}
    assert named <= offered
    switches = {f"no-{name.replace('_', '-')}" for name, entry in SETTINGS.items() if entry.kind is bool}
    others = {"output", "config", "folds-file", "resume", "jobs", "scheduler", "fold", "verbose", "sweep", "help"}
    assert offered - named - switches == others
    for entry in SETTINGS.values():
        for choice in entry.choices:
            assert str(choice) in result.stdout


def test_the_help_has_each_setting_in_one_group_and_cuts_none():
    result = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "80"}, terminal_width=80)
    sections = dict(re.findall(r"^(\w[\w ]*):\n(.*?)(?=^\w|\Z)", result.stdout, re.MULTILINE | re.DOTALL))
    assert {"Arguments", "Options", *GROUPS} <= sections.keys()
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(SETTINGS)
    for title, names in GROUPS.items():
        shown = re.findall(r"^  --([a-z-]+)", sections[title], re.MULTILINE)
        flags = [SETTINGS[name].flag or name for name in SETTINGS if name in names]
        assert shown == [flag.lstrip("-").replace("_", "-") for flag in flags]
    assert "..." not in sections["Training and test"]
    assert "SEED + 1 and so on (default 1)." in " ".join(sections["Training and test"].split())


def test_wrong_values_on_the_command_line_get_one_line(tmp_path):
    for options, message in [
        (["--protocol", "lopo"], "lopo"),
        (["--epochs", "99999999999999999999"], "error: epochs must be at least 1 and at most"),
        (["--learning-rate", "nan"], "error: learning_rate must be above 0, got nan"),
        (["--memory", "12 apples"], "error: memory must be a size such as 12GiB"),
    ]:
        result = CliRunner().invoke(app, ["train", str(tmp_path / "store"), "-o", str(tmp_path / "run"), *options])
        assert result.exit_code == 2
        assert message in result.stderr
        assert "Traceback" not in result.output
    assert not (tmp_path / "run").exists()
