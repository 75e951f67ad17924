"""Schemes: what is pruned of which layers, composed of operators.

A scheme's compression maps weights to weights of the same shapes, with zeros where they are pruned. Its decompression
is the identity.

Source: Joseph et al., "A Programmable Approach to Model Compression", 2019, the section on compression schemes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np

from upscale_onnx.condensa.layers import Layer
from upscale_onnx.condensa.operators import Norm, block_prune, filter_prune, neuron_prune, prune
from upscale_onnx.errors import ArgumentError
from upscale_onnx.options.checking import check_group
from upscale_onnx.options.ranges import POSITIVE, Range
from upscale_onnx.types import Array, BoolArray

Weights = Mapping[str, Array]
DENSITY = Range("a share above 0 and at most 1", lambda value: 0 < value <= 1)


class Scheme(ABC):
    """A map from weights to compressed weights."""

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether a density is left to the search."""

    @abstractmethod
    def at(self, density: float) -> Scheme:
        """The scheme with `density` wherever it is left open."""

    @abstractmethod
    def masks(self, weights: Weights, layers: Sequence[Layer]) -> dict[str, BoolArray]:
        """Masks, True = kept, of the weights and biases that the scheme compresses, by name.

        Raises: ArgumentError where it compresses no layer, or names one that is not there.
        """

    def compress(self, weights: Weights, layers: Sequence[Layer]) -> dict[str, Array]:
        """The compressed weights, of those that the scheme compresses. Raises: as `masks`."""
        return {name: np.where(kept, weights[name], 0) for name, kept in self.masks(weights, layers).items()}


@dataclass(frozen=True)
class Operator(Scheme):
    """A scheme of one operator.

    density: the share that each layer keeps; None leaves it to the search.
    layers, ignore: glob patterns for names of nodes or weights; without `layers`, all that the operator can prune.
    """

    density: Annotated[float, DENSITY] | None = None
    layers: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    name: ClassVar[str]

    def __post_init__(self) -> None:
        check_group(self)

    @property
    def is_open(self) -> bool:
        """Whether the density is left to the search."""
        return self.density is None

    def at(self, density: float) -> Scheme:
        """The scheme with `density`, if it is left open."""
        return replace(self, density=density) if self.is_open else self

    def masks(self, weights: Weights, layers: Sequence[Layer]) -> dict[str, BoolArray]:
        """Masks by name. Raises: ArgumentError where the density is open, or no layer is chosen."""
        if self.density is None:
            raise ArgumentError(f"{self.name} has no density: give one, or leave it to a compressor to search for it")
        found: dict[str, BoolArray] = {}
        for layer in self._chosen(layers):
            kept = self.kept(weights[layer.weight], layer, self.density)
            found[layer.weight] = kept
            if layer.bias in weights and self.prunes_outputs:
                found[str(layer.bias)] = np.asarray(kept.any(axis=_others(kept.ndim, layer.axis)))
        return found

    prunes_outputs: ClassVar[bool] = False
    """Whether whole channels go, and their biases with them."""

    @abstractmethod
    def takes(self, layer: Layer) -> bool:
        """Whether the operator can prune `layer`."""

    @abstractmethod
    def kept(self, weight: Array, layer: Layer, density: float) -> BoolArray:
        """The mask of one weight."""

    def _chosen(self, layers: Sequence[Layer]) -> list[Layer]:
        taken = [layer for layer in layers if self.takes(layer)]
        for patterns, known in ((self.layers, taken), (self.ignore, layers)):
            for pattern in patterns:
                if not any(layer.parameter.matches(pattern) for layer in known):
                    raise ArgumentError(f"{self.name}: {pattern!r} is the name of no layer that it can prune")
        chosen = [layer for layer in taken if _is_chosen(layer, self.layers, self.ignore)]
        if not chosen:
            raise ArgumentError(f"{self.name}: the model has no layer that it can prune")
        return chosen


@dataclass(frozen=True)
class Prune(Operator):
    """Keeps the entries of highest magnitude in each layer.

    >>> from upscale_onnx.condensa import Prune
    >>> Prune(0.5).density
    0.5
    """

    name = "prune"

    def takes(self, layer: Layer) -> bool:
        """Any layer."""
        return True

    def kept(self, weight: Array, layer: Layer, density: float) -> BoolArray:
        """As `operators.prune`."""
        return prune(weight, density)


