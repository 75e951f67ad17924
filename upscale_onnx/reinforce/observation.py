"""What a policy sees before a decision: what its channels mean to the loss, and which layer they are of.

Source: Venkatesan et al., "Out-of-the-box Channel Pruned Networks", 2020, equations 9 and 13; the layer by He et al.,
"AMC: AutoML for Model Compression", ECCV 2018, section 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from upscale_onnx.candidates.space import Space
from upscale_onnx.masks.targets import MaskTarget, mask_targets
from upscale_onnx.model import Shape, infer_shapes
from upscale_onnx.model.bodies import all_nodes
from upscale_onnx.model.stats import node_macs
from upscale_onnx.pruning.class_scores import taylor_scores
from upscale_onnx.pruning.evidence import Evidence
from upscale_onnx.reinforce.networks import Network
from upscale_onnx.types import FloatArray

Observation = NDArray[np.float32]

_LAYER = ("index", "n", "c", "h", "w", "stride", "k")
_COSTS = ("macs", "reduced", "rest", "previous", "params", "params_reduced", "params_rest")
DESCRIPTORS = (*_LAYER, *_COSTS)
"""Of a layer, all from 0 to 1. index: of the decision. n, c: channels that the layer makes and reads. h, w: of what it
reads. k: of its window. macs, reduced, rest: multiply-accumulates of the decision's layers, those that decisions before
it have removed, and those of layers behind it, as shares of all. previous: the action before. The last three are the
same of weights, which is what a compression counts: without them, a network of 10 classes looks like one of 100."""


@dataclass(frozen=True, eq=False)
class Descriptions:
    """rows: (decisions, 7), the descriptors up to "k". macs, params: (decisions,), shares of all decisions' layers."""

    rows: FloatArray
    macs: FloatArray
    params: FloatArray

    @classmethod
    def of(cls, space: Space) -> Descriptions:
        """The descriptions of the decisions of `space`. A decision of several layers is described by its first one; its
        multiply-accumulates and weights are those of all."""
        shapes = infer_shapes(space.dense)
        targets = {target.weight: target for target in mask_targets(space.dense)}
        nodes = {name: node for node in reversed(all_nodes(space.dense)) for name in node.input}
        rows, macs, params = [], [], []
        for index, decision in enumerate(space.decisions):
            first = decision.weights[0]
            rows.append([index, *_sizes(nodes.get(first), targets[first], shapes)])
            macs.append(sum(node_macs(nodes[name], shapes) for name in decision.weights if name in nodes))
            params.append(sum(math.prod(targets[name].shape) for name in decision.weights))
        found = np.asarray(rows, np.float64)
        return cls(found / np.maximum(found.max(axis=0), 1.0), _shares(macs), _shares(params))

    def row(self, index: int, kept: Sequence[float]) -> FloatArray:
        """The descriptors of decision `index`. kept: the share (0 to 1) that each decision keeps so far.

        What a decision removes is counted on its own layers: what their producers save is not.
        """
        removed = 1.0 - np.asarray(kept[:index], np.float64)
        macs, params = (
            (costs[index], costs[:index] @ removed, costs[index + 1 :].sum()) for costs in (self.macs, self.params)
        )
        return np.array([*self.rows[index], *macs, kept[index - 1] if index else 1.0, *params])


def taylor_features(network: Network, model: onnx.ModelProto, index: int) -> FloatArray:
    """One number for each channel of decision `index`: how much the loss of `model` would change without it, to first
    order, divided by the L2 norm of all. `model` is the network with channels zeroed, which have 0.

    The norm is that of Molchanov et al. (ICLR 2017), section 2.2: it makes networks of different losses comparable.
    """
    space = network.space
    weights = space.decisions[index].weights
    evidence = Evidence(model, space.options.replaced(criterion="taylor"), [network.images], network.labels)
    found = space.by_channel(index, taylor_scores(evidence, weights))
    length = float(np.linalg.norm(found))
    return found / length if length > 0 else found


def assembled(features: FloatArray, width: int, descriptors: FloatArray) -> Observation:
    """Features, filled with zeros up to `width`, and descriptors in one vector of numbers from 0 to 1."""
    padded = np.concatenate([features, np.zeros(width - features.size), descriptors])
    return np.asarray(np.clip(np.nan_to_num(padded, nan=0.0), 0.0, 1.0), np.float32)


def observed_width(space: Space) -> int:
    """The channels of the widest decision."""
    return max(decision.channels for decision in space.decisions)


def _shares(counts: Sequence[int]) -> FloatArray:
    found: FloatArray = np.asarray(counts, np.float64) / max(sum(counts), 1)
    return found


def _sizes(node: onnx.NodeProto | None, target: MaskTarget, shapes: dict[str, Shape]) -> list[float]:
    """n, c, h, w, stride and k of a layer; 1 where it has no such size."""
    made, read = target.channels("output"), target.channels("input")
    dims = shapes[node.input[0]].dims if node is not None and node.input[0] in shapes else None
    image = [size if isinstance(size, int) else 1 for size in (dims or ())[2:4]] if target.op_type != "Gemm" else []
    height, width = (*image, 1, 1)[:2]
    strides = [] if node is None else [list(a.ints) for a in node.attribute if a.name == "strides"]
    window = [size for axis, size in enumerate(target.shape) if axis not in (target.input_axis, target.output_axis)]
    return [made, read, height, width, strides[0][0] if strides else 1, window[-1] if window else 1]
