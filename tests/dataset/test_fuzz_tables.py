"""A short run of the fuzzer of tables; `make campaigns` has the long one."""

from pathlib import Path

import pandas as pd

from tests.campaigns.fuzz_tables import fuzz, try_file


def test_no_mutated_table_is_read_wrongly(tmp_path: Path):
    counts, findings = fuzz(300, 1, tmp_path)
    assert findings == []
    assert {outcome.split(": ")[1] for outcome in counts} == {"read", "refused"}


def test_the_fuzzer_sees_what_a_lenient_reader_swallows(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text('sequence,subject,fold\nx1,S1,1\n"x2,S2,2\nx3,S3,"3\nx4,S4,1\n')
    assert try_file(lambda path: len(path.read_text().splitlines()) - 1, "folds", path).startswith(
        "finding: read, though"
    )
    path.write_text("sequence,subject,fold\nx1,S1,1\nx2,S2,2\n")
    assert try_file(lambda path: len(pd.read_csv(path)) - 1, "folds", path) == "finding: 1 read of 2"
    assert try_file(lambda path: len(pd.read_csv(path)), "folds", path) == "read"
