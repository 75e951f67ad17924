"""What a graph library takes to read a model and write it again: `python graph_library.py gs|ir|ours MODEL`.

gs: onnx-graphsurgeon as it is. ir: onnx-ir. ours: `upscale_onnx.model`, on top of onnx-graphsurgeon.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import onnx


def library(name: str) -> tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]:
    """The way into the graphs of a library and the way back."""
    if name == "gs":
        import onnx_graphsurgeon as gs

        return gs.import_onnx, lambda graph, model: gs.export_onnx(graph)
    if name == "ir":
        import onnx_ir

        return onnx_ir.from_proto, lambda graph, model: onnx_ir.to_proto(graph)
    from upscale_onnx.model import export_graph, import_graph

    return import_graph, export_graph


def timed(what: str, step: Callable[[], Any]) -> Any:
    """What `step` returns; prints what it took, and the most memory so far."""
    start = time.perf_counter()
    result = step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what}: {time.perf_counter() - start:.2f} s, at most {peak:.0f} MB")
    return result


def main(name: str, path: str) -> None:
    """Read and write the model at `path`."""
    way_in, way_back = timed("import of the library", lambda: library(name))
    model = timed("load", lambda: onnx.load(path))
    graph = timed("to a graph", lambda: way_in(model))
    written = timed("back", lambda: way_back(graph, model))
    same = written.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)
    print(f"{len(model.graph.node)} nodes, {'the same' if same else 'other'} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
