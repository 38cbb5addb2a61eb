"""Bad input, item by item, through the command line: what is said, and that the rest comes out as it would have."""

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import fastck
from fastck.cli import app
from tests.helpers import badset, processes
from tests.helpers.badset import DAMAGED, LABELS, NAMES, SORTS
from tests.helpers.smalldisk import small_disk
from tests.helpers.stores import assert_same_store

OPTIONS = ["--preset", "stable", "--features", "projection,mask"]
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2  # linux/prctl.h, linux/capability.h


def run(*arguments):
    """Call a command as a user does; an exception that is not one of the command line's own fails the test."""
    texts = [os.fspath(a) if isinstance(a, Path) else str(a) for a in arguments]
    return CliRunner().invoke(app, texts, env={"COLUMNS": "250"}, catch_exceptions=False)


def obey_rights() -> None:
    """Take from root what lets it read and write everything, so that permissions mean something in a container."""
    libc = ctypes.CDLL(None)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def run_without_rights(*arguments) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fastck.cli", *map(os.fspath, arguments)]
    environment = {**os.environ, "COLUMNS": "250"}
    return processes.run(command, env=environment, preexec_fn=obey_rights)


def the_error(result) -> str:
    """Return the one line a mistake gets."""
    code = result.exit_code if hasattr(result, "exit_code") else result.returncode
    assert code == 2, (result.stdout, result.stderr)
    assert "Traceback" not in result.stdout + result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(line) < 600, line
    return line


@dataclass
class Outcome:
    root: Path
    clean: fastck.Store
    store: fastck.Store
    done: subprocess.CompletedProcess[str]
    checked: subprocess.CompletedProcess[str]

    def mask(self, subject: str) -> np.ndarray:
        return self.store.sequence(f"{subject}_001", "mask")

    def reason(self, subject: str) -> str:
        left_out = self.store.quarantine.set_index("sequence")["reason"]
        return left_out[f"{subject}_001"]


@pytest.fixture(scope="module")
def outcome(rendered, tmp_path_factory):
    """One run over everything at once; the tests look at what became of each item."""
    folder = tmp_path_factory.mktemp("bad")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTCK_CACHE_DIR", str(folder / "cache"))
        clean = fastck.preprocess(rendered, folder / "clean", preset="stable", features=("projection", "mask"))
        frames = fastck.scan(rendered).records[0].frames
        picked = [frames[0], frames[len(frames) // 2], frames[-1]]
        root = folder / "set"
        badset.build(root, rendered, [cv2.imread(str(path), 0) for path in picked])
        try:
            done = run_without_rights("preprocess", root, folder / "store", *OPTIONS, "--jobs", "2")
            checked = run_without_rights("check", root, "--deep")
        finally:
            badset.unforbid(root)
    return Outcome(root, clean, fastck.open_store(folder / "store"), done, checked)


def test_the_run_goes_on_to_its_end(outcome):
    assert outcome.done.returncode == 0, outcome.done.stderr
    assert "Traceback" not in outcome.done.stderr
    assert list(outcome.store.verify()) == []
    assert outcome.store.manifest["counts"]["quarantined"] == len(outcome.store.quarantine)


def test_nothing_vanishes_silently(outcome):
    folders = {path.name for path in (outcome.root / "cohn-kanade-images").iterdir()}
    told = [*outcome.store.table["folder"], *outcome.store.quarantine["folder"]]
    seen = {Path(folder).parts[1] for folder in told}
    assert folders - seen == {"forbidden-folder"}
    assert re.search(r"forbidden-folder/001 cannot be read \(permission denied\)", outcome.done.stderr)


def test_the_rest_of_the_set_has_the_same_bytes(outcome):
    for sequence in outcome.clean.table["sequence"]:
        for feature in ("projection", "mask"):
            np.testing.assert_array_equal(
                outcome.store.sequence(sequence, feature), outcome.clean.sequence(sequence, feature)
            )


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_frame_costs_its_sequence_and_says_why(outcome, name):
    reason = outcome.reason(name)
    assert re.search(DAMAGED[name][1], reason)
    if name != "size-changes":
        assert reason.startswith("00000002.png: ")
    assert len(reason) < 200


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("one-pixel", "no face found in any of its 3 frames"),
        ("no-face", "no face found in any of its 3 frames"),
        ("single-frame", "a difference takes two frames, got 1"),
        ("forbidden", "00000002.png: Permission denied"),
    ],
)
def test_other_reasons_for_the_quarantine(outcome, name, reason):
    assert outcome.reason(name) == reason


