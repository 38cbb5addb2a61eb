"""The report of the benchmarks: it opens with what a user gains, and the targets stand on a page of their own."""

from benchmarks.report import Row, gains, report


def row(kind: str, operation: str, method: str, seconds: float) -> Row:
    return Row(kind=kind, operation=operation, side=267, method=method, seconds=seconds, unit="frame", note="")


def test_gains_stand_beside_what_they_take_the_place_of():
    bulk = "bulk: 3 rendered sequences, 60 frames, 2 jobs"
    rows = [
        row("stage", bulk, "stable preset", 0.001),
        row("stage", bulk, "paper's script", 0.4),
        row("operation", "motion_projections", "fastck", 4e-6),
        row("operation", "motion_projections", "OpenCV", 36e-6),
    ]
    lines = gains(rows)
    assert len(lines) == 4
    assert "3 rendered sequences" in lines[2]
    assert "400x" in lines[2]
    assert "| 9x |" in lines[3]


def test_without_measurements_there_is_no_table():
    assert gains([]) == []


def test_the_report_is_written_without_any_operation():
    document = {
        "machine_info": {
            "cpu": {"brand_raw": "a", "count": 2},
            "system": "Linux",
            "release": "6",
            "machine": "x86_64",
            "python_version": "3.11",
        },
        "datetime": "2026-01-01",
        "benchmarks": [],
    }
    text = report(document, "picture.png")
    assert text.startswith("# Benchmarks")
    assert "docs/explanation/speed.md" in text
