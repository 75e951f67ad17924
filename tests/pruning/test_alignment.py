"""Padding keeps its original weights."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graphs import parse, weight
from upscale_onnx import compile
from upscale_onnx.errors import ArgumentError
from upscale_onnx.export.export import make
from upscale_onnx.export.recipes import recipes
from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.model import infer_shapes
from upscale_onnx.pruning.alignment import filled_masks

TEXT = """(float[1,3,4,4] x) => (float[1,8,4,4] b, float[1,8,4,4] c) {
    h = Conv(x, w)
    r = Relu(h)
    b = Conv(r, wb)
    c = Conv(r, wc)
}"""
MODEL = parse(TEXT, w=weight(64, 3, 1, 1), wb=weight(8, 64, 1, 1, seed=1), wc=weight(8, 64, 1, 1, seed=2))


def kept(*indices: int) -> np.ndarray:
    mask = np.zeros(64, bool)
    mask[list(indices)] = True
    return mask


def produced(masks: dict[str, np.ndarray], align: int = 16) -> int:
    masked, _ = write_masks(MODEL, masks)
    compiled = make(recipes(align)["keep"], masked, infer_shapes(masked))
    return next(int(t.dims[0]) for t in compiled.graph.initializer if tuple(t.dims)[1:] == (3, 1, 1))


def test_the_best_pruned_channels_fill_the_block_for_all_readers() -> None:
    masks = {"wb": kept(*range(45)), "wc": kept(*range(5, 40))}
    scores = {"wb": np.ones(64), "wc": np.ones(64)}
    scores["wb"][[50, 63, 47]] = 9.0
    filled = filled_masks(MODEL, masks, scores, 16)
    assert produced(masks) == produced(filled) == 48
    extra = {50, 63, 47}
    assert set(np.flatnonzero(filled["wb"])) == set(range(45)) | extra
    assert set(np.flatnonzero(filled["wc"])) == set(range(5, 40)) | extra


@pytest.mark.parametrize(("mask", "block"), [(kept(*range(48)), 16), (kept(*range(45)), 1), (kept(*range(64)), 16)])
def test_whole_blocks_are_left_as_they_are(mask: np.ndarray, block: int) -> None:
    masks = {"wb": mask, "wc": mask}
    filled = filled_masks(MODEL, masks, {"wb": np.ones(64), "wc": np.ones(64)}, block)
    assert all((filled[name] == mask).all() for name in masks)


def test_a_score_that_is_not_known_is_no_reason_to_fill() -> None:
    scores = {"wb": np.ones(64), "wc": np.ones(64)}
    scores["wb"][60] = np.nan
    filled = filled_masks(MODEL, {"wb": kept(*range(47)), "wc": kept(*range(47))}, scores, 16)
    assert set(np.flatnonzero(filled["wb"])) == set(range(48))


def test_a_compile_with_filled_masks_is_no_larger_and_keeps_more() -> None:
    kept = {}
    for masks in ("flat", "filled"):
        result = compile(MODEL, amount=0.7, criterion="l2", masks=masks, export="keep", align=16, race=False)
        kept[masks] = (result.report.masked_channels, result.report.after.parameters)
    assert kept["filled"][0] < kept["flat"][0]
    assert kept["filled"][1] == kept["flat"][1]


@pytest.mark.parametrize("wrong", [{"amount": None, "latency": 0.7}])
def test_options_that_filled_masks_contradict(wrong: dict[str, object]) -> None:
    with pytest.raises(ArgumentError, match="masks"):
        compile(MODEL, **{"amount": 0.3, "masks": "filled", "race": False, **wrong})