@pytest.mark.parametrize("name", SORTS)
def test_every_sort_of_file_gives_what_plain_gray_files_give(outcome, name):
    row, twin = outcome.store.row(f"{name}_001"), outcome.store.row(f"{name}-twin_001")
    np.testing.assert_array_equal(outcome.mask(name), outcome.mask(f"{name}-twin"))
    assert (row.height, row.width) == (twin.height, twin.width)
    assert row.motion > 0


@pytest.mark.parametrize("name", ["wrong-extension", "16-bit", "interlaced", "animated", "exif-turned-jpeg"])
def test_lossless_sorts_give_the_pixels_themselves(outcome, name):
    plain = outcome.store.row("plain_001")
    row = outcome.store.row(f"{name}_001")
    assert (row.height, row.width) == (plain.height, plain.width)
    if name != "exif-turned-jpeg":
        np.testing.assert_array_equal(outcome.mask(name), outcome.mask("plain"))


def test_frames_without_a_face_are_counted_and_take_the_first_box(outcome):
    row = outcome.store.row("half-without-face_001")
    assert row.n_missed == 2
    boxes = outcome.store.boxes[row.frame_start : row.frame_start + row.n_frames]
    plain = outcome.store.boxes[outcome.store.row("plain_001").frame_start]
    np.testing.assert_array_equal(boxes, [plain] * 4)


def test_of_several_faces_the_largest_is_taken(outcome):
    box = outcome.store.boxes[outcome.store.row("two-faces_001").frame_start]
    half = outcome.store.row("plain_001").width // 2
    assert box[1] > half - 20


def test_a_face_at_the_border_is_clipped_to_the_image(outcome):
    row = outcome.store.row("cut-off-face_001")
    top, left, bottom, right = outcome.store.boxes[row.frame_start]
    assert 0 <= top < bottom <= row.height
    assert 0 <= left < right <= row.width


@pytest.mark.parametrize("name", ["gap", "duplicates", "links"])
def test_odd_frame_numbers_and_links_leave_the_sequence_as_it_is(outcome, name):
    np.testing.assert_array_equal(outcome.mask(name), outcome.mask("plain"))


@pytest.mark.parametrize("name", NAMES)
def test_strange_names_become_harmless_ids(outcome, name):
    np.testing.assert_array_equal(outcome.mask(NAMES[name]), outcome.mask("plain"))
    folder = outcome.store.row(f"{NAMES[name]}_001").folder
    assert Path(folder).parts[1] == name


@pytest.mark.parametrize("name", LABELS)
def test_odd_labels_cost_no_sequence(outcome, name):
    emotion = outcome.store.table.set_index("sequence").loc[f"label-{name}_001", "emotion"]
    assert emotion is pd.NA if LABELS[name][1] is None else emotion == LABELS[name][1]
    np.testing.assert_array_equal(outcome.mask(f"label-{name}"), outcome.mask("plain"))


@pytest.mark.parametrize(
    "text",
    [
        r"1 x folders that cannot be read: left out",
        r"1 x frame numbers that several files have; one of them is kept: left out, .*duplicates",
        r"2 x links that lead nowhere: left out",
        r"1 x links to a folder that contains them: left out",
        r"1 x pipes, devices and the like: left out",
        r"1 x labels of sequences that do not exist: left out, .*label-of-nobody",
        r"4 x label files that hold no emotion code: not labelled",
        r"1 x label folders with several files",
        r"1 x sequences with gaps in their frame numbers: kept, .*1 to 2|2 to 7",
    ],
)
def test_what_the_scan_left_out_is_told_by_the_run_too(outcome, text):
    assert re.search(text, " ".join(outcome.done.stderr.split())), outcome.done.stderr


def test_reasons_are_told_on_the_terminal(outcome):
    text = outcome.done.stdout
    assert re.search(r"no face found in any of its 3 frames\W+2\W", text)
    for name in DAMAGED:
        assert f"{name}_001" in text
    assert "\x1b" not in text


