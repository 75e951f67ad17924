"""Layers that read channels in rows, of steps or capsules: what the rows have in common leaves."""

from __future__ import annotations

import onnx
import pytest

from tests.traps.net import ints, net, vector, weight
from tests.traps.targets import Target, check, sizes

STEPS = """p = Gemm(a, wa, ba)  q = Gemm(b, wb, bb)  r = Unsqueeze(p, axis)  s = Unsqueeze(q, axis)
        c = Concat<axis=0>(r, s)  t = Transpose<perm=[1,0,2]>(c)"""
READERS = {
    "side by side": ("N,2,3", "y = MatMul(t, v)"),
    "merged with the batch": ("M,3", "u = Reshape(t, flat)  y = Gemm(u, v, bias)"),
}


def steps(reader: str, first: dict[int, int], second: dict[int, int]) -> onnx.ModelProto:
    """Two steps of 8 channels, of which a layer reads all. first, second: channels that hold one number, and this."""
    shape, nodes = READERS[reader]
    more = {"flat": ints(-1, 8), "bias": vector(3)} if "flat" in nodes else {}
    return net(
        f"(float[N,6] a, float[N,6] b) => (float[{shape}] y)", f"{STEPS} {nodes}",
        wa=weight(6, 8, dead=first), ba=vector(8, **{f"c{channel}": level for channel, level in first.items()}),
        wb=weight(6, 8, dead=second), bb=vector(8, **{f"c{channel}": level for channel, level in second.items()}),
        axis=ints(0), v=weight(8, 3), **more,
    )  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
def test_channels_that_are_zero_in_all_rows_leave(reader: str, target: Target) -> None:
    model = steps(reader, dict.fromkeys((0, 3, 5, 6), 0), dict.fromkeys((0, 3, 4, 6), 0))
    small = sizes(check(model, target))
    assert small["p"][1] == small["q"][1] == small["y"][0] == (5 if target.tight else 8)


def test_what_all_rows_hold_alike_moves_into_the_bias(target: Target) -> None:
    """The bias behind is that of all rows: the constants of channel 6 differ."""
    model = steps("merged with the batch", {0: 3, 3: 2, 6: 1}, {0: 3, 3: 2, 6: 2})
    small = sizes(check(model, target))
    assert small["p"][1] == small["y"][0] == (6 if target.tight else 8)
