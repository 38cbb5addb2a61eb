"""The pictures of each stage: their numbers against the store and the operations, and what the sheet tells."""

import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from fastck.config import FlowConfig, MotionConfig, PreprocessConfig
from fastck.dataset.clip import clip_record
from fastck.faces.box import FaceBox, crop
from fastck.images.image import read_gray
from fastck.images.video import count_video_frames, video_rate
from fastck.ops.flow import optical_flow
from fastck.ops.motion import erode, frame_difference, mean_pool_2x2, threshold
from fastck.pipeline.dispatch import preprocess
from fastck.store.reader import Store
from fastck.views.animation import iter_pictures, save_animation, save_mp4
from fastck.views.flow import describe_colours, flow_colours, flow_rim
from fastck.views.preview import iter_stages, preview_clip, preview_store, sample_frames
from fastck.views.sheet import draw_sheet, save_sheet

HEIGHT, WIDTH = 120, 160


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CK+-shaped root with one sequence of 7 noisy frames and, beside it, boxes: two changes, one frame without."""
    root = tmp_path_factory.mktemp("clip")
    folder = root / "cohn-kanade-images" / "S001" / "002"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    frame = cv2.GaussianBlur(rng.integers(0, 256, (HEIGHT, WIDTH), np.uint8), (0, 0), 4)
    for number in range(1, 8):
        cv2.imwrite(str(folder / f"S001_002_{number:08d}.png"), np.roll(frame, 2 * number, axis=1))
    lines = ["sequence,frame,top,left,bottom,right"]
    for number, box in enumerate([(10, 20, 90, 100)] * 3 + [None] + [(10, 24, 90, 104)] * 2 + [(12, 24, 92, 104)], 1):
        if box:
            lines.append(f"S001_002,{number},{','.join(map(str, box))}")
    (root / "boxes.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def store(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("stores") / "store"
    return preprocess(
        clip,
        path,
        preset="paper",
        boxes=clip / "boxes.csv",
        features=("projection", "mask", "pool34"),
        box_cache=False,
        n_jobs=1,
    )


def test_stages_are_those_of_the_operations(clip: Path):
    record = clip_record(clip / "cohn-kanade-images/S001/002")
    frames = [read_gray(path) for path in record.frames]
    box = FaceBox(10, 20, 90, 100)
    motion = MotionConfig(level=60, size=3)
    config = PreprocessConfig(motion=motion)
    got = list(iter_stages(frames, [box] * len(frames), config))
    crops = np.stack([crop(gray, box) for gray in frames])
    difference = frame_difference(crops)
    above = threshold(difference, level=60)
    mask = erode(above, size=3) // 255
    assert len(got) == 7
    assert "mask" not in got[0]
    for step in range(6):
        stages = got[step + 1]
        assert np.array_equal(stages["crop"], crops[step + 1])
        assert np.array_equal(stages["difference"], difference[step])
        assert np.array_equal(stages["threshold"], above[step])
        assert np.array_equal(stages["mask"], mask[step])
        assert np.array_equal(stages["pool34"], mean_pool_2x2(mean_pool_2x2(mean_pool_2x2(mask[step : step + 1])))[0])
    assert mask.any()
    assert "flow" not in got[0]
    np.testing.assert_array_equal(np.stack([stages["flow"] for stages in got[1:]]), optical_flow(crops))


def test_store_with_root_shows_what_the_store_holds(clip: Path, store: Store):
    preview = preview_store(store, "S001_002", root=clip)
    view = preview.views[0]
    assert view.projections is not None
    assert np.array_equal(view.projections, store.sequence("S001_002", "projection"))
    masks = store.sequence("S001_002", "mask")
    assert view.stages["mask"][0] is None
    assert np.array_equal(np.stack([np.asarray(mask) for mask in view.stages["mask"][1:]]), masks)
    assert view.moved.tolist() == [False, False, False, False, True, False, True]
    assert len(preview.frames) == 7
    assert preview.note == ""


def test_store_alone_shows_features_and_says_what_is_missing(store: Store):
    preview = preview_store(store, "S001_002", columns=4)
    view = preview.views[0]
    assert preview.shown == (0, 2, 4, 6)
    assert preview.frames == []
    assert set(view.stages) == {"mask", "pool34"}
    masks = store.sequence("S001_002", "mask")
    assert np.array_equal(np.asarray(view.stages["mask"][2]), masks[3])  # the step that leads to frame 5
    assert np.allclose(np.asarray(view.stages["pool34"][3]), store.sequence("S001_002", "pool34")[5])
    assert "--root" in preview.note
    assert "1 frames have no face" in preview.note
    figure = draw_sheet(preview)
    assert preview.note in [text.get_text() for text in figure.texts]


def test_store_with_pools_only_has_no_projection(clip: Path, tmp_path: Path):
    made = preprocess(clip, tmp_path / "s", boxes=clip / "boxes.csv", features=("pool67",), box_cache=False, n_jobs=1)
    preview = preview_store(made, "S001_002")
    assert preview.views[0].projections is None
    assert set(preview.views[0].stages) == {"pool67"}
    assert save_sheet(preview, tmp_path / "sheet.png").stat().st_size > 1000


def test_store_alone_draws_its_flow_with_the_wheel(clip: Path, tmp_path: Path):
    made = preprocess(clip, tmp_path / "s", boxes=clip / "boxes.csv", features=("flow",), box_cache=False, n_jobs=1)
    preview = preview_store(made, "S001_002", columns=3)
    flows = preview.views[0].stages["flow"]
    assert flows[0] is None
    np.testing.assert_array_equal(np.stack([np.asarray(flow) for flow in flows[1:]]), made.feature("flow")[[2, 5]])
    figure = draw_sheet(preview)
    lengths = np.hypot(*made.feature("flow")[[2, 5]].transpose(1, 0, 2, 3)[:2])
    rim = f"rim is {100 * lengths.max():.1f} % of the crop's side"
    assert any(rim in text.get_text() and "since the onset" in text.get_text() for text in figure.texts)
    shapes = [image.get_array().shape for axes in figure.axes for image in axes.images]
    assert shapes.count((28, 28, 3)) == 2
    assert (65, 65, 4) in shapes


def test_flow_colours_are_opencvs_hue_and_saturation():
    flow = np.random.default_rng(0).normal(size=(2, 9, 11)).astype(np.float32)
    rim = flow_rim([None, flow])
    length, angle = cv2.cartToPolar(flow[0], flow[1], angleInDegrees=True)
    assert rim == pytest.approx(length.max())
    expected = cv2.cvtColor(cv2.merge([angle, length / np.float32(rim), np.ones_like(angle)]), cv2.COLOR_HSV2RGB)
    np.testing.assert_allclose(flow_colours(flow, rim), expected, atol=0.01)  # OpenCV's angles are good to 0.3 degrees
    assert (flow_colours(np.zeros((3, 4, 4), np.float32), rim) == 1).all()
    assert flow_colours(flow, rim / 2).min() >= 0
    assert flow_rim([None]) > 0


def test_the_legend_says_what_was_computed():
    assert describe_colours(FlowConfig(), 0.0411).endswith(
        "motion taken out; the wheel's rim is 4.1 % of the crop's side"
    )
    left = describe_colours(FlowConfig(reference="previous", compensate=False), 0.1)
    assert "since the frame before; the wheel" in left


def test_wrong_root_and_comparison_without_root_say_what_to_do(clip: Path, store: Store, tmp_path: Path):
    with pytest.raises(ValueError, match="as root"):
        preview_store(store, "S001_002", compare=True)
    with pytest.raises(ValueError, match="no sequence 'S9'"):
        preview_store(store, "S9")
    with pytest.raises(FileNotFoundError, match="does not hold cohn-kanade-images/S001/002"):
        preview_store(store, "S001_002", root=tmp_path)
    with pytest.raises(ValueError, match="is a store: name one of its sequences"):
        preview_clip(store.path)
    shutil.copytree(clip, tmp_path / "copy")
    next((tmp_path / "copy/cohn-kanade-images/S001/002").glob("*7.png")).unlink()
    with pytest.raises(ValueError, match="had 7 frames when the store was made"):
        preview_store(store, "S001_002", root=tmp_path / "copy")


def test_sampling_keeps_onset_and_apex():
    assert sample_frames(3, 10) == (0, 1, 2)
    assert sample_frames(100, 4) == (0, 33, 66, 99)
    for n_frames in range(2, 60):
        places = sample_frames(n_frames, 7)
        assert (places[0], places[-1]) == (0, n_frames - 1)
        assert len(places) == min(7, n_frames)
        assert np.ptp(np.diff(places)) <= 1
    with pytest.raises(ValueError, match="at least 2"):
        sample_frames(5, 1)


def test_names_of_clips_and_what_is_none(clip: Path, tmp_path: Path):
    assert clip_record(clip / "cohn-kanade-images/S001/002").sequence == "S001_002"
    assert clip_record(clip).frames == clip_record(clip / "cohn-kanade-images/S001/002").frames  # the only one there
    shutil.copytree(clip / "cohn-kanade-images/S001/002", tmp_path / "two/a")
    shutil.copytree(tmp_path / "two/a", tmp_path / "two/b")
    with pytest.raises(ValueError, match="2 sequences below it: name one"):
        clip_record(tmp_path / "two")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no image and no video"):
        clip_record(tmp_path / "empty")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"got the file .*notes.txt"):
        clip_record(tmp_path / "notes.txt")


def test_sheet_marks_moved_boxes_and_draws_any_name(clip: Path, store: Store, tmp_path: Path):
    preview = preview_store(store, "S001_002", root=clip)
    figure = draw_sheet(preview)
    texts = [text.get_text() for text in figure.texts]
    assert any("2 box changes" in text for text in texts)
    assert any("differs from the frame before" in text for text in texts)
    odd = replace(preview_store(store, "S001_002", columns=2), title="$100 \\frac{ <b> é 日")
    assert save_sheet(odd, tmp_path / "odd.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match="xyz"):
        save_sheet(odd, tmp_path / "sheet.xyz")
    with pytest.raises(FileNotFoundError):
        save_sheet(odd, tmp_path / "no" / "sheet.png")


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
def test_animation_has_every_frame(clip: Path, store: Store, tmp_path: Path, suffix: str):
    preview = preview_store(store, "S001_002", root=clip, columns=2)
    path = save_animation(preview, tmp_path / f"motion.{suffix}")
    if suffix == "mp4":
        assert count_video_frames(path) == 7
    else:
        from PIL import Image

        with Image.open(path) as image:
            assert image.n_frames == 7
    pictures = list(iter_pictures(preview))
    assert all(picture.shape == pictures[0].shape for picture in pictures)
    assert all(size % 2 == 0 for size in pictures[0].shape[:2])


def test_a_video_plays_in_browsers_with_the_colours_and_the_rate_that_were_asked_for(tmp_path: Path):
    # BT.709's own blue, red, and gray, in OpenCV's order.
    picture = np.zeros((48, 96, 3), np.uint8)
    picture[:, :32], picture[:, 32:64], picture[:, 64:] = (200, 30, 20), (30, 20, 200), (128, 128, 128)
    save_mp4(iter([picture] * 5), tmp_path / "a.mp4", 30000 / 1001)
    import av

    with av.open(tmp_path / "a.mp4") as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, stream.average_rate) == ("h264", "yuv420p", Fraction(30000, 1001))
        assert (stream.width, stream.height) == (96, 48)
        frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert len(frames) == 5
    for left in (16, 48, 80):
        assert np.abs(frames[0][24, left].astype(int) - picture[24, left]).max() <= 8
    # The index comes before the pictures: a browser shows the first one before it has the last.
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_an_animation_of_a_video_keeps_its_rate(clip: Path, store: Store, tmp_path: Path):
    rng = np.random.default_rng(0)
    frame = cv2.GaussianBlur(rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8), (0, 0), 4)
    save_mp4((np.roll(frame, 2 * step, axis=1) for step in range(4)), tmp_path / "clip.mp4", 24)
    preview = replace(preview_store(store, "S001_002", root=clip), record=clip_record(tmp_path / "clip.mp4"))
    view = replace(preview.views[0], boxes=preview.views[0].boxes[:4])
    moving = replace(preview, views=[view], n_frames=4)
    assert video_rate(save_animation(moving, tmp_path / "motion.mp4")) == 24
    with pytest.raises(ValueError, match="would be lost"):
        save_animation(moving, tmp_path / "clip.mp4")
    assert count_video_frames(tmp_path / "clip.mp4") == 4


def test_animation_needs_frames_and_a_known_suffix(store: Store, clip: Path, tmp_path: Path):
    bare = preview_store(store, "S001_002")
    with pytest.raises(ValueError, match="as root"):
        save_animation(bare, tmp_path / "motion.gif")
    with pytest.raises(ValueError, match=r"\.gif or \.mp4"):
        save_animation(bare, tmp_path / "motion.webm")
    full = preview_store(store, "S001_002", root=clip)
    with pytest.raises(ValueError, match="fps"):
        save_animation(full, tmp_path / "motion.gif", fps=0)
    with pytest.raises(OSError, match="no"):
        save_animation(full, tmp_path / "no" / "motion.mp4")
    assert list(tmp_path.iterdir()) == []


def test_both_presets_of_a_rendered_clip(rendered: Path, tmp_path: Path):
    for path in clip_record(rendered / "cohn-kanade-images/S001/001").frames[-4:]:
        shutil.copy(path, tmp_path)
    preview = preview_clip(tmp_path, compare=True, columns=3)
    assert [view.name for view in preview.views] == ["paper", "stable"]
    paper, stable = preview.views
    assert not stable.moved.any()
    assert paper.density is not None
    assert paper.density.shape == (preview.n_frames - 1,)
    save_sheet(preview, tmp_path / "sheet.png")
    assert read_gray(tmp_path / "sheet.png").shape[0] > 1000


def test_comparison_from_a_store_has_the_paper_above(rendered: Path, tmp_path: Path):
    place = Path("cohn-kanade-images/S001/001")
    (tmp_path / "root" / place).mkdir(parents=True)
    for path in clip_record(rendered / place).frames[-3:]:
        shutil.copy(path, tmp_path / "root" / place)
    for preset in ("paper", "stable", "aligned"):
        made = preprocess(tmp_path / "root", tmp_path / preset, preset=preset, n_jobs=1)
        preview = preview_store(made, "S001_001", root=tmp_path / "root", compare=True)
        names = [view.name for view in preview.views]
        assert names == ["paper", "aligned" if preset == "aligned" else "stable"]
        own = preview.views[names.index(preset)]
        assert np.array_equal(np.asarray(own.projections), made.sequence("S001_001", "projection"))


def test_missed_frames_are_found_again(real_faces: Path):
    preview = preview_clip(real_faces / "cohn-kanade-images/I001/001", preset="paper", columns=2)
    view = preview.views[0]
    assert view.missed.sum() == 8
    assert not (view.moved & view.missed).any()  # a missed frame keeps the box before it
