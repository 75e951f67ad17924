"""In front of which nodes channels can be restored, and what is said of these nodes."""

from __future__ import annotations

import pytest

from tests.graphs import indices, parse, weight
from upscale_onnx.channels.analysis import analyse
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.plan.restorations import restorations

ADDED = "s = Add(r, other)"
READ_WHOLE = "m = Softmax<axis=1>(r)"


@pytest.mark.parametrize(
    ("readers", "whole"),
    [((ADDED,), False), ((READ_WHOLE,), True), ((ADDED, READ_WHOLE), True), ((READ_WHOLE, ADDED), True)],
)
def test_channels_are_read_as_a_whole_where_one_of_the_nodes_behind_a_reshape_does(
    readers: tuple[str, ...], whole: bool
) -> None:
    made = [reader.split(" ", 1)[0] for reader in readers]
    outputs = ", ".join(f"float[1,288] {name}" for name in made)
    model = parse(
        f"(float[1,4,6,6] x, float[1,288] other) => ({outputs}) {{ h = Conv(x, w) r = Reshape(h, flat) "
        f"{' '.join(readers)} }}",
        w=weight(8, 4, 1, 1, rows=(1, 2)),
        flat=indices(1, 288),
    )
    shapes = infer_shapes(model)
    found = restorations(analyse(import_graph(model), shapes), shapes)
    assert [use.whole for uses in found.values() for use in uses] == [whole]
