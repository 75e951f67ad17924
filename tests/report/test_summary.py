"""Results as they print and as notebooks show them; as values they can be pickled and compared."""

from __future__ import annotations

import dataclasses
import pickle
import re
import sys
from typing import Any

import numpy as np
import onnx
import pytest

from upscale_onnx.errors import InternalError
from upscale_onnx.report.sentences import sentence
from upscale_onnx.report.summary import table_of
from upscale_onnx.results import (
    Accuracy,
    Bench,
    Calibration,
    Claim,
    Course,
    Epoch,
    Finetuned,
    Front,
    Inspection,
    LayerSensitivity,
    OutputError,
    Picture,
    Prediction,
    PrunedInTraining,
    PruningEffect,
    Race,
    Report,
    Result,
    Sensitivity,
    Sparsified,
    Sparsity,
    TensorSparsity,
    Timing,
    Verification,
)
from upscale_onnx.results.differences import Differences, NodeChange

EVIL = "<script>alert('&')</script>\x1b[2J"
COURSE = Course(0.5, 0.75, (Epoch(1, 0.25, 0.6, 0.75, 0.01, 2.0),), 1, (EVIL,), 0, 64)
MODEL = onnx.ModelProto(doc_string="a model")


def results(report: Report) -> list[Any]:
    """A result of each kind; names are those of a hostile model."""
    claims = {EVIL: Claim((1, 3), np.array([[0, -1]]), np.array([[np.nan, 0.5, np.nan]]))}
    result = Result(MODEL, report, MODEL, claims)
    timings = tuple(Timing(name, ms, ms, ms, ms / 2.0) for name, ms in ((EVIL, 2.0), ("b", 1.0)))
    layer = LayerSensitivity(EVIL, "n", "Conv", 8, (6,), (0.9,), (0.01,), 0.3, 0.75)
    tensor = TensorSparsity(EVIL, "n", "Conv", "weight", (4, 2), 2, 8, 0.25, 0, 2, 1, 4)
    return [
        report,
        result,
        Inspection(report.segments, report.refusals, report.before, Picture(1, (), ())),
        Verification(True, 1e-5, (OutputError(EVIL, 0.0, 0.0, 1.0, None),), 2, (), "cpu"),
        Bench({}, (Race(timings, "b", "cpu", 1, 7),)),
        Accuracy(0.5, 0.75, 4),
        Calibration("cpu", "a CPU", "cpu", 1, 2, 3, 0.5, 0.25, Prediction(0.25, 0.2, 1.0, ((EVIL, 0.2),)), "t.json"),
        Sensitivity("top1", 8, 0.9, 0.01, "input", "l2", (0.3,), (layer,)),
        Sparsity(2, 8, 0.25, (tensor,)),
        Sparsified(MODEL, {EVIL: np.array([True, False])}),
        COURSE,
        Finetuned(MODEL, COURSE),
        PrunedInTraining(COURSE, MODEL, result),
        Front("accuracy", "params", 1, 0, {}, ((0.4, 0.9),), ("profile", "source"), ((EVIL, "tpe"),), (), {}),
        Differences((NodeChange(EVIL, "Conv", "removed", (1, 2), None, 8),), 3),
    ]


def test_each_prints_in_a_few_lines(report: Report) -> None:
    for result in results(report):
        lines = str(result).splitlines()
        assert lines[0].startswith(sentence(result)[:10])
        assert 1 <= len(lines) <= 8, lines
        assert all(line.isprintable() for line in lines), lines
        assert [len(row) for row in table_of(result).rows] == [len(table_of(result).columns)] * len(
            table_of(result).rows
        )


def test_a_long_table_is_cut_short() -> None:
    changes = tuple(NodeChange(f"n{i}", "Conv", "added", None, (1, 2)) for i in range(60))
    found = Differences(changes, 0)
    lines = str(found).splitlines()
    assert [line.split()[0] for line in lines[2:-1]] == ["n0", "n1", "n2", "n3", "n4", "n5"]
    assert lines[-1] == "54 more rows"
    page = found._repr_html_()
    assert page is not None
    assert page.count("<tr>") == 51
    assert "10 more rows" in page


def test_notebooks_show_tables_with_names_escaped(report: Report) -> None:
    pytest.importorskip("jinja2")
    for result in results(report):
        page = result._repr_html_()
        assert "<script" not in page
        assert "\x1b" not in page
        assert set(re.findall(r"</?(\w+)", page)) <= {"p", "b", "table", "thead", "tbody", "tr", "th", "td"}
        rows = table_of(result).rows
        assert page.count("<td ") == sum(map(len, rows))
        assert ("&lt;script&gt;" in page) == (EVIL in sentence(result) or any(EVIL in row for row in rows))


def test_without_jinja2_notebooks_show_the_text(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    shown: list[str] = []

    class Printer:
        text = staticmethod(shown.append)

    for result in results(report):
        assert result._repr_html_() is None
        result._repr_pretty_(Printer(), False)
        assert shown.pop() == str(result)


def test_each_is_frozen_and_equal_to_its_pickle(report: Report) -> None:
    for result in results(report):
        again = pickle.loads(pickle.dumps(result))
        assert again is not result
        assert again == result
        field = dataclasses.fields(result)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(result, field, None)
        assert dataclasses.replace(result, **{field: None}) != result


def test_values_with_arrays_differ_by_an_entry() -> None:
    claim = Claim((1, 2), np.array([0, 1]), np.array([np.nan, 1.0]))
    assert claim == Claim((1, 2), np.array([0, 1]), np.array([np.nan, 1.0]))
    assert claim != dataclasses.replace(claim, held=np.array([0, 2]))
    assert claim != dataclasses.replace(claim, held=None)
    assert claim != dataclasses.replace(claim, held=np.array([0, 1], np.int32))
    found = Sparsified(MODEL, {"w": np.array([True])})
    assert found != Sparsified(MODEL, {"w": np.array([False])})
    assert found != Sparsified(MODEL, {"v": np.array([True])})
    assert found != "another thing"


def test_the_accuracy_after_pruning_is_told(report: Report) -> None:
    effect = PruningEffect("calibration data", 8, 0.5, 0.9, 0.8)
    assert "accuracy    90.0%    80.0%" in str(dataclasses.replace(report, effect=effect))


def test_what_is_no_result_has_no_words() -> None:
    for function in (sentence, table_of):
        with pytest.raises(InternalError, match="for int"):
            function(3)
