"""What a run computes: frozen values that are passed down and hashed into the manifest, never read from a global."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

TIMESTEPS = 39  # steps that a sequence is padded to (paper, fig. 11)
UNIT_VALUES = 180  # of the feature "units": 44 intensities and 68 points, see fastck.faces.unit_pass
WHOLE_FRAME = "whole-frame"
MOST_PIXELS = 4096  # of a crop's side, and so of a footprint's

Mode = Literal["wrap", "absolute", "saturate"]
CropPolicy = Literal["frame", "sequence", "smooth", "aligned"]
Search = Literal["full", "tracked"]
Reference = Literal["onset", "previous"]
FlowPreset = Literal["patches", "ultrafast", "fast", "medium"]
Preset = Literal["paper", "stable", "aligned"]
Layout = Literal["ckplus", "folders", "labelled-folders", "table", "masks"]
ExportFormat = Literal["zarr", "tfrecord", "parquet"]
PictureFeature = Literal["mask", "flow", "crop"]
PictureOrder = Literal["emotion"]
InputKind = Literal["photos", "sequence"]
Until = Literal["apex", "offset", "end"]
PersonChoice = Literal["all", "largest"]


def check_choice(name: str, value: object, choices: object) -> None:
    """Raise ValueError unless `value` is one of the literals that `choices` lists."""
    allowed = get_args(choices)
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(str, allowed))}, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class FaceConfig:
    """How faces are found and cut out; the defaults are those of the preset "stable".

    Attributes
    ----------
    crop : {"frame", "sequence", "smooth", "aligned"}
        One box per frame (paper, fig. 2), one per sequence, per-frame boxes median-filtered in time, or the face laid
        upright at one size by its eyes and mouth, steady over the sequence.
    upsample : tuple of int
        How often the image is doubled before dlib's search; later entries are tried only where no face was found.
    search : {"full", "tracked"}
        dlib's own search of the whole image, or the compiled one that does what the largest face needs: the same boxes.
    side : int
        Height and width of a crop in pixels (paper, fig. 2: 267).
    boxes : str
        Digest of the CSV file that stands in for detection; `WHOLE_FRAME` where the frames are cut to the face already,
        so that all of a frame is its box; empty for none.
    """

    crop: CropPolicy = "sequence"
    upsample: tuple[int, ...] = (0, 1)
    search: Search = "tracked"
    side: int = 267
    boxes: str = ""

    def __post_init__(self) -> None:
        # A list gives the same configuration as a tuple.
        object.__setattr__(self, "upsample", tuple(self.upsample))
        check_choice("crop", self.crop, CropPolicy)
        check_choice("search", self.search, Search)
        if not self.upsample or any(times not in (0, 1, 2) for times in self.upsample):
            raise ValueError(f"upsample must hold numbers from 0 to 2, got {self.upsample!r}")
        if not 8 <= self.side <= MOST_PIXELS:
            raise ValueError(f"side must be 8 to {MOST_PIXELS} pixels, got {self.side}")


@dataclass(frozen=True, kw_only=True)
class MotionConfig:
    """How crops become motion masks.

    Attributes
    ----------
    mode : {"wrap", "absolute", "saturate"}
        The difference of successive crops: modulo 256 as in the paper's scripts (fig. 3), |a - b|, or max(a - b, 0).
    level : int
        Gray levels; a pixel is on where the difference is above it (paper, fig. 4: 127).
    size : int
        Side of the erosion's square footprint in pixels (paper, fig. 4: 5).
    """

    mode: Mode = "wrap"
    level: int = 127
    size: int = 5

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, Mode)
        if not 0 <= self.level <= 255:
            raise ValueError(f"level must be 0 to 255 gray levels, got {self.level}")
        if self.size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {self.size}")
        if self.size > MOST_PIXELS:
            raise ValueError(f"size must be at most {MOST_PIXELS} pixels, got {self.size}")


@dataclass(frozen=True, kw_only=True)
class FlowConfig:
    """How crops become optical flow.

    Attributes
    ----------
    reference : {"onset", "previous"}
        From the sequence's first crop to each later one, or from each crop to the next.
    compensate : bool
        Whether the head's affine motion is taken out.
    size : int
        Height and width in pixels to which crops are brought for the flow; at least 64, the columns of a projection.
    preset : {"patches", "ultrafast", "fast", "medium"}
        "patches" is fastck's own search, the others are presets of OpenCV's dense inverse search.
        docs/explanation/flow.md has the table by which size and preset were chosen.
    """

    reference: Reference = "onset"
    compensate: bool = True
    size: int = 128
    preset: FlowPreset = "patches"

    def __post_init__(self) -> None:
        check_choice("reference", self.reference, Reference)
        check_choice("preset", self.preset, FlowPreset)
        if not 64 <= self.size <= 1024:
            raise ValueError(f"size must be 64 to 1024 pixels, got {self.size}")


@dataclass(frozen=True, kw_only=True)
class PreprocessConfig:
    """Everything that decides the bytes of a store, apart from its input.

    Attributes
    ----------
    faces : FaceConfig
    motion : MotionConfig
    features : tuple of str
        Names of the features that are kept.
    flow : FlowConfig or None
        Set where `features` holds "flow" or "flow_projection", None otherwise, whatever was given.
    """

    faces: FaceConfig = field(default_factory=FaceConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)
    features: tuple[str, ...] = ("projection",)
    flow: FlowConfig | None = None

    def __post_init__(self) -> None:
        wanted = any(name.startswith("flow") for name in self.features)
        object.__setattr__(self, "flow", (self.flow or FlowConfig()) if wanted else None)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, as the manifest holds them: without "flow" where there is none."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        if values["flow"] is None:
            del values["flow"]
        return values

    def hash(self) -> str:
        """Return 16 hexadecimal digits that differ where any value differs."""
        text = json.dumps(self.as_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "PreprocessConfig":
        """Rebuild a config from a manifest's values.

        Raises
        ------
        ValueError
            If a value is missing, unknown or out of range.
        """
        unknown = set(values) - {entry.name for entry in fields(cls)}
        if unknown:
            raise ValueError(f"unknown configuration keys {sorted(unknown)}: written by a newer fastck?")
        try:
            faces = {**values["faces"], "upsample": tuple(values["faces"]["upsample"])}
            return cls(
                faces=FaceConfig(**faces),
                motion=MotionConfig(**values["motion"]),
                features=tuple(values["features"]),
                flow=FlowConfig(**values["flow"]) if "flow" in values else None,
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"the configuration is incomplete or from another fastck version: {error}") from error


PRESETS: dict[Preset, FaceConfig] = {
    # Every frame by itself, as the paper's scripts: the compiled search had dlib's boxes in all of 5,066 frames.
    "paper": FaceConfig(crop="frame", upsample=(1,)),
    # One box a sequence: no motion that is only crop jitter.
    "stable": FaceConfig(),
    # Eyes and mouth in their place, however the head moves.
    "aligned": FaceConfig(crop="aligned"),
}


def preset_faces(preset: Preset, **changes: Any) -> FaceConfig:
    """Return a preset's face settings with some of them changed (None leaves a setting as it is).

    Raises
    ------
    ValueError
        If the preset is unknown or a value is out of range.
    """
    check_choice("preset", preset, Preset)
    return replace(PRESETS[preset], **{name: value for name, value in changes.items() if value is not None})
