"""What a training run is: the paper's phases and every setting of a run, frozen, checked and readable from TOML.

Loads no TensorFlow, so that a command line can answer `--help` and refuse bad values at once.
"""

import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from fastck.config import check_choice

Protocol = Literal["random", "random-folds", "subject-10fold", "loso", "stratified-group"]
TooLong = Literal["error", "skip", "first", "last"]
Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]

# Protocols under which no subject is on both sides of a split.
SUBJECT_INDEPENDENT = ("subject-10fold", "loso", "stratified-group")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One experiment of the paper.

    Attributes
    ----------
    number : int
        1 to 4, as the paper counts.
    features : dict of int to str
        Store feature by `--size` in pixels; the first is the default.
    kernel_size : tuple of int
        Of the recurrent convolution; (1, 3) where a frame has only two rows (paper, fig. 7).
    classes : tuple of int
        Emotion codes; a class's index is its position here.
    per_emotion : int
        Sequences of each emotion after balancing.
    text : str
        One line for people.
    """

    number: int
    features: dict[int, str]
    kernel_size: tuple[int, int]
    classes: tuple[int, ...]
    per_emotion: int
    text: str


SEVEN = (1, 2, 3, 4, 5, 6, 7)
FOUR = (1, 3, 5, 7)  # the rare contempt, fear and sadness left out (paper, phase 4)

PHASES: dict[int, Phase] = {
    1: Phase(
        number=1,
        features={267: "mask"},
        kernel_size=(3, 3),
        classes=SEVEN,
        per_emotion=15,
        text="whole 267x267 motion masks, seven emotions (ran out of memory in the paper)",
    ),
    2: Phase(
        number=2,
        features={34: "pool34", 67: "pool67", 134: "pool134"},
        kernel_size=(3, 3),
        classes=SEVEN,
        per_emotion=15,
        text="mean-pooled masks, seven emotions (134 and 67 ran out of memory in the paper)",
    ),
    3: Phase(
        number=3,
        features={267: "projection"},
        kernel_size=(1, 3),
        classes=SEVEN,
        per_emotion=15,
        text="2x267 projections, seven emotions",
    ),
    4: Phase(
        number=4,
        features={267: "projection"},
        kernel_size=(1, 3),
        classes=FOUR,
        per_emotion=35,
        text="2x267 projections, four emotions",
    ),
}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Every setting of a training run; the defaults are the paper's.

    Attributes
    ----------
    phase : int
        1 to 4 (see PHASES).
    size : int, optional
        Side of phase 2's pooled frames: 34, 67 or 134 pixels.
    protocol : str
        How sequences become training and test sets (see fastck.training.folds).
    folds : int
        Number of folds of `random-folds` and `stratified-group` (`subject-10fold` has 10, `loso` one per subject).
    repeats : int
        How often everything is repeated with another seed (seed, seed + 1, ...).
    per_emotion : int, optional
        Sequences per emotion after balancing; None takes the paper's number, or as many as the rarest emotion has where
        that is less; 0 turns balancing off.
    mean_frames : float, optional
        Frames per sequence that balancing aims at in each emotion; None aims at the candidates' own mean, 0 draws
        blindly.
    test_size, validation_size : float
        Share of the sequences that is tested (`random`), and of the training subjects that validates (other protocols).
    timesteps : int
        Length every sequence is padded to (paper, fig. 11).
    too_long : {"last", "first", "skip", "error"}
        What happens to a sequence with more than `timesteps` difference frames; "last" keeps those towards the apex.
    filters, dense : int
        Channels of the recurrent layer and units of the hidden one (paper, fig. 6).
    dropout, learning_rate : float
        Share of dropped features (paper, fig. 6), and Adam's step (Keras' default).
    epochs, batch_size : int
        As the paper; `batch_size` is what one optimiser step sees, whatever the memory plan makes of it.
    seed : int
        Decides balancing, splits, initial weights, shuffling and dropout.
    memory : int, optional
        Bytes that training may take; None is what the device has.
    micro_batch : int, optional
        Sequences held in memory at once; None leaves it to the memory plan.
    remat : bool, optional
        Recompute the recurrent layer's inner values on the way back instead of keeping them; None leaves it to the
        memory plan.
    max_steps : int, optional
        Stop after that many optimiser steps (a trial run).
    early_stopping : int, optional
        Stop after that many epochs without a better validation loss, and go back to the best weights.
    fused : bool
        Train with the fused recurrent layer (same weights, equal to 1e-5); the saved model is Keras' own either way.
    precision : {"float32", "mixed_float16", "mixed_bfloat16"}
        Keras' dtype policy.
    deterministic : bool
        Ask TensorFlow for results that repeat bit for bit.
    tensorboard : bool
        Write TensorBoard logs into the run.
    checkpoint_every : int
        Epochs between checkpoints; 0 writes none.
    keep_models : bool
        Keep each fold's trained model.
    baselines : bool
        Fit the baselines too.
    """

    phase: int = 3
    size: int | None = None
    protocol: Protocol = "random"
    folds: int = 10
    repeats: int = 1
    per_emotion: int | None = None
    mean_frames: float | None = None
    test_size: float = 0.30
    validation_size: float = 0.15
    timesteps: int = 39
    too_long: TooLong = "last"
    filters: int = 64
    dense: int = 100
    dropout: float = 0.5
    learning_rate: float = 0.001
    epochs: int = 100
    batch_size: int = 64
    seed: int = 1
    memory: int | None = None
    micro_batch: int | None = None
    remat: bool | None = None
    max_steps: int | None = None
    early_stopping: int | None = None
    fused: bool = True
    precision: Precision = "float32"
    deterministic: bool = True
    tensorboard: bool = False
    checkpoint_every: int = 1
    keep_models: bool = True
    baselines: bool = True

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise ValueError(f"phase must be one of {', '.join(map(str, PHASES))}, got {self.phase!r}")
        sizes = PHASES[self.phase].features
        if self.size is not None and self.size not in sizes:
            raise ValueError(
                f"size must be one of {', '.join(map(str, sizes))} for phase {self.phase}, got {self.size!r}"
            )
        check_choice("protocol", self.protocol, Protocol)
        check_choice("too_long", self.too_long, TooLong)
        check_choice("precision", self.precision, Precision)
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        for name in ("test_size", "validation_size"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be above 0 and below 1, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")
        if self.remat and not self.fused:
            raise ValueError("remat needs fused: Keras' own ConvLSTM2D cannot be rematerialised with TensorFlow")
        if self.micro_batch is not None and self.micro_batch > self.batch_size:
            raise ValueError(f"micro_batch must be at most batch_size ({self.batch_size}), got {self.micro_batch}")

    @property
    def feature(self) -> str:
        """Name of the store feature this run reads."""
        sizes = PHASES[self.phase].features
        return sizes[self.size if self.size is not None else next(iter(sizes))]

    @property
    def classes(self) -> tuple[int, ...]:
        """Emotion codes, in class order."""
        return PHASES[self.phase].classes

    @property
    def kernel_size(self) -> tuple[int, int]:
        """Rows and columns of the recurrent convolution."""
        return PHASES[self.phase].kernel_size

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainConfig":
        """Build a config from names and values, for example those of a run.json or a TOML file.

        Raises
        ------
        ValueError
            If a name is unknown, or a value is of the wrong kind or out of range.
        """
        unknown = set(values) - {entry.name for entry in fields(cls)}
        if unknown:
            known = ", ".join(entry.name for entry in fields(cls))
            raise ValueError(f"unknown training settings {', '.join(sorted(unknown))}; known are {known}")
        for name, value in values.items():
            kinds = _KINDS[name]
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                wanted = " or ".join(kind.__name__ for kind in kinds if kind is not type(None))
                raise ValueError(f"{name} must be of type {wanted}, got {value!r}")
        return cls(**values)


_LEAST = {
    "folds": 2,
    "repeats": 1,
    "per_emotion": 0,
    "mean_frames": 0,
    "timesteps": 1,
    "filters": 1,
    "dense": 1,
    "epochs": 1,
    "batch_size": 1,
    "seed": 0,
    "memory": 1,
    "micro_batch": 1,
    "max_steps": 1,
    "early_stopping": 1,
    "checkpoint_every": 0,
}
_NONE = type(None)
_OPTIONAL_INTEGERS = ("size", "per_emotion", "memory", "micro_batch", "max_steps", "early_stopping")
_FLOATS = ("test_size", "validation_size", "dropout", "learning_rate")
_TEXTS = ("protocol", "too_long", "precision")
_SWITCHES = ("fused", "deterministic", "tensorboard", "keep_models", "baselines")
_KINDS: dict[str, tuple[type, ...]] = {
    **{entry.name: (int,) for entry in fields(TrainConfig)},
    **dict.fromkeys(_OPTIONAL_INTEGERS, (int, _NONE)),
    **dict.fromkeys(_FLOATS, (float, int)),
    "mean_frames": (float, int, _NONE),
    **dict.fromkeys(_TEXTS, (str,)),
    **dict.fromkeys(_SWITCHES, (bool,)),
    "remat": (bool, _NONE),
}


def read_settings(path: Path) -> dict[str, Any]:
    """Read training settings from a TOML file: `name = value` lines, the names being TrainConfig's.

    `memory` may be a size in words, such as "12GiB".

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not TOML.
    """
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a TOML file: {error}") from error
    if isinstance(values.get("memory"), str):
        values["memory"] = parse_bytes(values["memory"])
    return values


def parse_bytes(text: str) -> int:
    """Turn "12GiB", "500MB" or "1000000" into bytes.

    Raises
    ------
    ValueError
        If the text is not a number with a known unit.
    """
    units = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
    number = text.strip().rstrip("BGIKMbgikm ")
    unit = text.strip()[len(number) :].strip().upper()
    try:
        value = float(number) * units[unit]
    except (KeyError, ValueError):
        raise ValueError(f"memory must be a size such as 12GiB, 500MB or a number of bytes, got {text!r}") from None
    if not 1 <= value < 2**63:
        raise ValueError(f"memory must be a size such as 12GiB, 500MB or a number of bytes, got {text!r}")
    return int(value)
