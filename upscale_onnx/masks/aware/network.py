"""A model as the choice of masks sees it: layers that read and create atoms of channels.

An *atom* is a set of channel classes that can only go together: one class, a head of attention, a group that is
normalised, all that the same group of a grouped convolution reads and creates, or one channel of each group. An atom
goes when every layer that reads it has dropped it. Atoms that the same layers create form a *bundle*: dropping some of
a bundle narrows the same layers, whichever they are.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.classes import Classes
from upscale_onnx.channels.flow import Even, Read, Role
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.step import Step
from upscale_onnx.costs.costs import Costs
from upscale_onnx.masks.aware.signal import signal_shares
from upscale_onnx.masks.units import is_batched, units_of
from upscale_onnx.types import BoolArray, Dims, FloatArray, IntArray

# A layer's last importance is not dropped: without it nothing is left to compute.
NEARLY_NOTHING = 1e-9
# What channels add is partly in step (their means have signs), so that the error grows faster than the importance
# that is lost, and slower than its square, with which it would were all of them in step.
_GROWTH = 1.5
# Between layers that all count alike (0) and layers that count by their share of the signal (1). Both choose
# worse masks than what lies between them, on DenseNets and on ResNets.
_BY_SIGNAL = 0.5


@dataclass(frozen=True, eq=False)
class CostedLayer:
    """A node whose time depends on how many channels it reads and creates.

    weight: what a mask of it is written into, None where it cannot be masked (it then needs all it reads).
    atoms: the atoms it reads, ascending. sizes: channels it reads of each. energy: share of its importance
    that lies in each, summing to 1. channel_atom, channel_energy: per channel, index into `atoms` and share of
    importance. created: atom per channel created. dims, axis: of the value it reads; without an axis, no selection can
    be put in front. weighs: what its losses count among those of other layers.
    """

    op: Op
    weight: str | None
    atoms: IntArray
    sizes: IntArray
    energy: FloatArray
    channel_atom: IntArray
    channel_energy: FloatArray
    created: IntArray
    dims: Dims
    axis: int | None
    weighs: float = 1.0

    def losses(self, left: FloatArray) -> FloatArray:
        """What is lost where these shares of its importance are left; to be added over layers.

        The logarithm tells how much of a signal survives all layers, and lets none be emptied cheaply.
        """
        gone = -np.log(np.clip(left, NEARLY_NOTHING, 1.0))
        return np.asarray(self.weighs * gone**_GROWTH, np.float64)

    def loss(self, left: float) -> float:
        """As `losses`, of one share."""
        gone: float = math.pow(-math.log(min(max(left, NEARLY_NOTHING), 1.0)), _GROWTH)
        return self.weighs * gone

    def time_ms(self, costs: Costs, inputs: int, outputs: int) -> float:
        """Its time with these channel counts."""
        reads = inputs if self.atoms.size else outputs
        return costs.contraction_ms(self.op, max(reads, 1), max(outputs, 1))

    def selection_ms(self, costs: Costs, picked: int) -> float:
        """The time of a Gather that hands it so many channels."""
        if self.axis is None:
            return math.inf
        return costs.selection_ms(self.dims, self.axis, picked, False, self.op.dtype(0).itemsize)

    @property
    def channels(self) -> int:
        """How many channels it reads."""
        return int(self.channel_atom.size)


@dataclass(frozen=True, eq=False)
class CostedNetwork:
    """Layers, and per atom whether it must stay (`locked`); `bundles` are sets of the other atoms."""

    layers: tuple[CostedLayer, ...]
    locked: BoolArray
    bundles: tuple[IntArray, ...]

    def concerned(self, atoms: IntArray) -> list[int]:
        """The layers that read or create any of `atoms`, ascending."""
        found: list[int] = np.flatnonzero(self._touches[:, atoms].any(axis=1)).tolist()
        return found

    @cached_property
    def _touches(self) -> BoolArray:
        """Per layer and atom, whether the layer reads or creates it."""
        touches = np.zeros((len(self.layers), self.locked.size), np.bool_)
        for row, layer in zip(touches, self.layers, strict=True):
            row[layer.atoms] = row[layer.created] = True
        return touches


def build_network(analysis: Analysis, scores: Mapping[str, tuple[str, FloatArray]]) -> CostedNetwork:
    """The layers of an analysed graph.

    scores: by node name, the weight that can be masked and one score per channel that the node reads. A
    channel of which nothing is known (a score that is not finite) must stay.
    """
    atom = _atoms(analysis)
    locked = np.zeros(atom.size, np.bool_)
    for name in (*analysis.inputs, *analysis.outputs):
        if name in analysis.maps:
            locked[atom[analysis.maps[name].labels]] = True
    layers = []
    for step, needed, signal in zip(analysis.steps, analysis.needed, signal_shares(analysis), strict=True):
        if not needed:
            continue
        layer = _layer(step, atom, scores, signal)
        if layer is not None:
            layers.append(layer)
        _lock(step, layer, atom, locked)
    return CostedNetwork(tuple(layers), locked, _bundles(layers, locked))


def _atoms(analysis: Analysis) -> IntArray:
    """Per class id, its atom."""
    joined = Classes()
    joined.unite(joined.fresh(analysis.live.size), units_of(analysis).ids)
    for step in analysis.steps:
        if len(step.flow.reads) < 2 or not step.flow.creates or is_batched(step) or step.is_grouped:
            continue
        for read in step.flow.reads:
            if read.targets is not None:
                members = np.concatenate([read.sources, read.targets])
                joined.unite(members, members[:1])
    return joined.roots()


def _layer(
    step: Step, atom: IntArray, scores: Mapping[str, tuple[str, FloatArray]], signal: float
) -> CostedLayer | None:
    out = step.flow.outputs[0] if step.flow.outputs else None
    if step.flow.role is not Role.CONTRACTION or out is None or len(out.axes) > 1:
        return None
    created = atom[out.labels.ravel()]
    reads = step.flow.reads
    if not step.flow.creates:  # depthwise, or the product of two activations
        return None if reads else _carrier(step, created)
    classes = np.concatenate([read.sources for read in reads])
    atoms, channel_atom, sizes = np.unique(atom[classes], return_inverse=True, return_counts=True)
    axis = reads[0].axis
    dims = step.op.in_dims[reads[0].input]
    weight, score = scores.get(step.op.name, (None, None))
    if (
        (axis is None and not step.is_grouped)
        or dims is None
        or score is None
        or score.size != classes.size
        or atoms.size < 2
    ):
        weight, share = None, np.zeros(classes.size)
    else:
        share = _shares(score)
    energy = np.asarray(np.bincount(channel_atom, weights=share, minlength=atoms.size), np.float64)
    return CostedLayer(
        step.op, weight, atoms, sizes, energy, channel_atom, share, created, dims or (), axis, signal**_BY_SIGNAL
    )


def _shares(score: FloatArray) -> FloatArray:
    """Share of the squared scores in each channel; infinite where a score is not finite."""
    finite = np.where(np.isfinite(score), score, 0.0)
    peak = float(np.abs(finite).max(initial=0.0))
    squares = np.square(finite / peak) if peak > 0 else np.ones(score.size)
    return np.asarray(np.where(np.isfinite(score), squares / squares.sum(), np.inf))


def _carrier(step: Step, created: IntArray) -> CostedLayer:
    """A depthwise convolution: it reads what it creates, and asks for nothing."""
    source = step.maps[0]
    none, nothing = np.zeros(0, np.int64), np.zeros(0)
    axis = source.axes[0] if source is not None and source.axes else 1
    return CostedLayer(step.op, None, none, none, nothing, none, nothing, created, step.op.in_dims[0] or (), axis)


def _lock(step: Step, layer: CostedLayer | None, atom: IntArray, locked: BoolArray) -> None:
    """What anything but a layer's own mask decides about stays as it is."""
    if step.is_grouped and layer is not None and layer.weight is None:
        for read in step.flow.reads:  # groups go with what they create, single channels stay
            locked[atom[read.sources[~np.isin(atom[read.sources], layer.created)]]] = True
    if step.flow.creates and step.flow.dense is None and not is_batched(step):
        return
    free = [_stays_even(even, atom) for even in step.flow.evens]
    for even in (even for even, is_free in zip(step.flow.evens, free, strict=True) if not is_free):
        for part in even.parts:
            locked[atom[part]] = True
    if layer is None and step.flow.role is Role.CONTRACTION and any(free):
        return  # a product of attention reads the channels of a head for nothing but this head
    if layer is not None and layer.weight is not None:
        locked[layer.atoms[~np.isfinite(layer.energy)]] = True
        return
    for read in step.flow.reads:
        if step.flow.creates or not _is_within(read, atom):
            locked[atom[read.sources]] = True


