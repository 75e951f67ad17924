"""The size of a model with its functions inlined: thirty functions that each call the next twice make a billion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from onnx import ModelProto, NodeProto

from upscale_onnx.errors import ModelError
from upscale_onnx.model.protos import nodes_within

_MOST_NODES = 2**20
_Key = tuple[str, str, str]


def check_functions(model: ModelProto, where: str) -> None:
    """Check that the functions of `model` can be inlined.

    Raises:
        ModelError: they call each other in a cycle, or make too many nodes; the message starts with `where`.
    """
    if _written(model, {}, where) > _MOST_NODES:
        raise ModelError(f"{where}: has more than {_MOST_NODES} nodes once its functions are written out")


def written_bytes(model: ModelProto) -> int:
    """About how many bytes the functions of `model` take where they are called, inlined. It must be checked."""
    own = {_key(f.domain, f.name, f.overload): sum(node.ByteSize() for node in f.node) for f in model.functions}
    return _written(model, own, "the model")


def _written(model: ModelProto, own: Mapping[_Key, int], where: str) -> int:
    """The size of all nodes once functions are inlined. own: the size of each function alone. Without it, the size is
    the number of nodes that are no calls."""
    calls = {_key(f.domain, f.name, f.overload): _calls(f.node) for f in model.functions}
    if not calls:
        return 0
    sizes: dict[_Key, int] = {}
    for key in calls:
        _measure(key, calls, sizes, own, where)
    single = 0 if own else 1
    return sum(count * sizes.get(called, single) for called, count in _calls(model.graph.node).items())


def _measure(
    start: _Key, calls: Mapping[_Key, Counter[_Key]], sizes: dict[_Key, int], own: Mapping[_Key, int], where: str
) -> None:
    """Put the sizes of `start` and of all functions that it calls, inlined, into `sizes`."""
    path, entered = [start], {start}
    while path:
        function = path[-1]
        missing = next((called for called in calls[function] if called in calls and called not in sizes), None)
        if missing is None:
            called_sizes = (count * sizes.get(c, 0 if own else 1) for c, count in calls[function].items())
            sizes[function] = own.get(function, 0) + sum(called_sizes)
            entered.remove(path.pop())
        elif missing in entered:
            raise ModelError(f"{where}: its function {missing[1]!r} calls itself")
        else:
            path.append(missing)
            entered.add(missing)


def _calls(nodes: Iterable[NodeProto]) -> Counter[_Key]:
    """How often the nodes, and those of their subgraphs, call each function or operator."""
    return Counter(_key(node.domain, node.op_type, node.overload) for node in nodes_within(nodes))


def _key(domain: str, name: str, overload: str) -> _Key:
    return ("" if domain == "ai.onnx" else domain, name, overload)