def test_the_deep_check_finds_the_same_files(outcome):
    assert outcome.checked.returncode == 0, outcome.checked.stderr
    assert "Traceback" not in outcome.checked.stderr
    text = outcome.checked.stdout
    damaged = len(DAMAGED) - 1 + 1  # "size-changes" decodes; "forbidden" does not
    assert re.search(rf"{damaged}\D+images that do not decode", text)
    assert "sequences whose image size changes" in text


# -- A run of its own for each of these ---------------------------------------------------------------------------
def test_a_folder_that_vanishes_midway(rendered, outcome, tmp_path, monkeypatch):
    root = shutil.copytree(rendered, tmp_path / "set")
    victim = fastck.scan(root).records[-1]
    real = fastck.pipeline.frames.read_gray

    def vanishing(path):
        shutil.rmtree(victim.frames[0].parent, ignore_errors=True)
        return real(path)

    monkeypatch.setattr("fastck.pipeline.frames.read_gray", vanishing)
    result = run("preprocess", root, tmp_path / "store", *OPTIONS, "--jobs", 1)
    assert result.exit_code == 0, result.output
    store = fastck.open_store(tmp_path / "store")
    assert dict(zip(store.quarantine["sequence"], store.quarantine["reason"], strict=True)) == {
        victim.sequence: f"{victim.frames[0].name}: No such file or directory"
    }
    for sequence in store.table["sequence"]:
        np.testing.assert_array_equal(store.sequence(sequence, "mask"), outcome.clean.sequence(sequence, "mask"))


def test_a_data_set_that_vanishes_as_a_whole_ends_the_run_and_can_be_brought_back(
    rendered, outcome, tmp_path, monkeypatch
):
    """An unmounted disk must not fill the quarantine with every sequence that was left."""
    root = shutil.copytree(rendered, tmp_path / "set")
    real, last = fastck.pipeline.frames.read_gray, fastck.scan(root).records[-1].frames[0]
    with monkeypatch.context() as patch:

        def unmounting(path):
            if path == last:
                root.rename(tmp_path / "away")
                root.mkdir()  # the mount point stays
            return real(path)

        patch.setattr("fastck.pipeline.frames.read_gray", unmounting)
        result = run("preprocess", root, tmp_path / "store", *OPTIONS, "--jobs", 1)
    assert f"{root} is gone" in the_error(result)
    root.rmdir()
    (tmp_path / "away").rename(root)
    result = run("preprocess", root, tmp_path / "store", *OPTIONS)
    assert re.search(r"sequences\s+6 done, 5 of them by an earlier run, 0 quarantined", result.stdout)
    store = fastck.open_store(tmp_path / "store")
    np.testing.assert_array_equal(store.feature("mask"), outcome.clean.feature("mask"))


def test_a_root_and_a_store_that_look_like_options_or_markup(rendered, outcome, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(rendered, tmp_path / "-rf [/red]")
    result = run("preprocess", *OPTIONS, "--", "-rf [/red]", "--overwrite [/red]")
    assert result.exit_code == 0, result.output
    assert "store: --overwrite [/red]" in result.stdout
    store = fastck.open_store(tmp_path / "--overwrite [/red]")
    np.testing.assert_array_equal(store.feature("mask"), outcome.clean.feature("mask"))
    assert run("info", "--verify", "--", "--overwrite [/red]").exit_code == 0


def test_a_store_folder_that_is_not_writable(rendered, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    assert "locked/store: Permission denied" in the_error(
        run_without_rights("preprocess", rendered, folder / "store", *OPTIONS)
    )
    assert "locked" in (line := the_error(run_without_rights("preprocess", rendered, folder, *OPTIONS)))
    assert "Permission denied" in line


def test_a_disk_that_is_full(rendered, tmp_path):
    with small_disk(tmp_path / "disk", 8) as disk:
        line = the_error(run("preprocess", rendered, disk / "store", *OPTIONS))
    assert re.search(r"store needs \d+ MiB, \d+ MiB are free: make room first", line)


def test_boxes_outside_of_the_image_cost_their_sequence(rendered, outcome, tmp_path):
    records = fastck.scan(rendered).records
    lines = ["sequence,frame,top,left,bottom,right"]
    for record in records:
        bottom = 5000 if record is records[0] else 300
        lines += [f"{record.sequence},{frame},100,200,{bottom},400" for frame in range(1, record.n_frames + 1)]
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("\n".join(lines))
    result = run("preprocess", rendered, tmp_path / "store", *OPTIONS, "--boxes", boxes)
    assert result.exit_code == 0, result.output
    store = fastck.open_store(tmp_path / "store")
    (reason,) = store.quarantine["reason"]
    assert re.fullmatch(r"box \(100, 200, 5000, 400\) reaches outside of frame 1, 640x4[89]0", reason)
    assert len(store.table) == len(records) - 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("S001_001,1,-3,0,10,10", "line 2: frame >= 1, 0 <= top < bottom, 0 <= left < right expected, got 1, -3"),
        ("S001_001,1,9,0,9,10", "line 2: frame >= 1"),
        ("S001_001,one,0,0,9,10", "line 2: whole numbers expected"),
    ],
)
def test_a_csv_with_senseless_boxes_names_the_line(rendered, tmp_path, line, message):
    path = tmp_path / "boxes.csv"
    path.write_text(f"sequence,frame,top,left,bottom,right\n{line}\n")
    assert message in the_error(run("preprocess", rendered, tmp_path / "store", *OPTIONS, "--boxes", path))


