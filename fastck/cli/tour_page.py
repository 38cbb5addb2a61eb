"""The demo's page: real smiles answered, both presets, speed beside the paper's script, accuracy, where all lies."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import cv2
import numpy as np
from numpy.typing import NDArray

from fastck.bench import project_by_loops
from fastck.config import PRESETS, PreprocessConfig, Preset
from fastck.dataset.clip import clip_record
from fastck.dataset.sample import sample
from fastck.faces.box import FaceBox
from fastck.outputs import write_atomically
from fastck.pages import data_url, render_page, safe_html
from fastck.pages.charts import bar_chart
from fastck.pipeline.sequence import process_record
from fastck.recognition.clip import recognise
from fastck.views.animation import Picture, save_animation, save_gif
from fastck.views.prediction_video import PANEL, iter_pictures
from fastck.views.preview import preview_clip

PAGE = "index.html"
GIF_FPS, HOLD = 6.0, 8  # frames a second; how many the apex stays
SHOWN = "L032"  # whose frames the speed is measured on
ROUNDS = 2  # of a measurement, whose best is taken
PAPER = "paper script"
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Smile:
    """A real smile of the sample, as the bundled recogniser answers it; `file` is its animation."""

    name: str
    answer: str
    shares: dict[str, float]
    trained_on: str
    file: Path


@dataclass(frozen=True, kw_only=True)
class Best:
    """The most accurate of all models that the demo fitted, on people that it never saw."""

    name: str
    accuracy: dict[str, float]
    run: Path
    models: int

    @property
    def text(self) -> str:
        """Its figure for people, with what flatters it."""
        value, low, high = (100 * self.accuracy[name] for name in ("value", "low", "high"))
        return (
            f"{value:.0f} % [{low:.0f}, {high:.0f}] on unseen rendered people: {self.name}, the best of {self.models}"
        )


def answer_smiles(out: Path) -> list[Smile]:
    """Answer the sample's smiles with the bundled recogniser, and write each as an animation with box and flow."""
    out.mkdir()
    smiles = []
    for folder in sorted((sample() / "cohn-kanade-images").glob("*/*")):
        record = clip_record(folder)
        prediction = recognise(record, keep_flow=True)
        file = out / f"{record.sequence}.gif"
        near = around(prediction.readings[-1].box)
        # Near the face, and without the bars, which a page shows in its own letters.
        pictures = (picture[:, :-PANEL][near] for picture in iter_pictures(prediction, record))
        save_gif(held_last(pictures), file, GIF_FPS, colours=256)
        shares = prediction.probabilities
        smiles.append(
            Smile(
                name=record.sequence,
                answer=f"{prediction.emotion or 'unsure'} {100 * max(shares.values()):.0f} %",
                shares={name: round(100 * share) for name, share in shares.items()},
                trained_on=prediction.trained_on,
                file=file,
            )
        )
    return smiles


def around(box: FaceBox) -> tuple[slice, slice]:
    """Return the rows and columns of a face and of some of what is round it."""
    margin = (box.bottom - box.top) // 2
    return slice(max(box.top - margin, 0), box.bottom + margin), slice(max(box.left - margin, 0), box.right + margin)


def held_last(pictures: Iterator[Picture]) -> Iterator[Picture]:
    """Yield the pictures, and the last one several times more."""
    last = next(pictures)
    for picture in pictures:
        yield last
        last = picture
    yield from chain([last], repeat(last, HOLD))


def papers_script(paths: Sequence[Path]) -> NDArray[np.float32]:
    """Compute projections as the paper's script does (fig. 2 to 4, 14): (T-1, 2, 267).

    dlib with a new detector for every frame, OpenCV, and plain loops over the pixels.
    """
    import dlib

    rows: list[NDArray[np.float32]] = []
    previous: Picture | None = None
    for path in paths:
        gray = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        face = dlib.get_frontal_face_detector()(gray, 1)[0]
        crop = gray[max(face.top(), 0) : face.bottom(), max(face.left(), 0) : face.right()]
        crop = np.asarray(cv2.resize(crop, (267, 267)), np.uint8)
        if previous is not None:
            mask = cv2.threshold(previous - crop, 127, 1, cv2.THRESH_BINARY)[1]
            rows.append(project_by_loops(cv2.erode(mask, np.ones((5, 5), np.uint8))))
        previous = crop
    return np.stack(rows)


