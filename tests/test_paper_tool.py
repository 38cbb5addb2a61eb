"""The report's tables beside a run's."""

import pandas as pd

from tools.paper import beside


def test_the_reports_figures_stand_beside_the_runs():
    predictions = pd.DataFrame(
        {
            "true": ["anger", "anger", "disgust", "happy", "surprise"],
            "predicted": ["anger", "happy", "disgust", "happy", "surprise"],
        }
    )
    rows = beside(predictions, 4).splitlines()
    # Figure 19 of the report; of two angers one is found, and one of two "happy" is right.
    assert "| anger | 0.91 | 12 | 0.67 | 2 |" in rows
    assert "| happy | 0.84 | 9 | 0.67 | 1 |" in rows
    assert rows[-1] == "| accuracy | 0.88 | 42 | 0.80 | 5 |"
