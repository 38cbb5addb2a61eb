"""What a data set holds, before anything is decoded: `SequenceRecord`, one for each recording, and `Scan`."""

from dataclasses import dataclass
from pathlib import Path

from fastck.dataset.findings import Finding


@dataclass(frozen=True, kw_only=True)
class SequenceRecord:
    """One ordered recording of one person.

    Attributes
    ----------
    sequence : str
        Unique id, also a harmless file name: "S005_001".
    subject : str
        "S005".
    frames : tuple of Path
        Image files in numeric order; empty for a video.
    video : Path or None
        The video file, where the sequence is one.
    emotion : int or None
        Code of `EMOTIONS`; None is "not labelled", which is not neutral.
    video_frames : int
        Frames of the video, counted when it was found; 0 for image files.
    """

    sequence: str
    subject: str
    frames: tuple[Path, ...] = ()
    video: Path | None = None
    emotion: int | None = None
    video_frames: int = 0

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.frames) if self.video is None else self.video_frames


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What a root holds: the sequences sorted by id, and everything odd that was met on the way."""

    records: list[SequenceRecord]
    findings: list[Finding]