def _is_within(read: Read, atom: IntArray) -> bool:
    """Whether each result is of the atom of all that it reads, so that they go together: groups that are normalised."""
    if read.targets is None:
        return False
    made, given = atom[read.targets], atom[read.sources]
    if read.known is None or not np.array_equal(np.unique(made), np.unique(given)):
        return bool((made == given[0]).all() and (given == given[0]).all())
    return bool(np.equal.outer(made, given)[read.known.entries()].all())


def _stays_even(even: Even, atom: IntArray) -> bool:
    """Whether grids stay rectangular whichever atoms go: each row of all parts is one atom, or each column is."""
    parts = [atom[part].reshape(len(part), -1) for part in even.parts]
    first = parts[0][:, :1]
    if len(first) > 1 and all((part == first).all() for part in parts):
        return True
    wide = [part for part in parts if part.shape[1] > 1]
    return bool(wide) and all((part == part[:1]).all() for part in wide)


def _bundles(layers: list[CostedLayer], locked: BoolArray) -> tuple[IntArray, ...]:
    creators: dict[int, list[int]] = defaultdict(list)
    for number, layer in enumerate(layers):
        for one in np.unique(layer.created).tolist():
            if not locked[one]:
                creators[one].append(number)
    found: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for one, numbers in sorted(creators.items()):
        found[tuple(numbers)].append(one)
    return tuple(np.asarray(atoms, np.int64) for atoms in found.values())
