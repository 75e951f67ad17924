"""Costs of losing channels: measured on inputs held out, and alike in every layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.graphs import parse
from tests.pruned import pruned
from upscale_onnx.measures.measure import Distance
from upscale_onnx.options import Options
from upscale_onnx.repair.choose import obs_scores, pruned_counts
from upscale_onnx.repair.costs import _divided, obs_costs
from upscale_onnx.runtime.activations import batches_of
from upscale_onnx.runtime.inputs import Inputs

WIDTH = 32


def _network(scale: float = 1.0) -> onnx.ModelProto:
    """Two layers over vectors: the first reads channels of which the last four copy the first four."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(WIDTH, WIDTH)) / WIDTH**0.5
    tensors: dict[str, NDArray[Any]] = {"a": scale * first, "b": rng.normal(size=(WIDTH, 6)) / scale}
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["z"], "a"),
        helper.make_node("Relu", ["z"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["y"], "b"),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", WIDTH))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("N", 6))],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _data(count: int) -> NDArray[np.float32]:
    x = np.random.default_rng(1).normal(size=(count, WIDTH)).astype(np.float32)
    x[:, -4:] = x[:, :4]
    return x


def _costs(model: onnx.ModelProto, batches: Sequence[Inputs]) -> dict[str, NDArray[np.float64]]:
    def harm_on(held: Sequence[Inputs]) -> Callable[[onnx.ModelProto], float]:
        distance = Distance.of(model, held)
        return lambda variant: distance.value(variant) ** 2

    return obs_costs(model, batches, harm_on)


def test_copies_cost_nothing_and_all_channels_together_everything() -> None:
    costs = _costs(_network(), batches_of({"x": _data(2000)}, 500))
    assert set(costs) == {"a", "b"}
    squares = np.square(np.sort(costs["a"]))
    assert squares[:4].sum() < 1e-3
    assert squares[5] > 1e-3
    assert 0.3 < squares[: WIDTH * 7 // 8].sum() < 1.2
    assert 0.7 < squares.sum() < 1.5
    assert set(np.argsort(costs["a"])[:4] % (WIDTH - 4)) <= {0, 1, 2, 3}


def test_scale_hardly_matters() -> None:
    batches = batches_of({"x": _data(1000)}, 500)
    small, large = (_costs(_network(scale), batches) for scale in (1.0, 16.0))
    for weight in ("a", "b"):
        sums = [np.square(np.sort(costs[weight])[:16]).sum() for costs in (small, large)]
        assert sums[0] == pytest.approx(sums[1], rel=0.1)


def test_few_samples_make_channels_dear() -> None:
    few, many = (_costs(_network(), batches_of({"x": _data(count)}, 500)) for count in (32, 2000))
    cheapest = [float(np.square(np.sort(costs["b"])[:20]).sum()) for costs in (few, many)]
    assert cheapest[0] > 1.5 * cheapest[1]
    # What was fitted shows the opposite: fewer samples are easier to meet.
    model = _network()
    shares = []
    for count in (32, 2000):
        squares = np.square(np.sort(obs_scores(model, batches_of({"x": _data(count)}, 500))["b"]))
        shares.append(float(squares[:20].sum() / squares.sum()))
    assert shares[0] < shares[1]


def test_a_global_amount_goes_where_it_costs_least(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=_data(1000))
    counts = {}
    for scope in ("local", "global"):
        options = Options.of(
            amount=0.25,
            masks="flat",
            scope=scope,  # type: ignore[arg-type]
            criterion="obs",
            repair="lsq",
            calibration=str(tmp_path / "data.npz"),
        )
        done, count = pruned(_network(), options)
        counts[scope] = pruned_counts(_network(), done)
        assert sum(counts[scope].values()) == count
        assert count == pytest.approx(16, abs=1)
    assert counts["local"] == {"a": 8, "b": 8}
    assert counts["global"] != counts["local"]


def test_what_hardly_reaches_the_outputs_is_cheap() -> None:
    model = _branches(0.01)
    costs = _costs(model, batches_of({"x": _data(1000)}, 500))
    loud, quiet = (float(np.square(np.sort(costs[weight])[: WIDTH // 2]).sum()) for weight in ("loud", "quiet"))
    assert quiet < 1e-2 * loud


def _branches(scale: float) -> onnx.ModelProto:
    """Two layers that both read the input; what the second makes counts `scale` times as much."""
    rng = np.random.default_rng(0)
    loud, quiet = (rng.normal(size=(WIDTH, 6)).astype(np.float32) for _ in range(2))
    return parse(
        f"""(float[N, {WIDTH}] x) => (float[N, 6] y) {{
            l = MatMul(x, loud)
            q = MatMul(x, quiet)
            s = Mul(q, scale)
            r = Relu(s)
            y = Add(l, r)
        }}""",
        loud=loud,
        quiet=quiet,
        scale=np.array(scale, np.float32),
    )


@pytest.mark.parametrize(("samples", "judges"), [(1000, 125), (160, 40), (32, 8)])
def test_harm_is_measured_on_inputs_that_no_fit_has_seen(samples: int, judges: int) -> None:
    data = np.arange(samples * WIDTH, dtype=np.float32).reshape(samples, WIDTH)
    fit, judged = _divided(_network(), batches_of({"x": data}, 500))
    parts = [np.concatenate([batch["x"] for batch in part]) for part in (fit, judged)]
    assert [len(part) for part in parts] == [samples - judges, judges]
    assert (np.sort(np.concatenate(parts), axis=0) == data).all()


def test_a_model_of_one_batch_size_is_judged_on_whole_batches() -> None:
    model = _network()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 50
    fit, judged = _divided(model, batches_of({"x": _data(200)}, 50))
    assert [len(batch["x"]) for batch in (*fit, *judged)] == [50] * 4
    assert len(judged) == 1
