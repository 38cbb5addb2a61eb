"""What a data set holds, what is odd about it, and what would be left out."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from statistics import mean, median

from fastck.config import TIMESTEPS, Layout, Until
from fastck.dataset.findings import KINDS, Finding
from fastck.dataset.labels import EMOTIONS
from fastck.dataset.layouts import guess_layout, scan
from fastck.dataset.patterns import Patterns
from fastck.dataset.records import Scan, SequenceRecord
from fastck.images.header import ImageError
from fastck.images.image import read_gray, read_image_header
from fastck.messages import Progress, one_line, reason

# Lucey et al. (2010), as counted in PAPER.md's source: what a complete copy of CK+ has.
CKPLUS_TOTALS = {"sequences": 593, "subjects": 123, "labelled sequences": 327, "labelled subjects": 118}
CKPLUS_EMOTIONS = {1: 45, 2: 18, 3: 59, 4: 25, 5: 69, 6: 28, 7: 83}


@dataclass(frozen=True, kw_only=True)
class FindingGroup:
    """All findings of one kind; `outcome` and `meaning` as in `fastck.dataset.findings.KINDS`."""

    kind: str
    outcome: str
    meaning: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Lengths of sequences in frames, against a window of `timesteps` differences.

    Attributes
    ----------
    shortest, longest : int
    median, mean : float
    cut, full, padded : int
        Sequences with more differences than the window has, with exactly as many, and with fewer.
    timesteps : int
    """

    shortest: int
    median: float
    mean: float
    longest: int
    cut: int
    full: int
    padded: int
    timesteps: int


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """The outcome of `check`.

    Attributes
    ----------
    root : Path
    layout : str
    records : tuple of SequenceRecord
        All sequences, sorted by id.
    emotions : dict of emotion code or None to number of sequences
        Every code of `EMOTIONS`, and None for those that are not labelled.
    other_labels : dict of label to number of sequences
        Labels of a table that are no emotion's name.
    subjects : dict of subject to number of sequences
    n_frames, n_videos : int
    lengths : Lengths or None
        None where there is no sequence with frames.
    groups : tuple of FindingGroup
        What is left out first, then what is not labelled, then what is merely odd.
    comparison : tuple of (what, CK+ has, here)
        For layout "ckplus"; else empty.
    sizes : dict of (width, height) to number of images, or None
        Known after a deep check only.
    """

    root: Path
    layout: str
    records: tuple[SequenceRecord, ...]
    emotions: dict[int | None, int]
    other_labels: dict[str, int]
    subjects: dict[str, int]
    n_frames: int
    n_videos: int
    lengths: Lengths | None
    groups: tuple[FindingGroup, ...]
    comparison: tuple[tuple[str, int, int], ...]
    sizes: dict[tuple[int, int], int] | None

    @property
    def n_sequences(self) -> int:
        """Number of sequences."""
        return len(self.records)

    @property
    def n_labelled(self) -> int:
        """Number of sequences with a label."""
        return self.n_sequences - self.emotions[None]

    @property
    def left_out(self) -> tuple[str, ...]:
        """Ids of the sequences that preprocessing would quarantine, as far as is known without looking for faces."""
        kinds = ("single-frame", "unreadable-image", "mixed-sizes")
        ids = {finding.sequence for group in self.groups if group.kind in kinds for finding in group.findings}
        # A table may choose several clips of one video.
        unreadable = {
            finding.path for group in self.groups if group.kind == "unreadable-video" for finding in group.findings
        }
        ids |= {record.sequence for record in self.records if record.video in unreadable}
        return tuple(sorted(ids))


def check(
    root: str | PathLike[str],
    *,
    labels: str | PathLike[str] | None = None,
    layout: Layout | None = None,
    until: Until = "apex",
    patterns: Patterns | None = None,
    deep: bool = False,
    count_people: Callable[[SequenceRecord], int] | None = None,
    timesteps: int = TIMESTEPS,
    on_progress: Callable[[Progress], None] | None = None,
) -> CheckReport:
    """Say what a data set holds and what is odd about it.

    Parameters
    ----------
    root, labels, layout, until, patterns
        As for `fastck.dataset.layouts.scan`.
    deep : bool
        Also decode every image, in about a millisecond each: finds damaged files, and sequences that change size or
        colour.
    count_people : callable, optional
        Called in a deep check with each sequence: how many people it shows, `fastck.pipeline.detect.count_people`.
    timesteps : int
        Steps of the training window.
    on_progress : callable, optional
        Called in a deep check with a `Progress` in frames.

    Returns
    -------
    report : CheckReport
        For `fastck.views.terminal.render_check`, or to be looked at by programs.

    Raises
    ------
    ValueError, OSError
        As `fastck.dataset.layouts.scan`.
    """
    if timesteps < 1:
        raise ValueError(f"timesteps must be at least 1, got {timesteps}")
    layout = layout or guess_layout(root)[0]
    found = scan(root, labels=labels, layout=layout, until=until, patterns=patterns)
    records = found.records
    findings = list(found.findings)
    sizes = _look_inside(records, findings, count_people, on_progress) if deep else None
    emotions: dict[int | None, int] = dict.fromkeys([*EMOTIONS, None], 0)
    other_labels = Counter(record.label for record in records if record.emotion is None and record.label)
    emotions.update(Counter(record.emotion for record in records if record.label not in other_labels))
    return CheckReport(
        root=Path(root),
        layout=layout,
        records=tuple(records),
        emotions=emotions,
        other_labels=dict(sorted(other_labels.items())),
        subjects=dict(sorted(Counter(record.subject for record in records).items())),
        n_frames=sum(record.n_frames for record in records),
        n_videos=sum(record.video is not None for record in records),
        lengths=_measure_lengths(records, timesteps),
        groups=_group(findings),
        comparison=_compare_with_ckplus(found) if layout == "ckplus" else (),
        sizes=sizes,
    )


