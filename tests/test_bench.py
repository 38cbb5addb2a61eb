"""The kernels' decorator, the quick benchmark, and the report that `make bench` writes."""

import logging

import numpy as np
import pytest

from benchmarks import naive, report, training
from fastck import bench, kernels
from fastck.ops import motion as ops


def test_kernels_are_compiled_without_a_cache_where_none_can_be_written(monkeypatch, caplog):
    compiled = []

    def njit(**options: object):
        compiled.append(options)
        return lambda function: function

    def plain() -> None:
        pass

    plain.compile = print

    def no_folder(_: object) -> None:
        raise RuntimeError("cannot cache function 'f': no locator available for file 'f.py'")

    monkeypatch.setattr(kernels, "njit", njit)
    monkeypatch.setattr(kernels, "KernelCache", no_folder)
    kernels._warn_not_kept.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert kernels.kernel(plain) is plain
        assert kernels.kernel(fastmath=True)(plain) is plain
    assert [options.get("fastmath") for options in compiled] == [None, True]
    assert all(options["nogil"] for options in compiled)
    assert caplog.text.count("NUMBA_CACHE_DIR") == 1


def test_loops_in_the_package_are_those_of_the_specification():
    mask = np.random.default_rng(0).integers(0, 2, (7, 7), dtype=np.uint8)
    np.testing.assert_array_equal(bench.project_by_loops(mask), naive.project(mask[None])[0])
    np.testing.assert_array_equal(bench.pool_by_loops(mask), naive.mean_pool_2x2(mask[None])[0])


def test_quick_measures_all_and_puts_fastck_first():
    measurements = bench.quick(side=32, budget=0.05)
    by_operation: dict[str, list[bench.Measurement]] = {}
    for measurement in measurements:
        by_operation.setdefault(measurement.operation, []).append(measurement)
    assert list(by_operation) == [operation.name for operation in bench.QUICK]
    for rows in by_operation.values():
        assert rows[0].method == "fastck"
        assert rows[0].ratio == 1
        assert {bench.FLOOR, "OpenCV"} <= {row.method for row in rows}
        for row in rows:
            assert row.ratio == pytest.approx(row.microseconds / rows[0].microseconds)
    loops = next(row for row in measurements if row.method == bench.LOOPS)
    assert loops.ratio > 20


def test_quick_refuses_to_compare_different_results(monkeypatch):
    other = {bench.OWN: lambda frames: lambda: ops.motion_projections(frames, level=3)}
    monkeypatch.setitem(bench.METHODS, "motion_projections", bench.METHODS["motion_projections"] | other)
    with pytest.raises(RuntimeError, match="OpenCV and fastck disagree on motion_projections"):
        bench.quick(side=32, budget=0.01)


def entry(seconds: float, **info: object) -> dict[str, object]:
    return {"stats": {"min": seconds}, "extra_info": info}


def document() -> dict[str, object]:
    shape = {"kind": "operation", "side": 267, "results": 10}
    seconds = {
        ("motion_projections", "fastck"): 4e-5,
        ("motion_projections", "OpenCV"): 4e-4,
        ("motion_projections", bench.LOOPS): 0.2,
        ("motion_projections", "memory copy"): 2e-5,
        ("motion_projections absolute", "fastck"): 7e-5,
        ("motion_masks", "OpenCV"): 3e-4,
        ("motion_masks packed", "fastck"): 4e-5,
        ("motion_pools x3", "fastck"): 4e-5,
        ("motion_pools x3", "OpenCV"): 3e-5,
        ("motion_pools x3", bench.LOOPS): 0.4,
        ("motion_masks", "fastck"): 6e-5,
    }
    entries = [entry(value, **shape, operation=name, method=who) for (name, who), value in seconds.items()]
    stage = {"kind": "stage", "operation": "decode", "unit": "frame", "results": 1}
    entries += [entry(1e-3, **stage, method="fastck"), entry(9.9, **stage, method="OpenCV", measured=2e-3)]
    machine = {"cpu": {"brand_raw": "Some CPU", "count": 2}, "machine": "x", "system": "Linux", "release": "6"}
    machine["python_version"] = "3.11"
    return {"benchmarks": [*entries, entry(1.0)], "machine_info": machine, "datetime": "2026-01-02T03:04:05"}


