"""The padding that auto_pad asks for, against onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx.parser
import pytest

from upscale_onnx.model.padding import SAME, same_pads
from upscale_onnx.runtime.sessions import make_session, run


def convolved(x: np.ndarray, sizes: str, attributes: str) -> np.ndarray:
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
    g (float[1, 1, {sizes}] x, float[1, 1, 3, 2] w) => (float[1, 1, h, v] y) {{ y = Conv <{attributes}> (x, w) }}"""
    w = np.arange(1, 7, dtype=np.float32).reshape(1, 1, 3, 2)
    return run(make_session(onnx.parser.parse_model(text)), {"x": x, "w": w})[0]


@pytest.mark.parametrize("auto_pad", SAME)
@pytest.mark.parametrize("strides", [(1, 1), (2, 3), (4, 1)])
@pytest.mark.parametrize("sizes", [(5, 8), (6, 7), (1, 2)])
def test_explicit_pads_give_what_auto_pad_gives(
    auto_pad: str, strides: tuple[int, int], sizes: tuple[int, int]
) -> None:
    x = np.arange(np.prod(sizes), dtype=np.float32).reshape(1, 1, *sizes)
    (top, bottom), (left, right) = same_pads(auto_pad, sizes, (3, 2), strides, (1, 1))
    shape, common = f"{sizes[0]}, {sizes[1]}", f"strides = [{strides[0]}, {strides[1]}]"
    pads = f"{common}, pads = [{top}, {left}, {bottom}, {right}]"
    np.testing.assert_array_equal(convolved(x, shape, pads), convolved(x, shape, f'{common}, auto_pad = "{auto_pad}"'))


@pytest.mark.parametrize(("auto_pad", "pads"), [("SAME_UPPER", (1, 2)), ("SAME_LOWER", (2, 1))])
def test_dilations_widen_the_window(auto_pad: str, pads: tuple[int, int]) -> None:
    assert same_pads(auto_pad, [6], [2], [1], [3]) == [pads]
