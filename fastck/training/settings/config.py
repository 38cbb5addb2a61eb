"""What a training run is: the paper's phases and every setting of a run, frozen, checked and readable from TOML.

Loads no TensorFlow, so that a command line can answer `--help` and refuse bad values at once.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from fastck.batches.padding import Padding, frame_shape
from fastck.config import TIMESTEPS, UNIT_VALUES
from fastck.training.settings.classes import ALL, NEUTRAL, check_merged, class_of, parse_classes, parse_merge
from fastck.training.settings.setting import described, setting, settings_of
from fastck.training.settings.shape import Model, NetworkShape

Protocol = Literal[
    "random", "random-folds", "subject-10fold", "loso", "stratified-group", "leave-one-dataset-out", "table"
]
Neutral = Literal["first"]
TooLong = Literal["error", "skip", "first", "last"]
Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]

# Protocols without subject leakage.
SUBJECT_INDEPENDENT = ("subject-10fold", "loso", "stratified-group", "leave-one-dataset-out")


# More epochs, steps or sequences than anyone has: a number beyond it is a slip of the finger.
MANY = 10**9


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


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One experiment of the paper.

    Attributes
    ----------
    number : int
        1 to 4, as the paper counts; 5 and 6 go beyond it.
    features : dict of int to str
        Store feature by `--size` in pixels; the first is the default.
    kernel_size : tuple of int
        Of the recurrent convolution; (1, 3) where a frame has only two rows (paper, fig. 7).
    classes : tuple of str
        Names of emotions; a class's index is its position here.
    per_emotion : int
        Sequences of each emotion after balancing.
    text : str
        One line for people.
    padding : {"both", "before"}
        Where the zero steps are that bring a sequence to its length: around it (paper, fig. 11), or before it only, so
        that every sequence ends with its apex.
    standardised : bool
        Whether the network divides its input by the training part's standard deviation.
    weighted : bool
        Whether rare emotions weigh more in the loss, in place of balancing.
    """

    number: int
    features: dict[int, str]
    kernel_size: tuple[int, int]
    classes: tuple[str, ...]
    per_emotion: int
    text: str
    padding: Padding = "both"
    standardised: bool = False
    weighted: bool = False


SEVEN = ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
FOUR = ("anger", "disgust", "happy", "surprise")  # the rare contempt, fear and sadness left out (paper, phase 4)

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
    5: Phase(
        number=5,
        features={64: "flow_projection", 28: "flow"},
        kernel_size=(1, 3),
        classes=SEVEN,
        per_emotion=0,
        text="optical flow from the onset, seven emotions, all sequences (not in the paper)",
        padding="before",
        standardised=True,
        weighted=True,
    ),
    6: Phase(
        number=6,
        features={UNIT_VALUES: "units"},
        kernel_size=(1, 3),
        classes=SEVEN,
        per_emotion=0,
        text="facial action units and shape beside the onset, seven emotions, all sequences (not in the paper)",
        padding="before",
        standardised=True,
        weighted=True,
    ),
}


# What a setting is where nobody gives it: the paper's, or what suits another model (measured: see BENCHMARKS.md).
PAPER_DEFAULTS: dict[str, Any] = {
    "augment": False,
    "learning_rate": 0.001,
    "epochs": 100,
    "batch_size": 64,
    "checkpoint_every": 1,
}
MODEL_DEFAULTS: dict[Model, dict[str, Any]] = {
    "convlstm": PAPER_DEFAULTS,
    # Its epochs take less than a second for a few hundred sequences; a checkpoint after each made some folds half as
    # long again.
    "temporal": {"augment": True, "learning_rate": 0.002, "epochs": 20, "batch_size": 32, "checkpoint_every": 5},
    # The validating people decide when it ends; its authors' source trains 800 epochs with steps of 0.00005.
    "ststnet": PAPER_DEFAULTS | {"augment": True, "epochs": 400, "early_stopping": 50, "checkpoint_every": 20},
    "linear": PAPER_DEFAULTS | {"augment": True},
}