def test_reasons_that_differ_in_numbers_only_are_one_row(tmp_path):
    blank = badset.png(np.full((60, 60), 9, np.uint8))
    for number in range(12):
        folder = tmp_path / "set" / f"clip{number:02d}"
        folder.mkdir(parents=True)
        for frame in range(2 + number):
            (folder / f"{frame}.png").write_bytes(blank)
    result = run("preprocess", tmp_path / "set", tmp_path / "store", *OPTIONS, "--layout", "folders")
    assert "no sequence of" in the_error(result)
    rows = [line for line in result.stdout.splitlines() if "no face found" in line]
    assert len(rows) == 1
    assert re.search(r"no face found in any of its N frames\W+12\W+clip00, clip01, clip02", rows[0])


# -- Damaged and foreign stores -----------------------------------------------------------------------------------
def edit(**changes):
    def change(store: Path) -> None:
        path = store / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def cut(name: str, keep: int):
    def change(store: Path) -> None:
        content = (store / name).read_bytes()
        (store / name).write_bytes(content[:keep])

    return change


def replace(name: str, content: bytes):
    return lambda store: (store / name).write_bytes(content)


def pickled(store: Path) -> None:
    np.save(store / "mask.npy", np.array([{"os": "system"}], object), allow_pickle=True)


def unknown_setting(store: Path) -> None:
    path = store / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["config"]["motion"]["colour"] = True
    path.write_text(json.dumps(manifest))


