"""A rule for one more operator is one module and its cases: Det, which is a barrier without it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

import upscale_onnx
from tests.examples.patched import patched, run_python, touched
from tests.plan.models import Net

DIFF = "operator_rule.diff"
COMPILE = """
import sys, onnx, upscale_onnx
result = upscale_onnx.compile(onnx.load(sys.argv[1]), export="keep", align=1, race=False)
assert result.report.verification.equal
print({tensor.name: list(tensor.dims) for tensor in result.model.graph.initializer})
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return patched(DIFF, tmp_path_factory.mktemp("operator_rule"))


def determined() -> onnx.ModelProto:
    """A convolution, the determinants of what it makes, and a layer that reads 3 of its 8 channels."""
    net = Net()
    made = net.conv("x", "made", net.matrix(8, 3, 1, 1), np.arange(1, 9))
    numbers = net.op("Det", made, "numbers")
    weight = net.weight("y_w", net.matrix(4, 8, reads=[0, 3, 4]))
    return net.model([net.op("Gemm", [numbers, weight], "y", transB=1)], x=(1, 3, 3, 3))


def test_a_rule_is_one_module_and_its_cases() -> None:
    assert touched(DIFF) == ["tests/channels/cases/spatial.py", "upscale_onnx/channels/rules/determinant.py"]


def test_without_the_rule_the_operator_is_a_barrier() -> None:
    result = upscale_onnx.compile(determined(), export="keep", align=1, race=False, verify=False)
    assert [refusal.op_type for refusal in result.report.refusals] == ["Det"]
    assert {t.name: list(t.dims) for t in result.model.graph.initializer}["made_w"] == [8, 3, 1, 1]


def test_with_the_rule_channels_go_through_it(tree: Path, tmp_path: Path) -> None:
    onnx.save(determined(), tmp_path / "in.onnx")
    sizes = ast.literal_eval(run_python(tree, "-c", COMPILE, str(tmp_path / "in.onnx")))
    assert (sizes["made_w"], sizes["made_b"], sizes["y_w"]) == ([3, 3, 1, 1], [3], [4, 3])


def test_the_rule_is_probed_like_any_other(tree: Path) -> None:
    files = ("tests/channels/test_probe.py", "tests/channels/test_removal.py")
    said = run_python(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k", "Det")
    passed = re.search(r"^(\d+) passed", said, re.MULTILINE)
    assert passed, said
    assert int(passed[1]) >= 8  # of each test that takes every form of an operator
