"""A block of a decoder as runtimes of language models write it: MatMulNBits and GroupQueryAttention with a cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from upscale_onnx.model.packing import packed
from upscale_onnx.types import Array

MODEL, HEADS, GROUPS, WIDTH, INNER, BLOCK = 64, 4, 2, 16, 128, 16
MS = "com.microsoft"


class Build:
    """A model in the making."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        angles = np.arange(64.0)[:, None] / np.arange(1, WIDTH // 2 + 1)
        self.held: dict[str, Array] = {
            "cos": np.cos(angles).astype(np.float32),
            "sin": np.sin(angles).astype(np.float32),
        }
        self.held |= {"one": np.asarray([1]), "at": np.asarray(1), "g": np.ones(MODEL, np.float32)}

    def node(self, op: str, inputs: str, outputs: str, domain: str = "", **attrs: Any) -> None:
        """Add a node; "-" stands for an input or output that is left out."""
        read, made = ([name.strip("-") for name in names.split()] for names in (inputs, outputs))
        self.nodes.append(helper.make_node(op, read, made, domain=domain, **attrs))

    def linear(self, source: str, name: str, inputs: int, outputs: int, dead: tuple[int, ...] = ()) -> None:
        """Add a layer of four bits that reads nothing of the inputs `dead`."""
        steps = self.rng.integers(0, 16, (outputs, inputs // BLOCK, BLOCK))
        for index in dead:
            steps[:, index // BLOCK, index % BLOCK] = 8
        scales = self.rng.uniform(0.01, 0.02, steps.shape[:2]).astype(np.float32)
        self.held |= {f"{name}w": packed(steps, 4), f"{name}s": scales}
        attrs = {"K": inputs, "N": outputs, "bits": 4, "block_size": BLOCK}
        self.node("MatMulNBits", f"{source} {name}w {name}s", name, MS, **attrs)

    def model(self) -> onnx.ModelProto:
        """The model, whose cache is an input and an output."""
        info, cache = helper.make_tensor_value_info, ["b", GROUPS, "p", WIDTH]
        inputs = [info("x", TensorProto.FLOAT, ["b", "s", MODEL]), info("mask", TensorProto.INT64, ["b", "t"])]
        inputs += [info(name, TensorProto.FLOAT, cache) for name in ("k1", "v1")]
        outputs = [info("y", TensorProto.FLOAT, ["b", "s", MODEL])]
        outputs += [info(name, TensorProto.FLOAT, ["b", GROUPS, "t", WIDTH]) for name in ("k2", "v2")]
        weights = [numpy_helper.from_array(array, name) for name, array in self.held.items()]
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MS, 1)]
        graph = helper.make_graph(self.nodes, "decoder", inputs, outputs, weights)
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def decoder(heads: tuple[int, ...], neurons: tuple[int, ...]) -> onnx.ModelProto:
    """A block that reads nothing of these heads and neurons."""
    build = Build()
    build.node("ReduceSum", "mask one", "sum", keepdims=0)
    build.node("Sub", "sum one", "less")
    build.node("Cast", "less", "last", to=TensorProto.INT32)
    build.node("Shape", "mask", "sizes")
    build.node("Gather", "sizes at", "length")
    build.node("Cast", "length", "total", to=TensorProto.INT32)
    build.node("SimplifiedLayerNormalization", "x g", "n", axis=-1)
    build.linear("n", "qkv", MODEL, (HEADS + 2 * GROUPS) * WIDTH)
    build.node(
        "GroupQueryAttention", "qkv - - k1 v1 last total cos sin", "z k2 v2", MS, num_heads=HEADS, kv_num_heads=GROUPS,
        do_rotary=1,
    )  # fmt: skip
    features = tuple(head * WIDTH + feature for head in heads for feature in range(WIDTH))
    build.linear("z", "o", HEADS * WIDTH, MODEL, features)
    build.node("SkipSimplifiedLayerNormalization", "x o g", "m - - r", MS)
    build.linear("m", "gate", MODEL, INNER)
    build.linear("m", "up", MODEL, INNER)
    build.node("Sigmoid", "gate", "open")
    build.node("Mul", "gate open", "swish")
    build.node("Mul", "swish up", "f")
    build.linear("f", "down", INNER, MODEL, neurons)
    build.node("SkipSimplifiedLayerNormalization", "r down g", "y", MS)
    return build.model()


def test_heads_and_blocks_of_neurons_leave() -> None:
    # Three blocks of neurons, and a neuron in a block of others.
    neurons = (*range(2 * BLOCK, 4 * BLOCK), 100, *range(INNER - BLOCK, INNER))
    model = decoder((0, HEADS - 1), neurons)
    result = upscale_onnx.compile(model, export="gather", align=1, race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal
    assert not result.report.refusals
    attrs = [{one.name: one.i for one in node.attribute} for node in result.model.graph.node if node.domain == MS]
    assert [(one["K"], one["N"]) for one in attrs if "K" in one] == [
        (MODEL, (HEADS - 2 + 2 * GROUPS) * WIDTH),
        ((HEADS - 2) * WIDTH, MODEL),
        (MODEL, INNER - 3 * BLOCK),
        (MODEL, INNER - 3 * BLOCK),
        (INNER - 3 * BLOCK, MODEL),
    ]
    assert [(one["num_heads"], one["kv_num_heads"]) for one in attrs if "num_heads" in one] == [(HEADS - 2, GROUPS)]
