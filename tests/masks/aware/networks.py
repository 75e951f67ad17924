"""Chains of convolutions as the choice of masks sees them, and prices by whole blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from upscale_onnx.channels.op import Op
from upscale_onnx.masks.aware.network import CostedLayer, CostedNetwork
from upscale_onnx.types import Dims, FloatArray

BLOCK = 4


@dataclass(frozen=True)
class BlockPrices:
    """A contraction costs its blocks read times its blocks created, times the weight in its attribute."""

    align: int = BLOCK
    selection: float = 1e9

    def contraction_ms(self, op: Op, channels_in: int, channels_out: int) -> float:
        return float(op.attrs["cost"]) * -(-channels_in // self.align) * -(-channels_out // self.align)

    def selection_ms(self, dims: Dims, axis: int, picked: int, contiguous: bool, itemsize: int = 4) -> float:
        return self.selection

    def join_ms(self, dims: Dims, axis: int, joined: int, itemsize: int = 4) -> float:
        return 0.0


def chain(energies: Sequence[FloatArray], costs: Sequence[float], weighs: Sequence[float] = ()) -> CostedNetwork:
    """Layers one behind the other: the first reads what must stay, layer i reads one atom per entry of
    energies[i - 1]; the last creates what must stay. `costs` has one entry more than `energies`;
    weighs: what the losses of layers 1, 2, … count, 1 where left out."""
    sizes = [BLOCK, *(e.size for e in energies), BLOCK]
    starts = np.cumsum([0, *sizes])
    layers = []
    for number, cost in enumerate(costs):
        atoms = np.arange(starts[number], starts[number + 1])
        created = np.arange(starts[number + 1], starts[number + 2])
        share = energies[number - 1] / energies[number - 1].sum() if number else np.zeros(atoms.size)
        layers.append(
            CostedLayer(
                op=Op("Conv", name=f"conv{number}", attrs={"cost": cost}),
                weight=f"w{number}" if number else None,
                atoms=atoms,
                sizes=np.ones(atoms.size, np.int64),
                energy=share,
                channel_atom=np.arange(atoms.size),
                channel_energy=share,
                created=created,
                dims=(1, int(atoms.size), 1, 1),
                axis=1,
                weighs=weighs[number - 1] if number and weighs else 1.0,
            )
        )
    locked = np.zeros(starts[-1], np.bool_)
    locked[: sizes[0]] = locked[starts[-2] :] = True
    bundles = tuple(np.arange(starts[i + 1], starts[i + 2]) for i in range(len(energies)))
    return CostedNetwork(tuple(layers), locked, bundles)
