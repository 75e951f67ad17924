"""Making the view of a graph node that rules read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from upscale_onnx.channels.between import is_between
from upscale_onnx.channels.lower_bounds import is_positive
from upscale_onnx.channels.op import Op
from upscale_onnx.model import Constant, Graph, Node, Shape, Variable
from upscale_onnx.model.known import Constants
from upscale_onnx.model.operators import BROADCASTING, STANDARD_DOMAINS
from upscale_onnx.types import Array, Dims

_OPERANDS = 3  # of a Where


def opset_of(graph: Graph, domain: str | None) -> int:
    """The version of `domain` that the graph imports; that of the default domain where `domain` is not listed."""
    wanted = "" if domain in (None, "ai.onnx") else domain
    for entry in graph.import_domains or ():
        if ("" if entry.domain == "ai.onnx" else entry.domain) == wanted:
            return int(entry.version)
    return int(graph.opset)


def node_inputs(node: Node) -> list[str]:
    """The names of the values that a node reads: its inputs ("" where absent), and those that its subgraphs capture."""
    names = [tensor.name for tensor in node.inputs]
    for value in node.attrs.values():
        if isinstance(value, Graph):
            names.extend(sorted(set(_captured(value))))
    return names


def _captured(graph: Graph) -> Iterator[str]:
    inner = {tensor.name for tensor in graph.inputs}
    inner.update(tensor.name for node in graph.nodes for tensor in node.outputs)
    for node in graph.nodes:
        yield from (name for name in node_inputs(node) if name and name not in inner)
    yield from (tensor.name for tensor in graph.outputs if tensor.name not in inner)


class _Inputs(Sequence[Array | None]):
    """The constants among the inputs of a node, each decoded when it is read."""

    def __init__(self, names: Sequence[str], constants: Constants) -> None:
        self._names = tuple(name if name and name in constants else None for name in names)
        self._constants = constants

    @property
    def known(self) -> tuple[bool, ...]:
        """Per input, whether it is a constant."""
        return tuple([name is not None for name in self._names])

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: Any) -> Any:
        name = self._names[index]
        return None if name is None else self._constants.array(name)


def view(
    node: Node,
    names: list[str],
    constants: Constants,
    shapes: Mapping[str, Shape],
    opsets: tuple[int, int],
    used: tuple[bool, ...],
) -> Op:
    """The view of `node`. `names` are its inputs; `opsets` the versions of its domain and of ONNX's own operators;
    `used` says per output whether it is read."""
    given = _Inputs(names, constants)
    return Op(
        op_type=node.op,
        opset=opsets[0],
        domain=node.domain or "",
        name=node.name or (node.outputs[0].name if node.outputs else node.op),
        attrs=node.attrs,
        inputs=tuple(names),
        constants=given,
        known=given.known,
        present=tuple(bool(name) for name in names),
        in_dims=tuple(_dims(name, constants, shapes) for name in names),
        out_dims=tuple(_dims(tensor.name, constants, shapes) for tensor in node.outputs),
        shape_values=tuple(_entries(name, constants, shapes) for name in names),
        dtypes=tuple(shapes[name].dtype if name in shapes else 0 for name in names),
        used=used,
        blocks=tuple(constants.blocks.get(name) for name in names),
        guarded=_guarded(node),
        copied=_copied(node, shapes) if node.op in BROADCASTING and node.domain in STANDARD_DOMAINS else {},
        divides_safely=_divides_safely(node, constants, shapes),
        between=is_between(node, constants.__contains__),
        onnx_opset=opsets[1],
    )


def _guarded(node: Node) -> int | None:
    """The input that a Where returns only where a test that reads it says that it is not NaN."""
    if node.op != "Where" or len(node.inputs) != _OPERANDS:
        return None
    test, branch = _maker(node.inputs[0]), 2
    if test is not None and test.op == "Not":
        test, branch = _maker(test.inputs[0]), 1
    tests = test is not None and test.op == "IsNaN" and test.inputs[0] is node.inputs[branch]
    return branch if tests else None


def _copied(node: Node, shapes: Mapping[str, Shape]) -> dict[int, frozenset[int]]:
    """Per operand that an Expand made, the axes, counted from the last one, along which it holds copies."""
    found = dict[int, frozenset[int]]()
    for index, tensor in enumerate(node.inputs):
        maker = _maker(tensor)
        if maker is None or maker.op != "Expand" or not {tensor.name, maker.inputs[0].name} <= shapes.keys():
            continue
        one, many = shapes[maker.inputs[0].name].dims, shapes[tensor.name].dims
        pairs = zip(reversed(one), reversed(many), strict=False)
        found[index] = frozenset(-axis for axis, (size, copies) in enumerate(pairs, 1) if size == 1 != copies)
    return found


def _divides_safely(node: Node, constants: Constants, shapes: Mapping[str, Shape]) -> bool:
    """Whether the node is a Div, and no divisor is ever zero, as far as the nodes that compute it tell."""
    if node.op != "Div" or node.domain not in STANDARD_DOMAINS:
        return False
    return is_positive(node.inputs[1], shapes, constants)


def _maker(tensor: Constant | Variable) -> Node | None:
    """The node with a standard operator that computes a value; None for all other values."""
    maker = tensor.inputs[0] if isinstance(tensor, Variable) and len(tensor.inputs) == 1 else None
    return maker if maker is not None and maker.domain in STANDARD_DOMAINS else None


def _dims(name: str, constants: Constants, shapes: Mapping[str, Shape]) -> Dims | None:
    if name in constants:
        return constants.dims(name)
    return shapes[name].dims if name in shapes else None


def _entries(name: str, constants: Constants, shapes: Mapping[str, Shape]) -> Dims | None:
    # Only short vectors can be shapes; a weight is never converted to integers.
    dims = _dims(name, constants, shapes) if name else None
    if dims is None or len(dims) > 1 or (dims and (not isinstance(dims[0], int) or dims[0] > 64)):
        return None
    return constants.shape_value(name)
