"""What masks are predicted to cost and to lose, whoever chose them."""

from __future__ import annotations

import numpy as np

from upscale_onnx.costs.costs import Costs
from upscale_onnx.costs.remembered import Remembered
from upscale_onnx.masks.aware.network import CostedLayer, CostedNetwork
from upscale_onnx.masks.pools import Masks
from upscale_onnx.types import BoolArray


def importance(network: CostedNetwork, masks: Masks) -> float:
    """What `masks` lose: the sum over layers of what each loses."""
    total = 0.0
    for layer in network.layers:
        if layer.weight is not None and layer.weight in masks:
            gone = float(layer.channel_energy[~masks[layer.weight]].sum())
            total += layer.loss(1.0 - gone)
    return total


class Predictor:
    """Predicts by a network and the target's costs.

    masks: by weight, True = kept; layers that are not there read everything.
    """

    def __init__(self, network: CostedNetwork, costs: Costs) -> None:
        self._network, self._costs = network, Remembered(costs)

    def importance(self, masks: Masks) -> float:
        """What `masks` lose."""
        return importance(self._network, masks)

    def latency_ms(self, masks: Masks) -> float:
        """Time of all layers, each of which is handed a selection where that is faster than reading what there is."""
        network = self._network
        read = [_read(layer, masks) for layer in network.layers]
        alive = network.locked.copy()
        for layer, own in zip(network.layers, read, strict=True):
            alive[layer.atoms[own]] = True
        total = 0.0
        for layer, own in zip(network.layers, read, strict=True):
            there, wanted = int(layer.sizes[alive[layer.atoms]].sum()), int(layer.sizes[own].sum())
            made = int(alive[layer.created].sum())
            whole = layer.time_ms(self._costs, there, made)
            if wanted < there:
                picked = layer.selection_ms(self._costs, wanted)
                whole = min(whole, picked + layer.time_ms(self._costs, wanted, made))
            total += whole
        return total


def _read(layer: CostedLayer, masks: Masks) -> BoolArray:
    """Per atom, whether the layer reads any of its channels."""
    if layer.weight is None or layer.weight not in masks:
        return np.ones(layer.atoms.size, np.bool_)
    read = np.zeros(layer.atoms.size, np.bool_)
    read[layer.channel_atom[masks[layer.weight]]] = True
    return read
