"""A state of pruning: what every layer has dropped, what that costs in importance and saves in time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from upscale_onnx.costs.costs import Costs
from upscale_onnx.masks.aware.network import NEARLY_NOTHING, CostedLayer, CostedNetwork
from upscale_onnx.types import BoolArray, IntArray


@dataclass(frozen=True, eq=False)
class Move:
    """Atoms to drop: by every layer that reads them, or by one `layer` alone, which is then handed a selection.

    importance: what is lost. saved_ms: what is gained.
    """

    atoms: IntArray
    layer: int | None
    importance: float
    saved_ms: float

    @property
    def price(self) -> float:
        """Importance per millisecond."""
        return self.importance / self.saved_ms


class PruningState:
    """Which atoms every layer has dropped; changed by `apply` only.

    The importance lost is the sum over layers of what each loses, as `Layer.loss` says.
    """

    def __init__(self, network: CostedNetwork, costs: Costs) -> None:
        self.network, self._costs = network, costs
        self.dropped = [_dropped_already(layer) for layer in network.layers]
        self.kept_energy = [1.0] * len(network.layers)
        self.selects = [False] * len(network.layers)
        self.importance = 0.0
        self.alive = self._initially_alive()
        self.inputs = [int(self._read(number).sum()) for number in range(len(network.layers))]
        self.outputs = [int(self.alive[layer.created].sum()) for layer in network.layers]
        self.full_ms = self.latency_ms

    def _initially_alive(self) -> BoolArray:
        alive = self.network.locked.copy()
        for layer, dropped in zip(self.network.layers, self.dropped, strict=True):
            alive[layer.atoms[~dropped]] = True
        return alive

    def _read(self, number: int) -> IntArray:
        """Channels that a layer is handed, per atom it reads."""
        layer = self.network.layers[number]
        there = ~self.dropped[number] if self.selects[number] else self.alive[layer.atoms]
        return layer.sizes * there

    @property
    def latency_ms(self) -> float:
        """Predicted time of all layers and selections."""
        return sum(
            self.time_ms(number, self.inputs[number], self.outputs[number]) for number in range(len(self.inputs))
        ) + sum(self.selection_ms(number, self.inputs[number]) for number, own in enumerate(self.selects) if own)

    @property
    def pruned(self) -> int:
        """Input channels dropped, summed over layers."""
        return sum(int(layer.sizes[gone].sum()) for layer, gone in zip(self.network.layers, self.dropped, strict=True))

    def time_ms(self, number: int, inputs: int, outputs: int) -> float:
        """Time of one layer with these channel counts."""
        return self.network.layers[number].time_ms(self._costs, inputs, outputs)

    def selection_ms(self, number: int, picked: int) -> float:
        """Time of handing a layer `picked` channels of what it reads."""
        return self.network.layers[number].selection_ms(self._costs, picked)

    def apply(self, move: Move) -> set[int]:
        """Carry out a move; returns the layers whose counts or importance changed."""
        gone = np.zeros(self.alive.size, np.bool_)
        gone[move.atoms] = True
        concerned = self.network.concerned(move.atoms)
        layers = self.network.layers
        if move.layer is None:
            for number in concerned:
                if layers[number].weight is not None:
                    self._drop(number, gone[layers[number].atoms])
            return self._remove(gone, concerned)
        self._drop(move.layer, gone[layers[move.layer].atoms])
        self.selects[move.layer] = True
        self.inputs[move.layer] = int(self._read(move.layer).sum())
        for number in concerned:
            gone[layers[number].atoms[~self.dropped[number]]] = False
        # What nobody else reads is gone altogether.
        return {move.layer} | self._remove(gone & ~self.network.locked, concerned)

    def _remove(self, gone: BoolArray, concerned: Iterable[int]) -> set[int]:
        if not gone.any():
            return set()
        self.alive &= ~gone
        touched = set()
        for number in concerned:
            layer = self.network.layers[number]
            reads, creates = bool(gone[layer.atoms].any()), bool(gone[layer.created].any())
            if reads:
                self.inputs[number] = int(self._read(number).sum())
            if creates:
                self.outputs[number] = int(self.alive[layer.created].sum())
            if reads or creates:
                touched.add(number)
        return touched

    def _drop(self, number: int, gone: BoolArray) -> None:
        layer = self.network.layers[number]
        fresh = gone & ~self.dropped[number]
        if not fresh.any():
            return
        left = max(self.kept_energy[number] - float(layer.energy[fresh].sum()), NEARLY_NOTHING)
        self.importance += layer.loss(left) - layer.loss(self.kept_energy[number])
        self.kept_energy[number] = left
        self.dropped[number] = self.dropped[number] | gone


def _dropped_already(layer: CostedLayer) -> BoolArray:
    if layer.weight is None:
        return np.zeros(layer.atoms.size, np.bool_)
    gone: BoolArray = layer.energy == 0
    return gone
