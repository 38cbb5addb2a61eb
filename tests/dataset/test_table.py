"""A table as a data set: the records it gives, the frames it chooses, and every mistake in it told at once."""

import csv
import os
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from fastck.cli import app
from fastck.dataset import sequences
from fastck.dataset.check import check
from fastck.dataset.labels import EMOTIONS
from fastck.dataset.layouts import scan
from fastck.dataset.records import SequenceRecord
from fastck.dataset.table import COLUMNS, read_table, write_table
from fastck.images.video import read_video
from fastck.pipeline.frames import record_frames
from fastck.store.plan import Plan
from fastck.store.reader import folder_below


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of six frames and a video of eight: `frames/S005` and `a.avi`."""
    folder = tmp_path / "frames/S005"
    folder.mkdir(parents=True)
    for number in range(1, 7):
        cv2.imwrite(str(folder / f"img{number + 40}.png"), np.full((24, 32), 10 * number, np.uint8))
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (32, 24))
    for level in range(8):
        writer.write(np.full((24, 32, 3), 30 * level, np.uint8))
    writer.release()
    return tmp_path


def table(folder: Path, text: str, name: str = "clips.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def mistakes(path: Path, **options: str) -> str:
    with pytest.raises(ValueError, match=r" mistakes?: ") as caught:
        read_table(path, **options)
    text = str(caught.value)
    assert text.isprintable()
    assert text.startswith(str(path))
    return text.removeprefix(f"{path} has ")


def test_the_two_columns_that_are_needed(clips: Path):
    found = read_table(table(clips, "path,subject\nframes/S005,Ann\na.avi,Bob\n"))
    assert [(record.sequence, record.subject, record.n_frames) for record in found.records] == [
        ("a", "Bob", 8),
        ("frames_S005", "Ann", 6),
    ]
    assert [(record.label, record.emotion, record.onset, record.fold) for record in found.records] == [
        ("", None, None, "")
    ] * 2
    assert found.records[1].frames[0] == clips / "frames/S005/img41.png"
    assert (found.root, found.findings) == (clips, [])


def test_the_root_holds_table_and_clips(clips: Path):
    (clips / "tables").mkdir()
    path = table(clips / "tables", "path,subject\n../frames/S005,S1\n")
    assert read_table(path).root == clips
    path = table(clips / "tables", f"path,subject\n{clips / 'a.avi'},S1\n")
    assert read_table(path).root == clips
    assert read_table(path).records[0].video == clips / "a.avi"


def test_two_dots_after_a_link_lead_where_the_system_leads(clips: Path):
    # tables -> far/away, so that tables/../frames is far/frames, another person's clip than frames.
    (clips / "far/away").mkdir(parents=True)
    (clips / "tables").symlink_to("far/away")
    other = clips / "far/frames/S005"
    other.mkdir(parents=True)
    for number in (1, 2):
        cv2.imwrite(str(other / f"{number}.png"), np.zeros((24, 32), np.uint8))
    text = f"path,subject,sequence\n../frames/S005,Ann,x1\n{clips}/frames/S005,Bob,x2\n"
    found = read_table(table(clips / "far/away", text).parent.parent.parent / "tables/clips.csv")
    plan = Plan(found.records, found.root, found.fingerprints)
    assert [len(list(folder_below(found.root, planned.folder).iterdir())) for planned in plan] == [2, 6]
    write_table(found.records, clips / "again.csv")
    assert [record.n_frames for record in read_table(clips / "again.csv").records] == [2, 6]


def test_all_columns_in_any_order_and_an_empty_cell_says_nothing(clips: Path):
    text = "Sequence,fold,label,subject,path,onset,apex,offset\nx1,2,Happiness,S1,frames/S005,2,4,5\nx2,,,S1,a.avi,,,\n"
    first, second = scan(table(clips, text), layout="table").records
    assert (first.sequence, first.fold, first.label, first.emotion, first.onset) == ("x1", "2", "happy", 5, 2)
    assert [path.name for path in first.frames] == ["img42.png", "img43.png", "img44.png"]
    assert (second.sequence, second.n_frames, second.onset) == ("x2", 8, None)


@pytest.mark.parametrize(
    ("label", "stored", "emotion"),
    [("Anger", "anger", 1), ("7", "surprise", 7), ("repression", "repression", None), ("Frustré 3", "Frustré 3", None)],
)
def test_labels_are_names(clips: Path, label: str, stored: str, emotion: int | None):
    (record,) = read_table(table(clips, f"path,subject,label\na.avi,S1, {label} \n")).records
    assert (record.label, record.emotion) == (stored, emotion)


def test_labels_of_folder_layouts_are_names_too(sample: Path):
    assert {record.label for record in scan(sample).records} == {"happy"}


@pytest.mark.parametrize(
    ("onset", "apex", "offset", "until", "used"),
    [
        ("", "", "", "apex", range(1, 9)),
        ("2", "4", "7", "apex", range(2, 5)),
        ("2", "4", "7", "offset", range(2, 8)),
        ("2", "4", "7", "end", range(2, 9)),
        ("3", "", "7", "apex", range(3, 8)),
        ("3", "5", "", "offset", range(3, 9)),
        ("", "2.0", "", "apex", range(1, 3)),
        ("7", "8", "8", "apex", range(7, 9)),
    ],
)
def test_the_frames_that_are_used(clips: Path, onset: str, apex: str, offset: str, until: str, used: range):
    """Of a video and of a folder of the same frames, exactly the frames that reading all and slicing gives."""
    everything = list(read_video(clips / "a.avi"))
    (clips / "same").mkdir()
    for number, gray in enumerate(everything):
        cv2.imwrite(str(clips / f"same/{number}.png"), gray)
    cells = f"S1,{onset},{apex},{offset}"
    path = table(clips, f"path,subject,onset,apex,offset\na.avi,{cells}\nsame,{cells}\n")
    for record in read_table(path, until=until).records:
        assert record.n_frames == len(used)
        assert record.onset == (None if used == range(1, 9) else used[0])
        frames = list(record_frames(record))
        np.testing.assert_array_equal(frames, everything[used.start - 1 : used.stop - 1])


def test_several_clips_of_one_video(clips: Path, monkeypatch: pytest.MonkeyPatch):
    counted = []
    real = sequences.count_video_frames
    monkeypatch.setattr(sequences, "count_video_frames", lambda path: counted.append(path) or real(path))
    found = read_table(table(clips, "path,subject,onset,apex,label\na.avi,S1,1,3,joy\na.avi,S1,5,8,other\n"))
    assert [(record.sequence, record.n_frames, record.label) for record in found.records] == [
        ("a_00001", 3, "happy"),
        ("a_00005", 4, "other"),
    ]
    assert counted == [clips / "a.avi"]
    assert found.findings == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_spreadsheets_in_their_own_ways(clips: Path, delimiter: str, start: str, end: str):
    lines = ["path,subject,onset", '"a.avi",S1,2', ",,", "frames/S005,S2,,", ""]
    path = clips / "clips.csv"
    path.write_bytes((start + end.join(lines).replace(",", delimiter)).encode())
    assert [(record.sequence, record.onset) for record in read_table(path).records] == [
        ("a", 2),
        ("frames_S005", None),
    ]


def test_what_pandas_writes_is_read(clips: Path):
    frame = pd.DataFrame(
        {"path": ["a.avi", "frames/S005"], "subject": [1, 2], "onset": [2, None], "label": ["a", None]}
    )
    frame.to_csv(clips / "clips.csv", index=False)
    found = read_table(clips / "clips.csv").records
    assert [(record.subject, record.onset, record.label) for record in found] == [("1", 2, "a"), ("2", None, "")]


def test_a_column_that_says_nothing_is_told(clips: Path):
    found = read_table(table(clips, "path,subject,onsett\na.avi,S1,3\n"))
    assert [finding.kind for finding in found.findings] == ["other-column"]
    assert "a column onsett, which says nothing here" in found.findings[0].text


def test_one_frame_is_told(clips: Path):
    found = read_table(table(clips, "path,subject,onset,apex\na.avi,S1,3,3\n"))
    assert [finding.kind for finding in found.findings] == ["single-frame"]
    assert found.records[0].n_frames == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (",S1", "column path, line 3: must not be empty, got nothing"),
        ("a.avi,", "column subject, line 3: must not be empty, got nothing"),
        ("nowhere.avi,S1", "column path, line 3: no such folder or video, got 'nowhere.avi'"),
        ("nul\0.avi,S1", "column path, line 3: no such folder or video"),
        ("clips.csv,S1", "column path, line 3: must be a folder of frames or a video, got 'clips.csv'"),
        ("frames,S1", "column path, line 3: the folder must hold frames itself, got 'frames'"),
        ("a.avi,S1,,x/y", "column sequence, line 3: must be of letters, digits, _, - and inner dots, got 'x/y'"),
        ("a.avi,S1,,..", "column sequence, line 3: must be of letters"),
        ("a.avi,S1,,first", "column sequence, line 3: ids must differ, got first as in line 2"),
        ("a.avi,S1,,FIRST", "column sequence, line 3: ids must differ, got FIRST as in line 2"),
        ("a.avi,S1,,,0", "column onset, line 3: must be a frame's number from 1 on, or empty, got '0'"),
        ("a.avi,S1,,,-3", "column onset, line 3: must be a frame's number"),
        ("a.avi,S1,,,1.5", "column onset, line 3: must be a frame's number"),
        ("a.avi,S1,,,,,/", "column offset, line 3: must be a frame's number"),
        ("a.avi,S1,,,99999999999999", "column onset, line 3: must be a frame's number"),
        ("a.avi,S1,,,5,3", "column apex, line 3: must not come before the onset, got 3 after 5"),
        ("a.avi,S1,,,,5,3", "column offset, line 3: must not come before the apex, got 3 after 5"),
        ("a.avi,S1,,,5,,3", "column offset, line 3: must not come before the onset, got 3 after 5"),
        ("a.avi,S1,,,9", "column onset, line 3: must be one of the clip's frames, got 9 of 8 frames"),
        ("a.avi,S1,,,1,9", "column apex, line 3: must be one of the clip's frames, got 9 of 8 frames"),
        ('"a.avi","S\n1"', "column subject, line 3: must be text on one line"),
        ("a.avi,S1,,,,,,,,more", "line 3: 8 cells a line are expected, got 10"),
        (
            "frames/S005,S9,sad",
            "column path, line 3: every clip must be listed once, got that of line 2 again and with another label, "
            "'happy' and 'sadness'",
        ),
        ("./frames//S005/,S1,sad,second", "column path, line 3: every clip must be listed once, got that of line 2"),
        ("link,S9,sad,second", "column path, line 3: every clip must be listed once, got that of line 2"),
        ("frames/S005,S1,sad,second,1,6", "column path, line 3: every clip must be listed once, got that of line 2"),
        ("./frames/S005,S1", "column path, line 3: every clip must be listed once, got that of line 2"),
    ],
)
def test_every_mistake_is_named_by_column_and_line(clips: Path, line: str, said: str):
    header = "path,subject,label,sequence,onset,apex,offset,fold"
    (clips / "link").symlink_to("frames/S005")
    text = mistakes(table(clips, f"{header}\nframes/S005,S1,happy,first\n{line}\n"))
    assert said in text
    assert text.startswith("1 mistake: ")


def test_all_mistakes_are_told_at_once(clips: Path):
    text = mistakes(
        table(clips, "path,subject,onset,apex\na.avi,,3,1\nb.avi,S1,,\nframes/S005,S1,x,9\nc.avi,S1,,\n"),
    )
    assert text == (
        "6 mistakes: column subject, line 2: must not be empty, got nothing; "
        "column apex, line 2: must not come before the onset, got 1 after 3; "
        "column onset, line 4: must be a frame's number from 1 on, or empty, got 'x'; "
        "column path, lines 3, 5: no such folder or video, got 'b.avi' in line 3; "
        "column apex, line 4: must be one of the clip's frames, got 9 of 6 frames"
    )


def test_ten_thousand_mistakes_are_told_in_a_line(clips: Path):
    rows = [f"gone{number}.avi,{'' if number % 3 else 'S1'},{number}" for number in range(10_000)]
    text = mistakes(table(clips, "\n".join(["path,subject,apex", *rows])))
    assert text.startswith("16,667 mistakes: ")
    assert len(text) < 600
    assert "column path, lines 2-10001: no such folder or video, got 'gone0.avi' in line 2" in text
    assert "column subject, lines 3-4, 6-7, 9-10, 12-13, 15-16 and 6,656 more: must not be empty" in text


def test_lines_are_counted_as_editors_do(clips: Path):
    path = table(clips, 'path,subject,label\na.avi,S1,"two\nlines"\n\nb.avi,S1,\n')
    text = mistakes(path)
    assert "column label, line 2: must be text on one line" in text
    assert "column path, line 5: no such folder or video" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1 must name the columns path and subject, .* lacks path and subject, got none"),
        (b"subject,label\nS1,happy\n", "line 1 must name the columns .*: it lacks path, got subject, label"),
        (b"path,subject,path\na,b,c\n", "line 1 names the column path twice"),
        (b"path,subject,label\n\n", "must list clips, one a line, below the column names: it lists none"),
        (b"PK\x03\x04\x14\0\x06\0\x08\0,;\n", "is not a CSV file in UTF-8: save the sheet as one"),
        ("path,subject\na,S1\n".encode("utf-16"), "is not a CSV file in UTF-8: save the sheet as one"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "line 1 must name the columns|is not CSV"),
        (b'path,subject\n"' + b"x" * 200_000, "line 2 is not CSV: field larger than field limit"),
    ],
)
def test_what_is_no_table(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "clips.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_table(path)
    assert str(caught.value).isprintable()


def test_options_that_do_not_fit(tmp_path: Path, sample: Path):
    with pytest.raises(ValueError, match="takes a CSV file, got the folder"):
        scan(tmp_path, layout="table")
    with pytest.raises(FileNotFoundError):
        scan(tmp_path / "nowhere.csv", layout="table")
    with pytest.raises(ValueError, match="takes labels from its column label"):
        scan(tmp_path / "clips.csv", layout="table", labels=tmp_path)
    with pytest.raises(ValueError, match="until must be one of apex, offset, end, got 'onset'"):
        scan(tmp_path / "clips.csv", layout="table", until="onset")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="until is for layout \"table\", got 'end' with layout 'ckplus'"):
        scan(sample, until="end")


def test_unreadable_videos_are_told_and_stay_in_the_list(clips: Path):
    (clips / "b.avi").write_bytes(b"RIFF")
    # Nobody can say how many frames there are, but the table may say which were used: the listing is as before.
    lines = ["a.avi,S1,happy,,", "b.avi,S2,joy,2,3", "b.avi,S2,joy,40,60", "b.avi,S2,awe,70,", "c.avi,S3,joy,,"]
    (clips / "c.avi").write_bytes(b"")
    found = read_table(table(clips, "\n".join(["path,subject,label,onset,apex", *lines])))
    seen = [(record.sequence, record.label, record.onset, record.n_frames) for record in found.records]
    assert seen == [
        ("a", "happy", None, 8),
        ("b_00002", "happy", 2, 2),
        ("b_00040", "happy", 40, 21),
        ("b_00070", "awe", 70, 0),
        ("c", "happy", None, 0),
    ]
    assert [finding.kind for finding in found.findings] == ["unreadable-video"] * 2
    write_table(found.records, clips / "again.csv")
    again = read_table(clips / "again.csv")
    assert all(map(same, again.records, found.records))
    assert check(clips / "again.csv", layout="table").left_out == ("b_00002", "b_00040", "b_00070", "c")


def test_subjects_in_several_folds_are_told(clips: Path):
    lines = [f"a.avi,S{n % 3},{n},{n + 1},{n % 2 if n % 3 else 0}" for n in range(1, 8)]
    found = read_table(table(clips, "\n".join(["path,subject,onset,apex,fold", *lines])))
    assert [f.text for f in found.findings if f.kind == "subject-in-folds"] == [
        "subject S1 is in fold 1 (lines 2, 8), fold 0 (line 5)",
        "subject S2 is in fold 0 (line 3), fold 1 (line 6)",
    ]
    many = [f"a.avi,Ann,{1 + n},8,f{n}" for n in range(7)]
    found = read_table(table(clips, "\n".join(["path,subject,onset,apex,fold", *many, "a.avi,Ann,8,8,"])))
    assert [f.text for f in found.findings if f.kind == "subject-in-folds"] == [
        "subject Ann is in fold f0 (line 2), fold f1 (line 3), fold f2 (line 4), fold f3 (line 5), fold f4 (line 6) "
        "and 2 more folds"
    ]


def same(one: SequenceRecord, other: SequenceRecord) -> bool:
    files = [
        [path.resolve() for path in (record.frames if record.video is None else (record.video,))]
        for record in (one, other)
    ]
    names = ("sequence", "subject", "emotion", "label", "onset", "fold", "n_frames")
    return files[0] == files[1] and all(getattr(one, name) == getattr(other, name) for name in names)


@pytest.mark.parametrize("until", ["apex", "offset", "end"])
def test_a_table_written_and_read_gives_the_same_records(clips: Path, tmp_path: Path, until: str):
    lines = ["a.avi,S1,odd,2,4,6,1", "frames/S005,Ann B.,joy,,3,5,", "a.avi,S1,,5,7,7,2"]
    path = table(clips, "\n".join(["path,subject,label,onset,apex,offset,fold", *lines]))
    before = read_table(path, until=until).records  # type: ignore[arg-type]
    (tmp_path / "sub").mkdir()
    write_table(before, tmp_path / "sub/again.csv", until=until)  # type: ignore[arg-type]
    after = read_table(tmp_path / "sub/again.csv", until="offset" if until == "offset" else "apex").records
    assert all(map(same, before, after))
    assert len(before) == len(after) == 3


@pytest.mark.parametrize("layout", ["ckplus", "folders"])
def test_a_table_of_any_layout_gives_its_records(sample: Path, tmp_path: Path, layout: str):
    before = scan(sample, layout=layout).records  # type: ignore[arg-type]
    write_table(before, tmp_path / "clips.csv")
    with (tmp_path / "clips.csv").open(newline="") as file:
        assert next(csv.reader(file)) == list(COLUMNS)
    after = read_table(tmp_path / "clips.csv").records
    assert all(map(same, before, after))
    assert len(before) == len(after) == 3


@given(
    name=st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=20),
    label=st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn", "Co", "Cf", "Zl", "Zp", "Zs")), max_size=10),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_survives(tmp_path_factory: pytest.TempPathFactory, name: str, label: str):
    # These words stand for an empty cell.
    assume(label.lower() not in ("nan", "<na>", "nat"))
    root = tmp_path_factory.mktemp("any")
    name = "x" + name + "x"
    (root / name).mkdir()
    (root / name / "1.png").touch()
    (root / name / "2.png").touch()
    frames = (root / name / "1.png", root / name / "2.png")
    record = SequenceRecord(sequence="s", subject='a;b "c", d', frames=frames, label=label)
    write_table([record], root / "clips.csv")
    (again,) = read_table(root / "clips.csv").records
    assert (again.frames, again.subject) == (frames, record.subject)
    # Names are read composed (NFC), so that one person's two spellings are one.
    label = unicodedata.normalize("NFC", label)
    assert again.label == (label if again.emotion is None else EMOTIONS[again.emotion])


def test_names_that_are_no_text_survive(tmp_path: Path):
    folder = tmp_path / os.fsdecode(b"latin-\xe9\r")
    folder.mkdir()
    frames = (folder / "1.png", folder / "2.png")
    for path in frames:
        path.touch()
    write_table([SequenceRecord(sequence="s", subject="S1", frames=frames)], tmp_path / "clips.csv")
    assert read_table(tmp_path / "clips.csv").records[0].frames == frames


@pytest.mark.parametrize("note", ['"sits close to" the wall', '"sits close to', '"a\nb,c,d,e,f\n"'])
def test_a_stray_quote_swallows_no_clip(tmp_path: Path, note: str):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"")
    path = tmp_path / "t.csv"
    path.write_text(f"path,subject,label,note\na,1,happy,{note}\nb,2,happy,\n")
    with pytest.raises(ValueError, match=r"line 2"):
        read_table(path)


def test_what_pandas_writes_for_codes_and_gaps_is_read_and_a_person_has_one_spelling(tmp_path: Path):
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"")
    path = tmp_path / "t.csv"
    path.write_text("path,subject,label\na,Zo\u00eb,5.0\nb,Zoe\u0308,nan\nc,3,<NA>\n", encoding="utf-8")
    records = read_table(path).records
    assert [record.label for record in records] == ["happy", "", ""]
    assert records[0].subject == records[1].subject


def test_no_cell_is_a_formula_unsaid(clips: Path):
    (clips / "frames/S005").rename(clips / "=cmd")
    written = clips / "again.csv"
    source = table(clips, "path,subject,label\n=cmd,-1,@home\na.avi,Bob,\n")
    result = CliRunner().invoke(app, ["check", str(source), "--csv", str(written)])
    assert "a spreadsheet takes these cells for formulas: -1, @home: let it read them as text" in result.stderr
    with written.open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == ["./=cmd", "a.avi"]
    assert [(record.subject, record.label) for record in read_table(written).records] == [("-1", "@home"), ("Bob", "")]
