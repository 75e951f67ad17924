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
    calls = {_key(f.domain, f.name, f.overload): _calls(f.node) for f in model.functions}
    if not calls:
        return
    sizes: dict[_Key, int] = {}
    for key in calls:
        _measure(key, calls, sizes, where)
    nodes = sum(count * sizes.get(called, 1) for called, count in _calls(model.graph.node).items())
    if nodes > _MOST_NODES:
        raise ModelError(f"{where}: has more than {_MOST_NODES} nodes once its functions are written out")


def _measure(start: _Key, calls: Mapping[_Key, Counter[_Key]], sizes: dict[_Key, int], where: str) -> None:
    """Put the numbers of nodes of `start` and of all functions that it calls, inlined, into `sizes`."""
    path, entered = [start], {start}
    while path:
        function = path[-1]
        missing = next((called for called in calls[function] if called in calls and called not in sizes), None)
        if missing is None:
            sizes[function] = sum(count * sizes.get(called, 1) for called, count in calls[function].items())
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
