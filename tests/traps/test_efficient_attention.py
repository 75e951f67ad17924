"""Efficient channel attention: a gate for each channel, from the means of its neighbours along the axis of channels."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import upscale_onnx
from tests.traps.net import ints, net, vector, weight
from tests.traps.targets import Target, check, sizes
from upscale_onnx.types import Array

WIDTH, DEAD = 16, (0, 3, 4, 5, 9, 10, 14, 15)
ROUNDING = 1e-6


def gated(
    dead: tuple[int, ...], silent: tuple[int, ...], bias: Array, kernel: int = 3, skip: bool = False
) -> onnx.ModelProto:
    """A layer with a gate. Nothing reads the channels `dead`, and the `silent` ones hold nothing but their bias."""
    half = (kernel - 1) // 2
    return net(
        "(float[N,6,5,5] x) => (float[N,4,5,5] y)",
        f"""s = Conv(x, wc, bias)
        c = Relu(s)
        p = GlobalAveragePool(c)
        q = Reshape(p, row)
        e = Conv<pads=[{half}, {half}]>(q, we)
        g = Sigmoid(e)
        u = Reshape(g, image)
        m = Mul(c, u)
        z = {"Add(m, c)" if skip else "Identity(m)"}
        y = Conv(z, wy)""",
        row=ints(0, 1, WIDTH), image=ints(0, WIDTH, 1, 1), wc=weight(WIDTH, 6, 1, 1, silent=silent), bias=bias,
        we=weight(1, 1, kernel) / np.float32(64), wy=weight(4, WIDTH, 1, 1, dead=dead),
    )  # fmt: skip


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("skip", [False, True])
def test_dead_channels_leave(kernel: int, skip: bool, target: Target) -> None:
    """Zeros leave: their neighbours' gates are computed as if they were there."""
    zeros = vector(WIDTH, **{f"c{channel}": 0 for channel in DEAD})
    small = sizes(check(gated(DEAD, DEAD, zeros, kernel, skip), target, tolerance=ROUNDING))
    assert small["s"][0] == small["y"][1] == WIDTH - len(DEAD)


def test_what_neighbours_know_of_a_channel_stays_in_their_gates(target: Target) -> None:
    """Channels that are the same for all inputs leave, too."""
    small = sizes(check(gated(DEAD, DEAD, vector(WIDTH)), target, tolerance=ROUNDING))
    assert small["s"][0] == small["y"][1] == WIDTH - len(DEAD)


def test_channels_that_vary_stay_for_their_neighbours(target: Target) -> None:
    """Nobody reads channels 6 to 11. The gates of 5 and 12 need 6 and 11, and a channel that stays has a gate."""
    model = gated(tuple(range(6, 12)), (), vector(WIDTH))
    assert sizes(check(model, target, tolerance=ROUNDING))["s"][0] == WIDTH


@pytest.mark.parametrize("method", ["constrained", "unconstrained"])
def test_amounts_reach_gated_layers(method: str) -> None:
    model = gated((), (), vector(WIDTH))
    result = upscale_onnx.compile(model, amount=0.5, race=False, export="gather", align=1, method=method)  # type: ignore[arg-type]
    assert result.report.verification is not None
    assert result.report.verification.equal
    assert sizes(result.model)["s"][0] == WIDTH // 2