@dataclass(frozen=True)
class FilterPrune(Operator):
    """Keeps the filters of highest norm in each convolution; biases go with them.

    >>> from upscale_onnx.condensa import FilterPrune
    >>> FilterPrune(0.5, norm="l2").norm
    'l2'
    """

    norm: Norm = "l1"

    name = "filter_prune"
    prunes_outputs = True

    def takes(self, layer: Layer) -> bool:
        """Convolutions whose filters may go."""
        return layer.is_prunable and layer.has("Conv", "ConvTranspose")

    def kept(self, weight: Array, layer: Layer, density: float) -> BoolArray:
        """As `operators.filter_prune`."""
        return filter_prune(weight, density, layer.axis, self.norm)


@dataclass(frozen=True)
class NeuronPrune(Operator):
    """Keeps the neurons of highest norm in each matrix product; biases go with them.

    >>> from upscale_onnx.condensa import NeuronPrune
    >>> NeuronPrune(0.5).density
    0.5
    """

    norm: Norm = "l1"

    name = "neuron_prune"
    prunes_outputs = True

    def takes(self, layer: Layer) -> bool:
        """Matrix products whose neurons may go."""
        return layer.is_prunable and layer.has("Gemm", "MatMul") and len(layer.parameter.shape) == 2

    def kept(self, weight: Array, layer: Layer, density: float) -> BoolArray:
        """As `operators.neuron_prune`."""
        return neuron_prune(weight, density, layer.axis, self.norm)


@dataclass(frozen=True)
class BlockPrune(Operator):
    """Keeps the blocks of highest norm in each layer, as a matrix of what it makes by what it reads.

    >>> from upscale_onnx.condensa import BlockPrune
    >>> BlockPrune(0.5, block_size=(4, 1)).block_size
    (4, 1)
    """

    block_size: tuple[Annotated[int, POSITIVE], Annotated[int, POSITIVE]] = (4, 1)
    norm: Norm = "l1"

    name = "block_prune"

    def takes(self, layer: Layer) -> bool:
        """Any layer."""
        return True

    def kept(self, weight: Array, layer: Layer, density: float) -> BoolArray:
        """As `operators.block_prune`."""
        return block_prune(weight, density, self.block_size, layer.axis, self.norm)


@dataclass(frozen=True)
class Compose(Scheme):
    """Schemes one after the other: each compresses what those before it have made.

    >>> from upscale_onnx.condensa import Compose, FilterPrune, NeuronPrune
    >>> Compose([FilterPrune(0.5), NeuronPrune()]).is_open
    True
    """

    schemes: Sequence[Scheme]

    def __post_init__(self) -> None:
        object.__setattr__(self, "schemes", tuple(self.schemes))
        if not self.schemes or not all(isinstance(scheme, Scheme) for scheme in self.schemes):
            raise ArgumentError("a composition takes schemes: give at least one, such as Prune() or FilterPrune()")

    @property
    def is_open(self) -> bool:
        """Whether one of them leaves a density to the search."""
        return any(scheme.is_open for scheme in self.schemes)

    def at(self, density: float) -> Scheme:
        """The schemes with `density` wherever it is left open."""
        return Compose([scheme.at(density) for scheme in self.schemes])

    def masks(self, weights: Weights, layers: Sequence[Layer]) -> dict[str, BoolArray]:
        """What all of them keep. Raises: as each of them."""
        now, found = dict(weights), dict[str, BoolArray]()
        for scheme in self.schemes:
            for name, kept in scheme.masks(now, layers).items():
                found[name] = found[name] & kept if name in found else kept
                now[name] = np.where(kept, now[name], 0)
        return found


def _others(axes: int, axis: int) -> tuple[int, ...]:
    return tuple(i for i in range(axes) if i != axis)


def _is_chosen(layer: Layer, layers: Sequence[str], ignore: Sequence[str]) -> bool:
    named = not layers or any(layer.parameter.matches(pattern) for pattern in layers)
    return named and not any(layer.parameter.matches(pattern) for pattern in ignore)