def _temporal(name: str) -> str:
    """Return the temporal network's default as the help says it."""
    return f"{MODEL_DEFAULTS['temporal'][name]} for temporal"


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Every setting of a training run; the defaults are the paper's, but for the models that it does not have."""

    phase: int = setting(
        3,
        "Experiment: the paper's 1 masks, 2 pooled masks, 3 projections, 4 the same of four emotions; 5 optical flow; "
        "6 action units and shape, for the models linear and temporal.",
        choices=tuple(PHASES),
    )
    size: int | None = setting(
        None,
        "Phase 2: side of a pooled frame, 34, 67 or 134 pixels (default 34). Phase 5: 64 columns of a flow projection "
        "or 28 cells of flow (default 64, for the models temporal, ststnet and linear 28).",
    )
    model: Model = setting(
        "convlstm",
        "convlstm is the paper's network; temporal is one convolution over time and the maximum over all steps; "
        "ststnet is Liong et al.'s shallow network (2019) on the apex's flow; linear is logistic regression, without "
        "TensorFlow (epochs, filters and the like are then not used).",
    )
    base: Literal["bundled"] | None = setting(
        None,
        "bundled begins with the bundled recogniser: logistic regression on what its inner layer makes of the apex's "
        "flow, for a few people of one's own; needs phase 5 and the model linear.",
        flag="--from",
    )
    classes: tuple[str, ...] | None = setting(
        None,
        "Labels to tell apart, such as happy,surprise; all takes every label of the store (default the phase's, or the "
        "merged classes).",
        parse=parse_classes,
    )
    merge: dict[str, tuple[str, ...]] | None = setting(
        None,
        "Labels that count as one class, such as positive=happy negative=anger,disgust: one or more pairs. May be "
        "repeated.",
        parse=parse_merge,
        repeated=True,
    )
    neutral: Neutral | None = setting(
        None, "first makes the onset of each sequence, its first frames, a sample of the class neutral."
    )
    neutral_steps: int = setting(
        2, "Steps of such an onset (3 frames), and at most a third of the sequence's.", least=1, most=10_000
    )
    augment: bool = setting(
        None,
        "Train on variants too: mirrored, ended at 70 to 100 % of the sequence, begun up to two steps earlier or later "
        "(default yes, but no for convlstm).",
    )
    protocol: Protocol = setting(
        "random",
        "How sequences are split into training and test; all but the random ones are subject-independent, and table "
        "takes the folds that the data set's table gives.",
    )
    folds: int = setting(
        10,
        "Folds of random-folds and stratified-group; subject-10fold has 10, loso one per subject, "
        "leave-one-dataset-out one per store.",
        least=2,
        most=1000,
    )
    repeats: int = setting(1, "Repeat everything with so many seeds: SEED, SEED + 1 and so on.", least=1, most=1000)
    per_emotion: int | None = setting(
        None,
        "Sequences of each emotion after balancing; 0 takes all (default the paper's number, or the rarest emotion's).",
        least=0,
        most=MANY,
    )
    mean_frames: float | None = setting(
        None,
        "Frames per sequence that balancing aims at in each emotion; 0 draws blindly (default the mean of all).",
        least=0,
        most=MANY,
    )
    test_size: float = setting(0.30, "Share of the sequences that is tested, under random.", above=0, below=1)
    validation_size: float = setting(
        0.15, "Share of the training subjects that validates, under the other protocols.", above=0, below=1
    )
    timesteps: int = setting(TIMESTEPS, "Steps every sequence is padded to (paper, fig. 11).", least=1, most=10_000)
    too_long: TooLong = setting(
        "last", "Which steps of a sequence longer than that are kept; or leave it out, or stop with an error."
    )
    filters: int = setting(
        NetworkShape.filters, "Channels of the recurrent layer (paper, fig. 6).", least=1, most=10_000
    )
    dense: int = setting(NetworkShape.dense, "Units of the hidden layer (paper, fig. 6).", least=1, most=100_000)
    dropout: float = setting(0.5, "Share of the recurrent layer's output dropped in training.", least=0, below=1)
    learning_rate: float = setting(
        None, f"Adam's step size (default 0.001, as Keras'; {_temporal('learning_rate')}).", above=0
    )
    epochs: int = setting(
        None, f"Passes over the training part (default 100; {_temporal('epochs')}).", least=1, most=MANY
    )
    batch_size: int = setting(
        None,
        f"Sequences per optimizer step, however memory cuts them (default 64; {_temporal('batch_size')}).",
        least=1,
        most=65_536,
    )
    max_steps: int | None = setting(None, "Stop after so many optimizer steps: a trial run.", least=1, most=MANY)
    early_stopping: int | None = setting(
        None,
        "Stop after so many epochs without a better validation loss, and go back to the best weights (default never; "
        "50 for ststnet, where none of the tested sequences validates).",
        least=1,
        most=MANY,
    )
    seed: int = setting(
        1, "Decides balancing, splits, initial weights, shuffling and dropout.", least=0, most=2**32 - 1001
    )
    memory: int | None = setting(
        None,
        "Memory that training may take, such as 12GiB (default 85 % of the device's).",
        least=1,
        most=2**63 - 1,
        parse=parse_bytes,
    )
    micro_batch: int | None = setting(
        None, "Sequences in memory at once (default as the memory plan says).", least=1, most=65_536
    )
    remat: bool | None = setting(
        None,
        "Gradient checkpointing: recompute activations in the backward pass (default as the memory plan says).",
    )
    fused: bool = setting(
        True, "Train with a fused layer in place of Keras' own; the saved network has Keras' own either way."
    )
    precision: Precision = setting("float32", "Keras' dtype policy.")
    deterministic: bool = setting(True, "Ask the backend for results that repeat bit for bit.")
    tensorboard: bool = setting(False, "Write TensorBoard logs into the run.")
    checkpoint_every: int = setting(
        None,
        f"Epochs between checkpoints; 0 writes none (default 1; {_temporal('checkpoint_every')}).",
        least=0,
        most=MANY,
    )
    threads: int | None = setting(
        None,
        "Processor threads of a fold's network. Another number gives other bytes, since it adds up in another order "
        "(default 1 where there are several folds, else one per core).",
        least=1,
        most=1024,
    )
    keep_models: bool = setting(True, "Keep each fold's network.")
    final: bool = setting(
        True, "Fit a model on all sequences at the end, with what the folds chose: RUN/final, for fastck predict."
    )
    baselines: bool = setting(True, "Fit scikit-learn's baselines too.")

    def __post_init__(self) -> None:
        # An unknown model, of whatever kind, is refused below.
        defaults = MODEL_DEFAULTS[self.model] if self.model in tuple(MODEL_DEFAULTS) else PAPER_DEFAULTS
        for name, value in defaults.items():
            # Under the protocol "random" what is tested validates, and must not choose the epochs by itself.
            if getattr(self, name) is None and (name, self.protocol) != ("early_stopping", "random"):
                object.__setattr__(self, name, value)
        # Lists, as files hold them, and CK+'s codes become tuples of names.
        if self.classes is not None:
            object.__setattr__(self, "classes", parse_classes(self.classes))
        if self.merge is not None:
            object.__setattr__(self, "merge", parse_merge(self.merge))
            check_merged(self.classes, self.merge or {})
        for name, entry in settings_of(type(self)).items():
            entry.check(getattr(self, name))
        sizes = PHASES[self.phase].features
        if self.size is not None and self.size not in sizes:
            raise ValueError(
                f"size must be one of {', '.join(map(str, sizes))} for phase {self.phase}, got {self.size!r}"
            )
        if self.model == "ststnet" and self.feature != "flow":
            raise ValueError(f"ststnet reads flow, phase 5 with size 28; got phase {self.phase}, {self.feature}")
        if self.feature == "units" and self.model not in ("linear", "temporal"):
            raise ValueError(f"phase 6 reads vectors, not pictures: model must be linear or temporal, got {self.model}")
        if self.base is not None and (self.feature, self.model) != ("flow", "linear"):
            raise ValueError(
                f"the bundled recogniser reads flow: --from {self.base} takes phase 5 and the model linear, "
                f"got phase {self.phase} and {self.model}"
            )
        if self.remat and not self.fused:
            raise ValueError("remat needs fused: Keras' own ConvLSTM2D cannot be rematerialised with TensorFlow")
        if self.micro_batch is not None and self.micro_batch > self.batch_size:
            raise ValueError(f"micro_batch must be at most batch_size ({self.batch_size}), got {self.micro_batch}")

    @property
    def feature(self) -> str:
        """Name of the store feature this run reads."""
        sizes = PHASES[self.phase].features
        if self.size is not None:
            return sizes[self.size]
        return sizes[28] if 28 in sizes and self.model != "convlstm" else next(iter(sizes.values()))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in their order.

        Raises
        ------
        ValueError
            If they are all that a store has: `train` puts their names into `classes`.
        """
        if self.classes == (ALL,):
            raise ValueError("which classes there are depends on the store: give their names")
        names = self.classes or tuple(self.merge or PHASES[self.phase].classes)
        onset = class_of(NEUTRAL, self.merge)
        return names if self.neutral is None or onset in names else (*names, onset)

    @property
    def kernel_size(self) -> tuple[int, int]:
        """Rows and columns of the recurrent convolution."""
        return (3, 3) if self.feature == "flow" else PHASES[self.phase].kernel_size

    @property
    def padding(self) -> Padding:
        """Where sequences are padded with zero steps."""
        return PHASES[self.phase].padding

    def network_shape(self, row_shape: tuple[int, ...]) -> NetworkShape:
        """Return the network's dimensions for a store whose rows of the feature have that shape."""
        rows, columns, channels = frame_shape(self.feature, row_shape)
        return NetworkShape(
            channels=channels,
            model=self.model,
            rows=rows,
            columns=columns,
            n_classes=len(self.class_names),
            kernel_size=self.kernel_size,
            timesteps=self.timesteps,
            filters=self.filters,
            dense=self.dense,
        )

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
        unknown = set(values) - set(SETTINGS)
        if unknown:
            known = ", ".join(SETTINGS)
            raise ValueError(f"unknown training settings {', '.join(sorted(unknown))}; known are {known}")
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(str(error)) from error


SETTINGS = settings_of(TrainConfig)
TrainConfig.__doc__ = f"{TrainConfig.__doc__}\n\n{described(SETTINGS)}\n"


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
    return parsed(values)


def parsed(values: dict[str, Any]) -> dict[str, Any]:
    """Return settings with texts such as "12GiB" turned into values, where a setting knows how to.

    Raises
    ------
    ValueError
        If a text is not what the setting understands.
    """
    done = dict(values)
    for name, entry in SETTINGS.items():
        if entry.parse is not None and isinstance(done.get(name), (str, list) if entry.repeated else str):
            done[name] = entry.parse(done[name])
    return done


def probability_columns(classes: Sequence[str]) -> list[str]:
    """Column names of class probabilities: "p_anger", ..."""
    return [f"p_{name}" for name in classes]