DAMAGE = {
    "newer-format": (edit(format=2), r"manifest.json has format 2, this fastck reads up to 1: update fastck"),
    "format-text": (edit(format="1"), r"manifest.json has format 1, this fastck reads up to 1"),
    "unknown-key": (edit(colour=1), r"manifest.json has unknown keys \['colour'\]"),
    "unknown-setting": (unknown_setting, r"another fastck version.*colour"),
    "config-no-table": (edit(config=[1]), r"configuration"),
    "counts-no-table": (edit(counts=3), r"manifest.json.*counts"),
    "counts-too-small": (edit(counts={"sequences": 3, "quarantined": 0}), r"expected 3 rows in the table, got 6"),
    "counts-too-large": (edit(counts={"sequences": 6, "quarantined": 2}), r"expected 2 rows in the table, got 0"),
    "arrays-no-table": (edit(arrays=None), r"manifest.json.*arrays"),
    "arrays-incomplete": (edit(arrays={"boxes": {"shape": [1, 4], "dtype": "<i4"}}), r"manifest.json.*arrays"),
    "arrays-senseless": (edit(arrays={n: {"shape": "x"} for n in ("boxes", "mask", "projection")}), r"arrays"),
    "not-text": (replace("manifest.json", b"\xff\xfe{}"), r"manifest.json is not a store's manifest"),
    "not-json": (replace("manifest.json", b"{"), r"manifest.json is not a store's manifest"),
    "deep-json": (replace("manifest.json", b"[" * 100_000), r"manifest.json is not a store's manifest"),
    "cut-off-array": (cut("mask.npy", 5000), r"mask.npy is damaged"),
    "empty-array": (cut("mask.npy", 0), r"mask.npy is damaged"),
    "cut-off-header": (cut("boxes.npy", 40), r"boxes.npy is damaged"),
    "text-for-array": (replace("projection.npy", b"hello"), r"projection.npy is damaged"),
    "archive-for-array": (replace("projection.npy", b"PK\3\4" + bytes(100)), r"projection.npy is damaged"),
    "huge-array": (
        replace(
            "mask.npy",
            b"\x93NUMPY\1\0\x76\0"
            + b"{'descr':'|u1','fortran_order':False,'shape':(9"
            + b"9" * 40
            + b",)}"
            + b" " * 27
            + b"\n",
        ),
        r"mask.npy is damaged",
    ),
    "pickle": (pickled, r"mask.npy is damaged"),
    "missing-array": (lambda store: (store / "mask.npy").unlink(), r"mask.npy: No such file"),
    "table-cut": (cut("sequences.csv", 30), r"sequences.csv lacks the columns"),
    "table-empty": (cut("sequences.csv", 0), r"sequences.csv is damaged"),
    "table-garbage": (replace("sequences.csv", b'a,b\n"1,2\n3\xff'), r"sequences.csv"),
    "table-text": (
        lambda store: (store / "sequences.csv").write_text(
            (store / "sequences.csv").read_text().replace(",640,", ",wide,")
        ),
        r"sequences.csv is damaged",
    ),
    "quarantine-empty": (cut("quarantine.csv", 0), r"quarantine.csv is damaged"),
    "checksums-missing": (lambda store: (store / "checksums.csv").unlink(), r"checksums.csv: No such file"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_and_foreign_stores_get_one_line(outcome, tmp_path, name):
    change, message = DAMAGE[name]
    store = shutil.copytree(outcome.clean.path, tmp_path / "store")
    change(store)
    result = run("info", store, "--verify")
    line = the_error(result)
    assert re.search(message, line) or ("problems" in line and re.search(message, result.stderr)), result.stderr
    assert not re.search(message + r"(.|\n)*\n.*" + message, result.stderr), "said twice"


@pytest.mark.parametrize("name", ["cut-off-array", "empty-array", "not-json", "newer-format", "table-garbage"])
def test_a_damaged_store_is_made_again_where_that_is_asked_for(rendered, outcome, tmp_path, name):
    store = shutil.copytree(outcome.clean.path, tmp_path / "store")
    DAMAGE[name][0](store)
    result = run("preprocess", rendered, store, *OPTIONS, "--overwrite")
    assert result.exit_code == 0, result.output
    assert_same_store(store, outcome.clean.path)


def test_a_sound_store_is_not_made_again(rendered, outcome, tmp_path):
    store = shutil.copytree(outcome.clean.path, tmp_path / "store")
    assert "complete already" in run("preprocess", rendered, store, *OPTIONS, "--overwrite").stdout


def test_a_foreign_folder_with_a_manifest_is_never_cleared(rendered, tmp_path):
    for name in ("manifest.json", "weights.npy"):
        (tmp_path / name).write_text("{}")
    for options in ([], ["--overwrite"]):
        said = the_error(run("preprocess", rendered, tmp_path, *OPTIONS, *options))
        assert "is neither empty nor a store" in said
    assert (tmp_path / "weights.npy").read_text() == "{}"


@pytest.mark.parametrize("label", ["   0.0000000e+00\n", "   7.0000000e+00\n", ""])
def test_labels_that_changed_since_are_told(rendered, outcome, tmp_path, label):
    root = shutil.copytree(rendered, tmp_path / "set")
    victim = next(record for record in fastck.scan(root).records if record.emotion in range(1, 7))
    (path,) = (root / "Emotion").glob(f"*/*/{victim.sequence}_*")
    path.write_text(label)
    store = shutil.copytree(outcome.clean.path, tmp_path / "store")
    line = the_error(run("preprocess", root, store, *OPTIONS))
    assert f"1 sequences since relabelled ({victim.sequence})" in line


def test_an_unfinished_store_says_how_to_finish_it(outcome, tmp_path):
    store = shutil.copytree(outcome.clean.path, tmp_path / "store")
    (store / "manifest.json").rename(store / "journal.jsonl")
    assert "run the same `fastck preprocess` again" in the_error(run("info", store))
