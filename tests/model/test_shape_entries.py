"""Shape vectors of which some entries have only a name."""

from __future__ import annotations

from typing import Any

import pytest
from onnx import TensorProto

from upscale_onnx.model.shape_entries import known_entries
from upscale_onnx.types import Dims


@pytest.mark.parametrize(
    ("op_type", "inputs", "expected"),
    [
        ("Identity", [("n", 3)], ("n", 3)),
        ("Unsqueeze", [("n",), (0,)], ("n",)),
        ("Unsqueeze", [("n", 3), (0,)], None),
        ("Reshape", [("n", 3), (-1,)], ("n", 3)),
        ("Reshape", [("n", 3), (1, 2)], None),
        ("Gather", [("n", 3, 4), (-1, 0)], (4, "n")),
        ("Gather", [("n", 3), (2,)], None),
        ("Concat", [("n",), (3, None)], ("n", 3, None)),
        ("Concat", [("n",), None], None),
        ("Slice", [("n", 3, 4), (1,), (9,)], (3, 4)),
        ("Slice", [("n", 3, 4), (2,), (-9,), (0,), (-1,)], (4, 3, "n")),
        ("Mul", [("n", 3), (2,)], ("2·n", 6)),
        ("Div", [("2·n", "2·n"), (2, 3)], ("n", None)),
        ("Mul", [(1,), ("n",)], ("n",)),
        ("Add", [("n", 3), (0, 1)], ("n", 4)),
        ("Sub", [(0,), ("n",)], (None,)),
        ("Div", [("n", 7, -7, 7), (1, 2, 2, 0)], ("n", 3, None, None)),
        ("Mod", [("n", 7), (None, 4)], (None, 3)),
        ("Max", [("n", 7), (1, 9)], (None, 9)),
        ("Add", [("n", 3), (1, 2, 3)], None),
        ("Equal", [("n", 3, "n", None, "n"), (-1, 3, "n", -1, 4)], (0, 1, 1, None, None)),
        ("Where", [(0, 1, None), (1, 1, 1), ("n", "n", "n")], ("n", 1, None)),
        ("Range", [(0,), ("n",), (1,)], None),
    ],
)
def test_entries(op_type: str, inputs: list[Dims | None], expected: Dims | None) -> None:
    assert known_entries(op_type, {}, inputs) == expected


@pytest.mark.parametrize(
    ("op_type", "attrs", "inputs", "expected"),
    [
        ("Cast", {"to": TensorProto.INT64}, [("n", 3)], ("n", 3)),
        ("Cast", {"to": TensorProto.FLOAT}, [("n", 3)], None),
        ("ConstantOfShape", {"value": 7}, [(2,)], (7, 7)),
        ("ConstantOfShape", {}, [("n",)], None),
        ("Slice", {"starts": [1], "ends": [2]}, [("n", 3, 4)], (3,)),
    ],
)
def test_attributes(op_type: str, attrs: dict[str, Any], inputs: list[Dims | None], expected: Dims | None) -> None:
    assert known_entries(op_type, attrs, inputs) == expected
