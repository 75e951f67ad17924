"""What rounding alone does to the outputs of a model."""

from __future__ import annotations

import numpy as np

from tests.traps.net import net
from upscale_onnx.runtime.noise import noisy_runs
from upscale_onnx.runtime.sessions import make_session, run


def test_rounding_at_vectors_that_cancel_is_seen_where_inputs_are_too_small_to_show_it() -> None:
    """Beside 100, the last places of the inputs are lost. What is left behind 100 - 100 is a few units of rounding."""
    model = net(
        "(float[1,4] x) => (float[1,4] y)", "a = MatMul(x, w)\n        b = Add(a, high)\n        y = Add(b, low)",
        w=np.eye(4, dtype=np.float32), high=np.full(4, 100, np.float32), low=np.full(4, -100, np.float32),
    )  # fmt: skip
    feed = {"x": np.full((1, 4), 1e-4, np.float32)}
    session = make_session(model, exact=True)
    (expected,) = run(session, feed)
    moved = [np.abs(outputs[0] - expected).max() for (outputs,) in noisy_runs(model, session, [feed], "cpu", 0)]
    assert np.isclose(max(moved), np.spacing(np.float32(100)) * 2)
    assert sorted(moved)[-3] == 0  # two ways tell of it


def test_rounding_of_large_sums_is_seen_where_only_their_difference_counts() -> None:
    """Weights that are moved move both rows alike, so that the Softmax of their difference stays."""
    model = net(
        "(float[2,1,8] x) => (float[2,1,1] y)",
        """c = Cos(x)
        s = MatMul(c, w)
        y = Softmax<axis = 0>(s)""",
        w=np.full((8, 1), 7.3, np.float32),
    )  # fmt: skip
    feed = {"x": np.linspace(0, 1e-5, 16, dtype=np.float32).reshape(2, 1, 8)}
    session = make_session(model, exact=True)
    (expected,) = run(session, feed)
    moved = [np.abs(outputs[0] - expected).max() for (outputs,) in noisy_runs(model, session, [feed], "cpu", 0)]
    assert np.count_nonzero(moved) == 1
    assert 0.1 < max(moved) / np.spacing(np.float32(58.4)) < 2