def _look_inside(
    records: list[SequenceRecord],
    findings: list[Finding],
    count_people: Callable[[SequenceRecord], int] | None,
    on_progress: Callable[[Progress], None] | None,
) -> dict[tuple[int, int], int]:
    sizes: Counter[tuple[int, int]] = Counter()
    done, total = 0, sum(len(record.frames) or record.n_frames for record in records)
    for record in records:
        seen_sizes, seen_colour = Counter[tuple[int, int]](), Counter[bool]()
        for path in record.frames:
            done += 1
            if on_progress is not None:
                on_progress(Progress(done=done, total=total))
            try:
                header = read_image_header(path)
                gray = read_gray(path)
            except (ImageError, OSError) as error:
                text = str(error) if isinstance(error, ImageError) else f"{one_line(path)}: {reason(error)}"
                findings.append(Finding(kind="unreadable-image", sequence=record.sequence, path=path, text=text))
                continue
            seen_sizes[gray.shape[1], gray.shape[0]] += 1  # after an EXIF orientation, as preprocessing sees it
            seen_colour[header.channels > 2] += 1
        sizes += seen_sizes
        folder = record.frames[0].parent if record.frames else record.video
        n_people = 0 if count_people is None else count_people(record)
        if n_people > 1 and folder is not None:
            text = f"{one_line(folder)} shows {n_people} people"
            findings.append(Finding(kind="several-people", sequence=record.sequence, path=folder, text=text))
        if not record.frames:
            done += record.n_frames
            if on_progress is not None:
                on_progress(Progress(done=done, total=total))
        for kind, counts, what in (
            ("mixed-sizes", {f"{width} x {height}": n for (width, height), n in seen_sizes.items()}, "sizes"),
            (
                "mixed-colour",
                {"colour" if colour else "gray": n for colour, n in seen_colour.items()},
                "sorts of image",
            ),
        ):
            if len(counts) > 1 and folder is not None:
                shown = ", ".join(f"{n} x {name}" for name, n in sorted(counts.items()))
                text = f"{one_line(folder)} has {len(counts)} {what}: {shown}"
                findings.append(Finding(kind=kind, sequence=record.sequence, path=folder, text=text))
    return dict(sizes.most_common())


def _measure_lengths(records: list[SequenceRecord], timesteps: int) -> Lengths | None:
    # Of a video that cannot be read nobody knows the frames.
    frames = [record.n_frames for record in records if record.n_frames]
    if not frames:
        return None
    return Lengths(
        shortest=min(frames),
        median=median(frames),
        mean=mean(frames),
        longest=max(frames),
        cut=sum(n - 1 > timesteps for n in frames),
        full=sum(n - 1 == timesteps for n in frames),
        padded=sum(n - 1 < timesteps for n in frames),
        timesteps=timesteps,
    )


def _group(findings: Iterable[Finding]) -> tuple[FindingGroup, ...]:
    by_kind: dict[str, list[Finding]] = {kind: [] for kind in KINDS}
    for finding in findings:
        by_kind[finding.kind].append(finding)
    return tuple(
        FindingGroup(kind=kind, outcome=KINDS[kind][0], meaning=KINDS[kind][1], findings=tuple(members))
        for kind, members in by_kind.items()
        if members
    )


def _compare_with_ckplus(found: Scan) -> tuple[tuple[str, int, int], ...]:
    labelled = [record for record in found.records if record.emotion is not None]
    here = {
        "sequences": len(found.records),
        "subjects": len({record.subject for record in found.records}),
        "labelled sequences": len(labelled),
        "labelled subjects": len({record.subject for record in labelled}),
    }
    emotions = Counter(record.emotion for record in labelled)
    return (
        *((what, expected, here[what]) for what, expected in CKPLUS_TOTALS.items()),
        *((EMOTIONS[code], expected, emotions[code]) for code, expected in CKPLUS_EMOTIONS.items()),
    )