def test_the_report_tells_ratios_losses_and_missed_targets():
    text = report.report(document(), "picture.png")
    assert "Some CPU, 2 core(s)" in text
    assert "2026-01-02" in text
    assert "| OpenCV | 40 µs (10x) |" in text
    assert "| OpenCV | 3 µs (0.75x **faster**) |" in text  # a row where fastck loses stays and is marked
    assert "| _memory copy_ | 2 µs (0.5x) |" in text
    page = report.speed_page(document())
    assert "| projections: times as fast as OpenCV's chain | at least 7 | 10 | held |" in page
    assert "| projections: copies of the frames | at most 1.2 | 2 | **missed** |" in page
    assert "| absolute difference, level 15: times of the paper's | at most 1.5 | 1.75 | **missed** |" in page
    assert "| OpenCV | 2 ms | 1x |" in text  # measured elsewhere, not in the timed call
    assert "vpmovmskb" in page


def test_the_report_is_written_with_its_chart(tmp_path, monkeypatch, capsys):
    import json

    source = tmp_path / "bench.json"
    source.write_text(json.dumps(document()))
    assert report.main([str(source), str(tmp_path / "BENCHMARKS.md")]) == 0
    assert "docs/images/benchmarks.png" in (tmp_path / "BENCHMARKS.md").read_text()
    assert (tmp_path / "docs/images/benchmarks.png").read_bytes().startswith(b"\x89PNG")
    assert report.main([]) == 2
    assert "usage" in capsys.readouterr().err


def trial(kind: str, **values: object) -> dict[str, object]:
    score = {"value": 0.5, "low": 0.4, "high": 0.6}
    return {
        "kind": kind,
        "preset": "stable",
        "arguments": {
            "phase": 4,
            "frame": "projection",
            "protocol": "loso",
            "filters": 8,
            "epochs": 3,
            "batch_size": 64,
        },
        "plan": {"total": 3 * 2**30, "micro_batch": 16, "remat": True, "parameters": 1234567},
        "peak": 2 * 2**30,
        "steps": 10,
        "seconds": 20.0,
        "input_share": 0.0123,
        "loss": [1.9, 1.2],
        "n": 171.0,
        "subjects": 60,
        "leakage": 0.25,
        "scores": {"accuracy": score, "balanced_accuracy": score, "macro_f1": score},
        "baselines": {"logistic regression": 0.7, "majority class": 0.3},
        **values,
    }


def test_training_is_told_as_it_was_measured():
    document = {"machine": "x", "subjects": 60, "trials": [trial("memory"), trial("accuracy")]}
    text = "\n".join(report.training_tables(document))
    assert (
        "| 1,234,567 | 64 (16, recomputed) | 3.00 GiB | 2.00 GiB | 1.50 | 1.23 % | 10 | 2 s | 1.900 to 1.200 |" in text
    )
    assert "| 4 | loso | stable | 171 (60) | 25 % | 0.50 [0.40, 0.60] |" in text
    assert "The same seed" not in text
    text = "\n".join(report.training_tables({**document, "same": {"name": "a", "equal": False}}))
    assert "The same seed twice (a): report, predictions and history are **different**." in text


def test_features_are_told_with_the_rows_that_lose():
    arguments = {"frame": "flow", "filters": 64, "epochs": 12}
    others = {"logistic regression": {"value": 0.7, "low": 0.6, "high": 0.8}}
    more = {"calibration": 0.0421, "processor": 150.2, "intervals": others}
    trials = [
        trial("features", preset="hard-stable", arguments={**arguments, "model": "temporal"}, **more),
        trial(
            "features", preset="easy-stable", arguments={**arguments, "model": "linear"}, **more | {"processor": None}
        ),
    ]
    times = [{"feature": "flow", "seconds": 0.0025}]
    document = {"machine": "x", "machine_of_features": "y", "subjects": 60, "trials": trials, "feature_times": times}
    lines = report.training_tables(document)
    shown = "0.500 [0.400, 0.600] | 0.500 [0.400, 0.600] | 0.042 | **0.700 [0.600, 0.800]**"
    assert f"| hard | flow | stable | temporal | {shown} | 12 (64) | 20 s | 150 s |" in lines
    assert f"| easy | flow | stable | linear | {shown} |  | 20 s |  |" in lines
    assert "| flow | 2.5 ms |" in lines


def test_two_runs_are_the_same_only_to_the_byte(tmp_path):
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
        for name in ("report.json", "predictions.csv", "history.csv"):
            (tmp_path / run / name).write_text("1")
    assert training.same(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "history.csv").write_text("1 ")
    assert not training.same(tmp_path / "a", tmp_path / "b")
    assert training.main([]) == 2
