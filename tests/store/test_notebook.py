"""What a prompt and a notebook show of a store, and how it is gone through."""

import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

import fastck
from fastck.recognition.prediction import unanswered
from fastck.training.run import Run
from tests.helpers.tinystore import make_store, make_table


class Cells(HTMLParser):
    """Collects a table's cells."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.feed(html)

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.cells.append(data.strip())


def picture_of(html: str) -> np.ndarray:
    (found,) = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return cv2.imdecode(np.frombuffer(base64.b64decode(found), np.uint8), cv2.IMREAD_COLOR)


def test_a_store_is_gone_through_by_its_sequences(tmp_path):
    store = make_store(tmp_path / "store", make_table(subjects=2))
    assert len(store) == len(store.table) == len(list(store))
    assert list(store) == store.table["sequence"].tolist()
    for name in list(store)[:2]:
        assert len(store.sequence(name, store.features[0])) == store.row(name).length
    assert repr(store) == f"<Store {store.path}: {len(store)} sequences, {', '.join(store.features)}>"
    html = store._repr_html_()
    cells = Cells(html).cells
    assert cells[cells.index("sequences") + 1] == str(len(store))
    assert picture_of(html).any()


def test_a_prediction_in_a_notebook():
    prediction = fastck.predict(fastck.sample() / "cohn-kanade-images/L008/001")
    said = f"happy {100 * prediction.probabilities['happy']:.0f} %"
    assert prediction.emotion == "happy"
    assert repr(prediction) == f"<Prediction L008_001: {said}, frames 1-5/5>"
    html = prediction._repr_html_()
    assert f"happy ({said}" in " ".join(Cells(html).cells)
    assert (picture_of(html) < 128).any()
    assert "<b>" not in unanswered("<b>", "<b> is none")._repr_html_()


@pytest.mark.parametrize("picture", [True, False])
def test_a_run_in_a_notebook(tmp_path, picture: bool):
    record = {"arguments": {"feature": "flow", "protocol": "loso"}, "classes": ["anger", "happy"], "status": "finished"}
    run = Run(tmp_path, record)
    assert repr(run) == f"<Run {tmp_path}: flow, loso, 2 classes, finished>"
    if picture:
        cv2.imwrite(str(tmp_path / "confusion_matrix.png"), np.zeros((8, 8, 3), np.uint8))
    html = run._repr_html_()
    assert "anger, happy" in Cells(html).cells
    assert ("<img" in html) == picture
