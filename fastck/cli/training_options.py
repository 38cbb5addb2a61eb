"""The settings of a training run as options of a command: one option for each field of TrainConfig."""

import functools
import inspect
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from fastck.training.settings.config import SETTINGS
from fastck.training.settings.setting import Setting


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each training setting to a typer command.

    The command takes them as one dictionary, `settings`, which holds those that the user gave.
    """

    @functools.wraps(command)
    def run(**values: Any) -> None:
        given = {name: values.pop(name) for name in SETTINGS}
        # An enumeration's members are the texts that it was made of.
        given = {name: str(value) if isinstance(value, StrEnum) else value for name, value in given.items()}
        # An option that may be repeated and was not given is an empty list.
        command(**values, settings={name: value for name, value in given.items() if value not in (None, [])})

    others = [entry for entry in inspect.signature(command).parameters.values() if entry.name != "settings"]
    options = [_option(entry) for entry in SETTINGS.values()]
    # Typer reads both.
    run.__signature__ = inspect.Signature([*others, *options])  # type: ignore[attr-defined]
    run.__annotations__ = {entry.name: entry.annotation for entry in [*others, *options]}
    return run


def spelled_out(words: Iterable[str]) -> list[str]:
    """Return a command line with the option before each of its pairs: --merge a=b c=d becomes --merge a=b --merge c=d.

    Only words with "=" that follow directly are taken, and none that is a path: what else follows is an argument.
    """
    options = {f"--{name}" for name, entry in SETTINGS.items() if entry.repeated}
    out: list[str] = []
    # The option whose pairs stand here, and whether its first one is still to come.
    option, awaits = "", False
    for word in words:
        if awaits:
            awaits = False
        elif word.partition("=")[0] in options:
            option, _, pair = word.partition("=")
            awaits = not pair
        elif option and "=" in word and not word.startswith("-") and not Path(word).exists():
            out.append(option)
        else:
            option = ""
        out.append(word)
    return out


# What `fastck train --help` shows of the settings, by what they are about.
GROUPS: dict[str, tuple[str, ...]] = {
    "Data and classes": (
        "phase",
        "size",
        "classes",
        "merge",
        "neutral",
        "neutral_steps",
        "per_emotion",
        "mean_frames",
        "timesteps",
        "too_long",
        "augment",
    ),
    "Training and test": ("protocol", "folds", "repeats", "test_size", "validation_size", "baselines", "final"),
    "Model": ("model", "base", "filters", "dense", "dropout"),
    "Fitting": ("learning_rate", "epochs", "batch_size", "max_steps", "early_stopping", "seed"),
    "Memory and speed": ("memory", "micro_batch", "remat", "fused", "precision", "deterministic", "threads"),
    "Files": ("checkpoint_every", "keep_models", "tensorboard"),
}


class SettingsCommand(TyperCommand):
    """A command that takes several pairs after one option, and whose help has the settings in groups."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words of a command line."""
        return super().parse_args(ctx, spelled_out(args))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, the command's own options, and each group of settings."""
        group_of = {name: title for title, names in GROUPS.items() for name in names}
        lines: dict[str, list[tuple[str, str]]] = {title: [] for title in ("Arguments", "Options", *GROUPS)}
        for entry in self.get_params(ctx):
            title = "Arguments" if entry.param_type_name == "argument" else group_of.get(entry.name or "", "Options")
            if (line := entry.get_help_record(ctx)) is not None:
                lines[title].append(line)
        for title, group in lines.items():
            with formatter.section(title):
                formatter.write_dl(group)


def _option(entry: Setting) -> inspect.Parameter:
    help_text = entry.help
    if entry.default_text:
        help_text = f"{help_text.rstrip('.')} (default {entry.default_text})."
    flags = [entry.flag] if entry.flag else []
    option = Annotated[_kind(entry) | None, typer.Option(*flags, help=help_text, show_default=False)]  # type: ignore[valid-type]
    return inspect.Parameter(entry.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)


def _kind(entry: Setting) -> Any:
    """Return the type that typer turns a text into; a setting with a parser stays text."""
    if entry.parse is not None:
        return list[str] if entry.repeated else str
    if entry.kind is str:
        return StrEnum(entry.name, {choice: choice for choice in entry.choices})
    return entry.kind
