"""Objectives: numbers of a compressed model that are made small or large."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import numpy as np
import onnx

from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.model import infer_shapes
from upscale_onnx.model.stats import node_macs
from upscale_onnx.options.checking import check_group
from upscale_onnx.options.ranges import POSITIVE, POSITIVE_NUMBER
from upscale_onnx.runtime import race
from upscale_onnx.runtime.inputs import input_specs
from upscale_onnx.types import Array
from upscale_onnx.unstructured.zeros import read


class Objective(Protocol):
    """A number of a model."""

    @property
    def unit(self) -> str:
        """What it is counted in."""

    @property
    def larger_is_better(self) -> bool:
        """Whether it is made large."""

    @property
    def is_timed(self) -> bool:
        """Whether it is a matter of speed, and noisy."""

    def measure(self, model: onnx.ModelProto, smaller: onnx.ModelProto) -> tuple[float, float]:
        """The values of the model as it was given, and of the smaller one."""


@dataclass(frozen=True)
class Latency:
    """The time of one inference in onnxruntime on this machine, in ms. Both models are timed in turns.

    batch: where the model does not fix it. rounds, budget_s: as `bench` takes them.

    >>> from upscale_onnx.condensa import Latency
    >>> Latency().unit, Latency().larger_is_better
    ('ms', False)
    """

    batch: Annotated[int, POSITIVE] = 1
    threads: Annotated[int, POSITIVE] = 1
    rounds: Annotated[int, POSITIVE] = 25
    budget_s: Annotated[float, POSITIVE_NUMBER] = 10.0

    unit = "ms"
    larger_is_better = False
    is_timed = True

    def __post_init__(self) -> None:
        check_group(self)

    def measure(self, model: onnx.ModelProto, smaller: onnx.ModelProto) -> tuple[float, float]:
        """Medians of a race. The second is the first times the median ratio, so slow phases of the machine cancel."""
        before, after = race(
            {"given": model, "smaller": smaller},
            batch=self.batch,
            threads=self.threads,
            rounds=self.rounds,
            budget_s=self.budget_s,
        ).timings
        return before.median_ms, before.median_ms * after.ratio


@dataclass(frozen=True)
class Throughput(Latency):
    """Samples a second in onnxruntime on this machine. The arguments are those of `Latency`.

    >>> from upscale_onnx.condensa import Throughput
    >>> Throughput().unit, Throughput().larger_is_better
    ('samples/s', True)
    """

    unit = "samples/s"
    larger_is_better = True

    def measure(self, model: onnx.ModelProto, smaller: onnx.ModelProto) -> tuple[float, float]:
        """Samples of a batch over the times of a race."""
        dims = input_specs(model)[0].dims or (None,)
        batch = dims[0] if isinstance(dims[0], int) else self.batch
        before, after = super().measure(model, smaller)
        return 1e3 * batch / before, 1e3 * batch / after


@dataclass(frozen=True)
class Size:
    """What is left of the constants of layers: numbers other than zero, or their bytes, without those of an index.

    >>> from upscale_onnx.condensa import Size
    >>> Size("bytes").larger_is_better
    False
    """

    of: Literal["parameters", "bytes"] = "parameters"

    larger_is_better = False
    is_timed = False

    def __post_init__(self) -> None:
        check_group(self)

    @property
    def unit(self) -> str:
        """Parameters or bytes."""
        return self.of

    def measure(self, model: onnx.ModelProto, smaller: onnx.ModelProto) -> tuple[float, float]:
        """The sums over all floating-point constants."""
        return self._counted(model), self._counted(smaller)

    def _counted(self, model: onnx.ModelProto) -> float:
        sizes = ((np.count_nonzero(a), a.itemsize if self.of == "bytes" else 1) for _, a in _constants(model))
        return float(sum(count * size for count, size in sizes))


@dataclass(frozen=True)
class MACs:
    """Multiply-accumulates of one inference by weights other than zero. Dynamic sizes count as 1.

    >>> from upscale_onnx.condensa import MACs
    >>> MACs().unit, MACs().larger_is_better
    ('MACs', False)
    """

    unit = "MACs"
    larger_is_better = False
    is_timed = False

    def measure(self, model: onnx.ModelProto, smaller: onnx.ModelProto) -> tuple[float, float]:
        """The sums over all layers."""
        return _macs(model), _macs(smaller)


def _macs(model: onnx.ModelProto) -> float:
    shapes = infer_shapes(model)
    used = {name: np.count_nonzero(array) / max(array.size, 1) for name, array in _constants(model)}
    shares = (min((used.get(name, 1.0) for name in node.input[:2]), default=1.0) for node in model.graph.node)
    return float(sum(node_macs(node, shapes) * share for node, share in zip(model.graph.node, shares, strict=True)))


def _constants(model: onnx.ModelProto) -> Iterator[tuple[str, Array]]:
    for name, tensor in constant_tensors(model).items():
        array = read(tensor, name)
        if array.dtype.kind in "fV":
            yield name, array
