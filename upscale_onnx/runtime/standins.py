"""Stand-ins: nodes with the operator shapes of a model, at other channel counts, in a small graph to time them.

Each stand-in is a branch of its own, from one input to one output. The branches of a graph run one after the other.
So other nodes use the caches between two runs of a node, as in a model. The input of a node is written just before
it, and its output is read and released just behind it, as in a model. So inputs are in the caches, and outputs reuse
memory.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.model.kernels import ALONE, Kernel, kernel_key
from upscale_onnx.model.operators import CONVOLUTIONS, MATRIX_PRODUCTS
from upscale_onnx.model.workloads import BLOCKED, Workload
from upscale_onnx.types import Array

_FRACTIONS = (1.0, 0.75, 0.5, 0.25)
_MOST_COUNTS = 6
_LARGE_WEIGHT = 2**22  # for weights with more elements, fewer channel counts are tried
_OPSET, _IR_VERSION = 17, 8
_DTYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}
_PICKED = 0.5  # the share of the channels that a selection takes
# How often the elements of the whole value are read and written together.
_MOVED = {"Slice": 1.0 + _PICKED, "Gather": 1.0 + _PICKED, "Concat": 2.0, "Add": 3.0}

Feed = dict[str, Array]


def stand_ins(kernels: Iterable[Kernel], block: int) -> tuple[Kernel, ...]:
    """The nodes to time for a model that executes `kernels`; those with the most multiply-accumulates come first."""
    counts: dict[Workload, list[tuple[int, int]]] = defaultdict(list)
    for kernel in kernels:
        if kernel.workload is not None and kernel.workload.dtype in _DTYPES:
            counts[kernel.workload].append((kernel.channels_in, kernel.channels_out))
    work = {workload: sum(workload.macs(*pair) for pair in pairs) for workload, pairs in counts.items()}
    found = []
    for workload in sorted(work, key=lambda w: -work[w]):
        points = _candidates(workload, counts[workload], block)
        found += [_contraction(workload, *point) for point in sorted(points, reverse=True)]
        found += _unaligned(workload, counts[workload], block)
        found += _moves(workload, max(pair[0] for pair in counts[workload]), block)
    return tuple({(k.workload or k.key, k.channels_in, k.channels_out, k.moved): k for k in found}.values())


def stand_in_model(kernels: Sequence[Kernel], seed: int = 0, bare: bool = False) -> tuple[onnx.ModelProto, Feed]:
    """A model with one branch per stand-in, and its inputs. With `bare`, a branch is the node and nothing else."""
    rng = np.random.default_rng(seed)
    pool = rng.standard_normal(1 << 16).astype(np.float32)
    builder = _Builder(pool, bare)
    for number, kernel in enumerate(kernels):
        if kernel.workload is not None:
            builder.contraction(f"n{number}", kernel.workload, kernel.channels_in, kernel.channels_out)
        else:
            builder.move(f"n{number}", kernel)
    return builder.model(), builder.feed


def size_of(kernel: Kernel) -> int:
    """Roughly, the number of elements in the weights and activations of a stand-in."""
    workload = kernel.workload
    if workload is None:
        return kernel.moved // 4
    pairs = kernel.channels_out * (workload.per_group[0] if workload.per_group else kernel.channels_in)
    ends = kernel.channels_in * math.prod(workload.spatial) + kernel.channels_out * math.prod(workload.out_spatial)
    return pairs * math.prod(workload.window) + workload.rows * ends


def _contraction(workload: Workload, channels_in: int, channels_out: int) -> Kernel:
    return Kernel("", workload.op_type, "", 0, workload, channels_in, channels_out, ALONE)


def _candidates(workload: Workload, pairs: Sequence[tuple[int, int]], block: int) -> set[tuple[int, int]]:
    """Pairs of input and output channel counts: those of the model, and shares of them from 1/4 up, in whole blocks."""
    points = set(pairs)
    if workload.per_group:
        per_in, per_out = workload.per_group
        step = max(block // per_out, 1)
        groups = _axis([pair[1] // per_out for pair in pairs], step)
        return points | {(g * per_in, g * per_out) for g in groups}
    weight = max(pair[0] * pair[1] for pair in pairs) * math.prod(workload.window)
    if weight > _LARGE_WEIGHT:
        return points | {(_share(n, f, block), m) for n, m in set(pairs) for f in (0.75, 0.5)}
    ins = _axis([pair[0] for pair in pairs], block)
    outs = _axis([pair[1] for pair in pairs], block)
    return points | {(n, m) for n in ins for m in outs}


def _axis(counts: Sequence[int], block: int) -> list[int]:
    """Channel counts for one axis: shares of each count of the model, or six geometric steps if these are too many."""
    different = sorted(set(counts))
    if different[-1] < block:
        return different
    wanted = {_share(count, fraction, block) for count in different for fraction in _FRACTIONS}
    if len(wanted) <= _MOST_COUNTS:
        return sorted(wanted)
    low, high = min(wanted), max(wanted)
    return sorted({_share(high, f, block) for f in np.geomspace(low / high, 1.0, _MOST_COUNTS)})


def _share(count: int, fraction: float, block: int) -> int:
    if count < block:
        return count
    return max(-(-round(count * fraction) // block) * block, block)


def _unaligned(workload: Workload, pairs: Sequence[tuple[int, int]], block: int) -> list[Kernel]:
    """Stand-ins with odd channel counts, just below the largest and below half of it: no blocked kernel takes these."""
    if workload.layout != BLOCKED or workload.per_group:
        return []
    channels_in, channels_out = max(pairs)
    if channels_in <= block:
        return []
    return [
        _contraction(replace(workload, layout="plain"), channels_in - 1, channels_out),
        _contraction(replace(workload, layout="plain"), -(-channels_in // 2) // 2 * 2 - 1, channels_out),
    ]


def _moves(workload: Workload, channels: int, block: int) -> list[Kernel]:
    """Stand-ins for the Slice, Gather, Concat and Add of the value that a contraction reads."""
    if workload.op_type not in CONVOLUTIONS or workload.dtype != "float32" or channels < 2 * block:
        return []
    found = []
    for op_type in _MOVED:
        for count in sorted({channels, _share(channels, 0.5, block)}, reverse=True):
            full = (workload.rows, count, *workload.spatial)
            moved = int(4 * _MOVED[op_type] * math.prod(full))
            found.append(Kernel("", op_type, kernel_key(op_type, full, {}), moved))
    return found


class _Builder:
    """Collects branches. Each weight is cut from another place of a pool of random numbers, so that the optimiser does
    not merge equal weights."""

    def __init__(self, pool: Array, bare: bool) -> None:
        self._pool, self._bare = pool, bare
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._weights: list[onnx.TensorProto] = []
        self.feed: Feed = {}

    def contraction(self, name: str, workload: Workload, channels_in: int, channels_out: int) -> None:
        attrs: dict[str, Any] = {}
        if workload.op_type in MATRIX_PRODUCTS:
            dims: tuple[int, ...] = (workload.rows, channels_in)
            weight: tuple[int, ...] = (channels_in, channels_out)
        else:
            dims = (workload.rows, channels_in, *workload.spatial)
            group = channels_in // workload.per_group[0] if workload.per_group else 1
            first, second = channels_out, channels_in // group
            if workload.op_type == "ConvTranspose":
                first, second = channels_in, channels_out // group
            weight = (first, second, *workload.window)
            attrs = {
                "group": group,
                "kernel_shape": workload.window,
                "strides": workload.strides,
                "dilations": workload.dilations,
                "pads": workload.pads,
            }
        inputs = [self._input(f"{name}_x", dims, workload.dtype), self._weight(f"{name}_w", weight, workload.dtype)]
        if workload.op_type != "MatMul":
            inputs.append(self._weight(f"{name}_b", (channels_out,), workload.dtype))
        self._node(workload.op_type, name, inputs, workload.dtype, attrs)

    def move(self, name: str, kernel: Kernel) -> None:
        spatial = tuple(int(n) for n in kernel.key.split("/")[1].split("x") if n)
        channels = round(kernel.moved / 4 / _MOVED[kernel.op_type] / math.prod(spatial))
        full, picked = (1, channels, *spatial), round(channels * _PICKED)
        inputs, attrs = [self._input(f"{name}_x", full, "float32")], {}
        if kernel.op_type == "Slice":
            inputs += [
                self._integers(f"{name}_{i}", [value]) for i, value in enumerate((0, picked, 1))
            ]  # start, end, axis
        elif kernel.op_type == "Gather":
            index = np.arange(0, channels, channels / picked).astype(np.int64)[:picked]
            inputs, attrs = [*inputs, self._integers(f"{name}_i", index.tolist())], {"axis": 1}
        elif kernel.op_type == "Add":
            inputs.append(self._input(f"{name}_y", full, "float32"))
        else:
            halves = (channels // 2, channels - channels // 2)
            self._inputs.pop()
            self.feed.pop(inputs[0])
            inputs = [self._input(f"{name}_{i}", (1, half, *spatial), "float32") for i, half in enumerate(halves)]
            attrs = {"axis": 1}
        self._node(kernel.op_type, name, inputs, "float32", attrs)

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(self._nodes, "stand_ins", self._inputs, self._outputs, self._weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)

    def _node(self, op_type: str, name: str, inputs: list[str], dtype: str, attrs: Mapping[str, Any]) -> None:
        spatial = list(range(2, self.feed[inputs[0]].ndim))
        if self._bare or not spatial or dtype != "float32":
            self._nodes.append(helper.make_node(op_type, inputs, [f"{name}_out"], name=name, **attrs))
        else:
            inputs = [self._written(given) if given in self.feed else given for given in inputs]
            self._nodes.append(helper.make_node(op_type, inputs, [f"{name}_made"], name=name, **attrs))
            mean = helper.make_node("ReduceMean", [f"{name}_made"], [f"{name}_out"], name=f"{name}_mean", axes=spatial)
            self._nodes.append(mean)
        self._outputs.append(helper.make_tensor_value_info(f"{name}_out", _DTYPES[dtype], None))

    def _written(self, name: str) -> str:
        """The name of the input's value after a node that writes it anew."""
        self._nodes.append(helper.make_node("Neg", [name], [f"{name}_neg"], name=f"{name}_neg"))
        return f"{name}_neg"

    def _input(self, name: str, dims: Sequence[int], dtype: str) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, _DTYPES[dtype], list(dims)))
        self.feed[name] = self._random(math.prod(dims)).reshape(dims).astype(dtype)
        return name

    def _weight(self, name: str, dims: Sequence[int], dtype: str) -> str:
        values = self._random(math.prod(dims)).reshape(dims) / np.float32(max(math.prod(dims[1:]), 1)) ** 0.5
        self._weights.append(numpy_helper.from_array(values.astype(dtype), name))
        return name

    def _integers(self, name: str, values: Sequence[int]) -> str:
        self._weights.append(numpy_helper.from_array(np.asarray(values, np.int64), name))
        return name

    def _random(self, count: int) -> Array:
        self._pool = np.roll(self._pool, 1 + len(self._weights))
        return np.resize(self._pool, count)
