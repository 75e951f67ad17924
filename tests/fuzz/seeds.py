"""Small sound models that mutants are made of: every form of every operator with a rule, and whole networks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.channels.case import Case, Producer, finish, operator, produced
from tests.channels.cases import ALL

ROOT = Path(__file__).resolve().parents[2]
_LARGEST_FILE = 2**17

_CONTROL = """<ir_version: 10, opset_import: ["" : 21, "local" : 1]>
control (float[1, 3, 6, 6] x, bool flag) => (float[1, 4, 6, 6] y)
<float[8, 3, 1, 1] w = {0,0,0,0,0,0,0,0,0,1,2,3,4,5,6,7,8,9,1,2,1,2,1,2}, int64 trips = {2},
 float[4, 8, 1, 1] v = {1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8}>
{
    h = Conv (x, w)
    d = local.twice (h)
    i = If (flag) <then_branch = a () => (float[1, 8, 6, 6] t) { t = Add (d, h) },
                   else_branch = b () => (float[1, 8, 6, 6] e) { e = Relu (d) }>
    r = Loop (trips, , i) <body = c (int64 n, bool go, float[1, 8, 6, 6] s) => (bool on, float[1, 8, 6, 6] o) {
        on = Identity (go)
        o = Relu (s)
    }>
    y = Conv (r, v)
}
<domain: "local", opset_import: ["" : 21]>
twice (p) => (q) { q = Add (p, p) }
"""


def seeds(more: Path | None = None) -> list[bytes]:
    """The project's own seeds and those in the folder `more`, in an order that is the same everywhere."""
    own = (onnx.parser.parse_model(_CONTROL).SerializeToString(), _quantised(), *_files(ROOT / "models"))
    return [*_operators(), *own, *(_files(more) if more is not None else ())]


def _operators() -> Iterator[bytes]:
    for number, case in enumerate(ALL):
        yield bytes(between(case, number).SerializeToString())


def between(case: Case, number: int) -> onnx.ModelProto:
    """The operator behind producers with dead channels."""
    rng = np.random.default_rng(number)
    producers = {index: Producer.random(operand, rng, silent=0.5) for index, operand in case.tracked.items()}
    nodes, inputs, constants = produced(case, producers)
    return finish(case, [*nodes, operator(case)], inputs, constants, [(name, 0) for name in case.results])


def _quantised() -> bytes:
    """Convolutions between quantisation and dequantisation."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.integers(-9, 9, (6, 3, 3, 3)), "v": rng.integers(-9, 9, (4, 6, 1, 1))}
    weights["w"][:3] = 0
    constants = [onnx.numpy_helper.from_array(value.astype(np.int8), name) for name, value in weights.items()]
    constants.append(helper.make_tensor("s", TensorProto.FLOAT, [], [0.05]))
    constants.append(helper.make_tensor("z", TensorProto.INT8, [], [0]))
    nodes = []
    for name, source, target in (("w", "x", "h"), ("v", "h", "y")):
        nodes.append(helper.make_node("QuantizeLinear", [source, "s", "z"], [f"{source}_q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{source}_q", "s", "z"], [f"{source}_d"]))
        nodes.append(helper.make_node("DequantizeLinear", [name, "s", "z"], [f"{name}_d"]))
        nodes.append(helper.make_node("Conv", [f"{source}_d", f"{name}_d"], [target], name=target))
    shapes = (("x", [1, 3, 8, 8]), ("y", [1, 4, 6, 6]))
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in shapes)
    graph = helper.make_graph(nodes, "quantised", [x], [y], constants)
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()
    )


def _files(folder: Path) -> Iterator[bytes]:
    """Its small models."""
    for path in sorted(folder.glob("*.onnx")):
        if path.stat().st_size <= _LARGEST_FILE:
            yield path.read_bytes()
