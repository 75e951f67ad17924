"""The table of results: written and read back whole, merged by what was asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from upscale_onnx.errors import ArgumentError
from upscale_onnx.paper.rows import COLUMNS, Row, Setting, cleaned, from_csv, is_of, merged, to_csv

SETTING = Setting('a, "b".onnx', "00ff", "d.npz", "", "", "", 0, 0, "cpu", 1, "1e5")
ROW = Row(**vars(SETTING), side="input", method="constrained", criterion="l2", scope="local", amount=0.1)  # fmt: skip
FULL = replace(ROW, channels=3, parameters=10, macs=20, export="keep", top1=1 / 3, top5=1.0, images=9)


def test_rows_come_back_as_they_were() -> None:
    rows = (ROW, replace(FULL, amount=0.30000000000000004, ratio=0.1))
    assert from_csv(to_csv(rows), "r.csv") == rows
    assert to_csv(rows).splitlines()[0] == ",".join(COLUMNS)


def test_a_checksum_that_looks_like_a_number_stays_text() -> None:
    (row,) = from_csv(to_csv([ROW]), "r.csv")
    assert row.setup == "1e5"
    assert row.checksum == "00ff"


@pytest.mark.parametrize(
    "text",
    ["", "a,b\n1,2\n", to_csv([FULL]).replace("0.1", "much"), to_csv([FULL])[:-9] + "\n", '"' + to_csv([FULL])],
    ids=["empty", "other columns", "no number", "torn", "quote"],
)
def test_what_is_no_table_of_results(text: str) -> None:
    with pytest.raises(ArgumentError, match=r"r\.csv: is not a table"):
        from_csv(text, "r.csv")


def test_rows_of_the_same_trial_are_one() -> None:
    timed = replace(ROW, latency_ms=2.0, baseline_ms=3.0, channels=4)
    other = replace(ROW, amount=0.2)
    assert merged((FULL, other), timed) == (replace(FULL, latency_ms=2.0, baseline_ms=3.0, channels=4), other)
    assert merged((FULL,), other) == (FULL, other)
    for name in ("checksum", "setup", "method", "repair", "epochs"):
        assert len(merged((FULL,), replace(ROW, **{name: "another"}))) == 2, name
    assert FULL.has_accuracy
    assert not FULL.has_latency
    assert timed.has_latency
    assert not timed.has_accuracy


def test_of_rows_that_differ_in_checksums_alone_one_is_kept() -> None:
    timed = replace(FULL, setup="old", latency_ms=2.0)
    other = replace(FULL, seed=1, setup="old")
    newer = replace(other, setup="new")
    assert cleaned((timed, FULL, other, newer), SETTING) == (FULL, newer), "that of the setting, and the last"
    elsewhere = replace(SETTING, checksum="beef")
    assert cleaned((timed, FULL), Setting(**vars(elsewhere))) == (timed,), "what was timed goes first"


def test_rows_know_their_setting() -> None:
    assert is_of(FULL, SETTING)
    assert not is_of(replace(FULL, seed=1), SETTING)
