"""Time and peak memory of compiles of large models: `python docs/programs/scale.py --gigabytes 3`.

A decoder is built in a temporary folder: layers of a gated unit (MatMul, SiLU, MatMul, Mul, MatMul, Add) whose hidden
channels are zero by half, with its weights as external data. With `--nodes 20000`, layers are small and many instead.
It is compiled by the command of this package in a process of its own, and a line of JSON says what that took. The
peak is that of the process that took most; the worker is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

_LAYER_NODES = 7
_ITEM_BYTES = 4
_OPTIONS = ("--no-race", "--align", "1", "--export", "gather", "--quiet")


def main(argv: Sequence[str] | None = None) -> int:
    """Build, compile and print; the exit code is that of the compile."""
    args = arguments(argv)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        source, target = Path(folder, "decoder.onnx"), Path(folder, "compiled.onnx")
        layers = build(source, args)
        before = _folder_bytes(Path(folder))
        start = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-m", "upscale_onnx", str(source), str(target), *_OPTIONS, *args.options]
        )
        _, status, usage = os.wait4(child.pid, 0)
        found = {
            "layers": layers,
            "nodes": layers * _LAYER_NODES,
            "largest_segment_bytes": 3 * args.width * args.hidden * _ITEM_BYTES,
            "bytes_in": before,
            "bytes_out": _folder_bytes(Path(folder)) - before,
            "seconds": round(time.perf_counter() - start, 1),
            "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
            "peak_bytes": usage.ru_maxrss * 1024,
            "exit_code": os.waitstatus_to_exitcode(status),
        }
    print(json.dumps(found))
    return int(found["exit_code"])


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, help="size of all weights; decides the number of layers")
    parser.add_argument("--nodes", type=int, help="number of nodes; decides the number of layers")
    parser.add_argument("--width", type=int, help="channels between layers (2048; 16 with --nodes)")
    parser.add_argument("--hidden", type=int, help="channels inside a layer (4 times the width)")
    parser.add_argument("--folder", type=Path, help="where to build the model; it is removed afterwards")
    parser.add_argument("options", nargs="*", help="more options of the compile, behind --")
    args = parser.parse_args(argv)
    if (args.gigabytes is None) == (args.nodes is None):
        parser.error("give either --gigabytes or --nodes")
    args.width = args.width or (16 if args.nodes else 2048)
    args.hidden = args.hidden or 4 * args.width
    return args


def build(path: Path, args: argparse.Namespace) -> int:
    """Write the decoder to `path`, its weights one by one to a file beside it. Returns the number of layers."""
    layer_bytes = 3 * args.width * args.hidden * _ITEM_BYTES
    layers = max(1, round(args.gigabytes * 2**30 / layer_bytes) if args.gigabytes else args.nodes // _LAYER_NODES)
    rng, nodes, weights = np.random.default_rng(0), [], []
    with path.with_suffix(".data").open("wb") as data:
        for number in range(layers):
            dead = rng.permutation(args.hidden)[: args.hidden // 2]
            for name, shape, axis in (
                ("gate", (args.width, args.hidden), 1),
                ("up", (args.width, args.hidden), 1),
                ("down", (args.hidden, args.width), None),
            ):
                values = rng.standard_normal(shape, np.float32) / np.float32(shape[0] ** 0.5)
                if axis is not None:
                    values[:, dead] = 0
                weights.append(_stub(f"{name}_{number}", values.shape, data.tell(), values.nbytes, data.name))
                data.write(values.tobytes())
            nodes += _layer(number)
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4, args.width]) for n in ("x0", f"x{layers}")]
    graph = helper.make_graph(nodes, "decoder", value[:1], value[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return layers


def _layer(number: int) -> list[onnx.NodeProto]:
    def node(op: str, inputs: str, output: str) -> onnx.NodeProto:
        names = [f"{name}{number}" for name in inputs.split()]
        return helper.make_node(op, names, [output], name=output)

    return [
        node("MatMul", "x gate_", f"g{number}"),
        node("Sigmoid", "g", f"s{number}"),
        node("Mul", "g s", f"a{number}"),
        node("MatMul", "x up_", f"u{number}"),
        node("Mul", "a u", f"m{number}"),
        node("MatMul", "m down_", f"d{number}"),
        node("Add", "x d", f"x{number + 1}"),
    ]


def _stub(name: str, shape: tuple[int, ...], offset: int, length: int, file: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", Path(file).name), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


if __name__ == "__main__":
    raise SystemExit(main())
