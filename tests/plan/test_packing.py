"""Packing groups into fewer ones: everything that is kept has one place, and all groups have one size."""

from __future__ import annotations

import numpy as np
import pytest

from upscale_onnx.plan.packing import packed_anew, packed_in_order


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("align", [1, 4, 8])
def test_packings_hold_all_that_is_kept(seed: int, align: int) -> None:
    rng = np.random.default_rng(seed)
    groups, read, made = int(rng.integers(2, 9)), int(rng.integers(1, 7)), int(rng.integers(1, 7))
    classes = rng.permutation(groups * (read + made))
    inputs, outputs = classes[: groups * read].reshape(groups, read), classes[groups * read :].reshape(groups, made)
    kept = rng.random(classes.size) < 0.6
    needed = [(row[kept[row]], out[kept[out]]) for row, out in zip(inputs, outputs, strict=True)]
    in_order = list(packed_in_order(inputs, outputs, kept, align))
    anew = list(packed_anew(needed, inputs.ravel(), outputs.ravel(), kept, align))
    assert in_order or not kept.any() or align > 1
    for packing in (*in_order, *anew):
        count, *widths = packing.sizes
        for side, width, labels in zip((packing.inputs, packing.outputs), widths, (inputs, outputs), strict=True):
            filled = side.filled(kept)
            assert filled.shape == (count, width)
            assert np.unique(filled).size == filled.size
            assert set(labels[kept[labels]].tolist()) <= set(filled.ravel().tolist())
    for packing in in_order:
        for side, labels in ((packing.inputs, inputs), (packing.outputs, outputs)):
            places = [labels.ravel().tolist().index(one) for one in side.filled(kept).ravel().tolist()]
            assert places == sorted(places)
    for packing in anew:
        rows_in, rows_out = packing.inputs.filled(kept), packing.outputs.filled(kept)
        for own_in, own_out in needed:
            home = {int(np.argwhere(rows_out == one)[0, 0]) for one in own_out.tolist()}
            reads = {int(np.argwhere(rows_in == one)[0, 0]) for one in own_in.tolist()} if home else home
            assert len(home) <= 1
            assert reads <= home


def test_no_groups_are_packed_where_nothing_is_kept() -> None:
    inputs, outputs = np.arange(4).reshape(2, 2), np.arange(4, 8).reshape(2, 2)
    assert not list(packed_in_order(inputs, outputs, np.zeros(8, bool), 8))
    assert not list(packed_anew([(inputs[0][:0], outputs[0][:0])], inputs, outputs, np.zeros(8, bool), 8))