def measure_speed(presets: Sequence[Preset]) -> dict[str, float]:
    """Return milliseconds per frame from image file to projections: of the paper's script, and of each preset.

    Raises
    ------
    RuntimeError
        If preset "paper" gives other numbers than the paper's script: a ratio would mean nothing.
    """
    record = clip_record(next((sample() / "cohn-kanade-images" / SHOWN).iterdir()))
    seconds = {}
    seconds[PAPER], expected = _best_time(lambda: papers_script(record.frames))
    for preset in presets:
        process = partial(process_record, record, PreprocessConfig(faces=PRESETS[preset], features=("projection",)))
        seconds[f"preset {preset}"], result = _best_time(process)
        if preset == "paper" and not np.allclose(result.features["projection"], expected, rtol=0, atol=1e-6):
            raise RuntimeError('preset "paper" and the paper\'s script disagree on a sequence: please report this')
    return {name: 1000 * value / record.n_frames for name, value in seconds.items()}


def _best_time(call: Callable[[], T]) -> tuple[float, T]:
    """Return the best time of several calls after one that is not timed, in seconds, and the result."""
    result, best = call(), float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best, result


def find_best(runs: Mapping[str, Path]) -> Best:
    """Return the most accurate model of several runs, by what each run was trained on."""
    from fastck.training.run import open_run

    reports = {name: open_run(path).report for name, path in runs.items()}
    name = max(reports, key=lambda name: float(reports[name]["best"]["accuracy"]["value"]))
    best = reports[name]["best"]
    models = sum(1 + len(report["baselines"]) for report in reports.values())
    return Best(name=f"{best['name']} on {name}", accuracy=best["accuracy"], run=runs[name], models=models)


def speed_line(speed: Mapping[str, float]) -> str:
    """Return how many times as long the paper's script takes, in one line."""
    (_, paper), *presets = speed.items()
    said = ", ".join(f"{name} {value:.1f} ({paper / value:.0f} times as fast)" for name, value in presets)
    return f"The paper's script takes {paper:.0f} ms a frame, {said}"


def write_page(
    out: Path, *, smiles: Sequence[Smile], best: Best, speed: Mapping[str, float], shown: Path, words: Mapping[str, Any]
) -> Path:
    """Write the page that needs no other file.

    Parameters
    ----------
    out : Path
        The demo's folder.
    smiles, best, speed
        From `answer_smiles`, `find_best` and `measure_speed`.
    shown : Path
        Folder of the rendered sequence that both presets are shown on.
    words : mapping
        What else the template shows: `title`, `disclaimer`, `chance`, `presets` (rows of a table, its header first),
        `findings`, `places` (paths and what each is) and `commands`.

    Returns
    -------
    page : Path
    """
    from fastck.training.report.page import run_charts
    from fastck.training.run import open_run

    both = save_animation(preview_clip(shown, compare=True), out / "presets.gif", fps=GIF_FPS)
    run = open_run(best.run)
    evaluation = run.report["evaluation"]
    people = f"{evaluation['n']:g} test sequences of {evaluation['subjects']} people"
    paper, same, other = speed.values()
    page = render_page(
        "demo.html",
        **{name: value for name, value in words.items() if name != "places"},
        best=best,
        people=people,
        times=f"{paper / same:.0f}",
        more_times=f"{paper / other:.0f}",
        speed_line=speed_line(speed),
        speed=safe_html(bar_chart({name: round(value, 1) for name, value in speed.items()})),
        smiles=[
            {
                "title": f"{smile.name}: {smile.answer}",
                "picture": data_url(smile.file.read_bytes(), "gif"),
                "bars": safe_html(bar_chart(smile.shares, unit=" %")),
                "note": smile.trained_on,
            }
            for smile in smiles
        ],
        both=data_url(both.read_bytes(), "gif"),
        network=run.report["arguments"]["model"],
        charts=run_charts(run.report, run.history, people),
        places=[
            {"href": quote(Path(place).as_posix()), "path": place, "text": text}
            for place, text in ((os.path.relpath(path, out), text) for path, text in words["places"])
        ],
    )
    write_atomically(out / PAGE, page)
    return out / PAGE
