"""How much of what masks leave goes in front of nodes that need the channels of zeros.

    python docs/programs/coverage_readers.py [WORD...]

Two layers of 64 channels with random weights stand around each node. A random half of the channels that reach it is
zeroed in the layer in front of it and, where the layer behind reads each by itself, there too. Printed: the removed
parameters as a share of the zeroed ones, of the export "gather", of a compile by default, and with `--prefer size`. All
are checked to be equal. With words, only nodes with one of them in their names are tried.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from upscale_onnx import compile

CHANNELS, SIZE, GROUPS = 64, 12, 8
SHAPE = f"1, {CHANNELS}, {SIZE}, {SIZE}"
# What stands between the layers, of h (and of k, another layer with other channels of zeros), and whether the layer
# behind it reads each channel by itself.
READERS: dict[str, tuple[str, bool]] = {
    "result of the model": ("r = Identity(h)", False),
    "GroupNormalization": (f"r = GroupNormalization<num_groups={GROUPS}>(h, ones, zeros)", True),
    "GroupNormalization as exported": (
        "a = Reshape(h, grouped) b = InstanceNormalization(a, one, zero) r = Reshape(b, image)", True,
    ),
    "BatchNormalization in training form": (
        "r, m, v = BatchNormalization<training_mode=1>(h, ones, zeros, zeros, ones)", True,
    ),
    "Softmax over channels": ("r = Softmax<axis=1>(h)", True),
    "Add of two layers": ("r = Add(h, k)", False),
    "CumSum over channels": ("r = CumSum(h, axis)", False),
    "TopK of all channels": ("r, i = TopK<axis=1>(h, all)", False),
    "ArgMax over channels": ("i = ArgMax<axis=1>(h) c = Cast<to=1>(i) r = Expand(c, image)", False),
    "Det, which no rule knows": (
        "p = Reshape(h, squares) d = Det(p) c = Reshape(d, column) r = Expand(c, image)", False,
    ),
}  # fmt: skip
COMPILES: dict[str, Mapping[str, Any]] = {
    "`gather`": {"export": "gather", "align": 1, "race": False}, "default": {}, "`--prefer size`": {"prefer": "size"},
}  # fmt: skip


def network(text: str, is_read: bool) -> tuple[onnx.ModelProto, int]:
    """The network around a node, and how many parameters are zeroed in it."""
    rng = np.random.default_rng(0)
    first, other, last = (rng.normal(size=(CHANNELS, CHANNELS, 3, 3)).astype(np.float32) / 24 for _ in range(3))
    dead, others = (rng.permutation(CHANNELS)[: CHANNELS // 2] for _ in range(2))
    first[dead], other[others] = 0, 0
    weights = {"first": first, "last": last}
    if is_read:
        last[:, dead] = 0
    if "(h, k)" in text:
        weights["other"] = other
    zeroed = sum(int((weight == 0).sum()) for weight in weights.values())
    second = "k = Conv<pads=[1,1,1,1]>(x, other)" if "other" in weights else ""
    constants = {
        **weights,
        "ones": np.ones(CHANNELS, np.float32), "zeros": np.zeros(CHANNELS, np.float32),
        "one": np.ones(GROUPS, np.float32), "zero": np.zeros(GROUPS, np.float32), "axis": np.asarray(1),
        "all": np.asarray([CHANNELS]), "grouped": np.asarray([0, GROUPS, -1]),
        "image": np.asarray([1, CHANNELS, SIZE, SIZE]), "squares": np.asarray([1, SIZE * SIZE, 8, 8]),
        "column": np.asarray([1, 1, SIZE, SIZE]),
    }  # fmt: skip
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21]> tiny (float[{SHAPE}] x) => (float[{SHAPE}] y) '
        f"{{ h = Conv<pads=[1,1,1,1]>(x, first) {second} {text} y = Conv<pads=[1,1,1,1]>(r, last) }}"
    )
    if text.startswith("r = Identity"):
        model.graph.node[-1].CopyFrom(onnx.helper.make_node("Identity", ["r"], ["y"]))
        del constants["last"]
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    return model, zeroed


def removed(model: onnx.ModelProto, zeroed: int, options: Mapping[str, Any]) -> str:
    """The removed parameters of layers, as a share of the `zeroed` ones."""
    result = compile(model, **options)
    proof = result.report.verification
    share = (_parameters(model) - _parameters(result.model)) / zeroed
    return f"{share:.2f}" + ("" if proof is not None and proof.equal else " not shown equal")


def _parameters(model: onnx.ModelProto) -> int:
    return sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer if len(tensor.dims) > 1)


def main(words: Sequence[str]) -> int:
    """Compile each network and print; the exit code."""
    print("| reader | " + " | ".join(COMPILES) + " |\n|---|" + "---:|" * len(COMPILES), flush=True)
    for name, (text, is_read) in READERS.items():
        if words and not any(word in name for word in words):
            continue
        model, zeroed = network(text, is_read)
        cells = (removed(model, zeroed, options) for options in COMPILES.values())
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
