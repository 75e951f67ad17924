"""The time of equations and of products by vectors, as they are and as PlainProducts writes them, in turns.

python docs/programs/plain_products.py [--turns 400]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from upscale_onnx.model import export_graph, import_graph, infer_shapes
from upscale_onnx.passes.pipeline import Pipeline
from upscale_onnx.passes.plain_products import PlainProducts
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.types import Array

# The equation, "" for a MatMul, the shapes of the operands, and which of them are constant.
PRODUCTS: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], str]] = {
    "projection": ("bnm,mhd->bnhd", (1, 64, 256), (256, 8, 32), "r"),
    "projection back": ("bnhd,hdm->bnm", (1, 64, 8, 32), (8, 32, 256), "r"),
    "weights per head": ("bnhd,hde->bnhe", (1, 16, 8, 32), (8, 32, 32), "r"),
    "queries by keys": ("bqhd,bkhd->bhqk", (1, 64, 8, 32), (1, 64, 8, 32), ""),
    "attention by values": ("bhqk,bkhd->bqhd", (1, 8, 64, 64), (1, 64, 8, 32), ""),
    "dots": ("bnd,bnd->bn", (1, 64, 256), (1, 64, 256), ""),
    "outer products": ("bi,bj->bij", (1, 256), (1, 64), ""),
    "a sum of channels": ("bchw,c->bhw", (1, 64, 16, 16), (64,), "r"),
    "factors of channels": ("bchw,c->bchw", (1, 64, 16, 16), (64,), "r"),
    "matrices by a vector": ("", (1, 64, 256), (256,), "r"),
    "a vector by matrices": ("", (256,), (1, 256, 64), "l"),
    "a vector by a matrix": ("", (256,), (256, 64), "r"),
}


def product(equation: str, operands: dict[str, Array], constant: str) -> onnx.ModelProto:
    """A model of one node."""
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
        for name, array in operands.items()
        if name != constant
    ]
    weights = [numpy_helper.from_array(array, name) for name, array in operands.items() if name == constant]
    attributes = {"equation": equation} if equation else {}
    node = helper.make_node("Einsum" if equation else "MatMul", ["l", "r"], ["y"], "y", **attributes)
    graph = helper.make_graph([node], "g", inputs, [helper.make_empty_tensor_value_info("y")], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def rewritten(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model as the pass writes it."""
    rewrite = Rewrite(import_graph(model), infer_shapes(model))
    Pipeline((PlainProducts(),)).run(rewrite)
    return export_graph(rewrite.graph, model, rewrite.done.shapes)


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session of one thread."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])


def main() -> None:
    """Print a line for each product."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=400)
    turns, rng = parser.parse_args().turns, np.random.default_rng(0)
    for name, (equation, left, right, constant) in PRODUCTS.items():
        operands = {"l": rng.normal(size=left).astype(np.float32), "r": rng.normal(size=right).astype(np.float32)}
        model = product(equation, operands, constant)
        sessions = session(model), session(rewritten(model))
        feeds = {key: array for key, array in operands.items() if key != constant}
        times = np.array([[_cpu_us(each, feeds) for each in sessions] for _ in range(turns)])
        ratio = statistics.median(times[:, 1] / times[:, 0])
        print(f"{name}: {np.median(times[:, 0]):.0f} us of processor, as rewritten {ratio:.2f} of it")


def _cpu_us(made: onnxruntime.InferenceSession, feeds: dict[str, Array]) -> float:
    start = time.process_time_ns()
    made.run(None, feeds)
    return (time.process_time_ns() - start) / 1e3


if __name__ == "__main__":
    main()
