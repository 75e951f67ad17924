"""What a rule returns: how channels flow through a node, and how the node shrinks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, Protocol

import numpy as np

from upscale_onnx.channels.channel_map import ChannelMap, known_map
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.pattern import Pattern
from upscale_onnx.types import Array, BoolArray, FloatArray, IntArray

Maps = tuple[ChannelMap | None, ...]
Emissions = tuple[IntArray | None, ...]


class Role(Enum):
    """What a node does to the channels that pass through it. Its reads and ties say this for each channel."""

    CONTRACTION = auto()
    """Sums products, of channels and a weight or of two activations."""
    POINTWISE = auto()
    """Computes each element from the elements of its operands at the same place, after broadcasting."""
    POOLING = auto()
    """Computes each element from its neighbours in the same channel."""
    SELECTION = auto()
    """Returns some indices along one axis."""
    JOIN = auto()
    """Concatenates its operands."""
    CARRIER = auto()
    """Any other node that a rule looks through."""
    BARRIER = auto()
    """A node that no rule looks through."""


@dataclass(frozen=True)
class Read:
    """Channels that a node reads by weights, or as a whole.

    input: index of the input read. axis: the input's axis along which the positions lie, None where no
    selection can be put in front. sources: `(n_in,)`, the classes at those positions. targets: `(n_out,)`,
    the classes computed from them; None: the result is always live. pattern: `(n_out, n_in)` bool, which
    target reads which position; None: every target reads all. foldable: `(n_in,)` bool, the positions whose
    constant content can move into the bias.
    """

    input: int
    sources: IntArray
    targets: IntArray | None = None
    pattern: BoolArray | Pattern | None = None
    axis: int | None = None
    foldable: BoolArray | None = None

    def __post_init__(self) -> None:
        if isinstance(self.pattern, np.ndarray):
            object.__setattr__(self, "pattern", Pattern.of(self.pattern))

    @property
    def known(self) -> Pattern | None:
        """The pattern in the form in which it is held."""
        return self.pattern if isinstance(self.pattern, Pattern) else None

    def resolved(self, roots: IntArray) -> Read:
        """This read with each class id replaced by its root."""
        return replace(self, sources=roots[self.sources], targets=None if self.targets is None else roots[self.targets])


@dataclass(frozen=True)
class Even:
    """Grids of classes that must stay rectangular together.

    Each part is a grid `(rows, …)`. All rows in use keep the same number of entries along every axis; if `aligned`,
    the same entries. A row is in use in one part if and only if it is in use in all parts.
    """

    parts: tuple[IntArray, ...]
    aligned: bool = False


@dataclass(frozen=True)
class Flow:
    """How channels pass through a node.

    outputs: the map of each output, None for unknown rank; those at the end that are never used may be left out. ties:
    pairs of label arrays whose classes become one. reads: the channels that are consumed. evens: grids that must stay
    rectangular. fixed: classes whose order must stay as it is. creates: whether the node's weights create the output's
    channels (a producer). fragile: classes that must not be mere padding, since this node may turn their zeros into NaN
    or infinity. droppable: whether the node can run without an input of which no channel is left. picks: per output,
    the positions that it takes along the only channel axis of the first input; None where the node does anything else.
    linear: whether results of parts of the channels add up to the result. inner: the map of a value within the node,
    which is no output of it. carried: inputs that a body was handed, with what it hands on to its next round.
    """

    outputs: tuple[ChannelMap | None, ...]
    ties: tuple[tuple[IntArray, IntArray], ...] = ()
    reads: tuple[Read, ...] = ()
    evens: tuple[Even, ...] = ()
    fixed: tuple[IntArray, ...] = ()
    creates: bool = False
    fragile: tuple[IntArray, ...] = ()
    droppable: bool = False
    role: Role = Role.CARRIER
    picks: tuple[IntArray, ...] | None = None
    linear: bool = True
    inner: ChannelMap | None = None
    carried: tuple[tuple[int, FloatArray], ...] = ()

    @property
    def dense(self) -> Read | None:
        """The read by which a weight creates channels, where each may read every input channel; None for other nodes
        and for several groups."""
        return self.reads[0] if self.creates and len(self.reads) == 1 else None

    @property
    def selected(self) -> Read | None:
        """The read that a selection can be put in front of; None where there is none."""
        return next((read for read in self.reads if read.axis is not None), None) if self.creates else None

    def resolved(self, roots: IntArray, outputs: Maps) -> Flow:
        """This flow with each class id replaced by its root, and without ties, which are done. outputs: the maps of the
        outputs, with roots."""
        return replace(
            self,
            outputs=outputs,
            ties=(),
            reads=tuple(read.resolved(roots) for read in self.reads),
            evens=tuple(replace(even, parts=tuple(roots[part] for part in even.parts)) for even in self.evens),
            fixed=tuple(roots[labels] for labels in self.fixed),
            fragile=tuple(roots[labels] for labels in self.fragile),
            inner=None if self.inner is None else self.inner.resolved(roots),
        )


@dataclass(frozen=True)
class Resize:
    """How a node changes when its inputs hold other channels.

    outputs: the emission of each output that the flow names. constants: new constant inputs by index. computed: nodes
    that compute new inputs, by index. attrs: changed attributes. drop: indices of inputs to disconnect, those behind
    move up. absent: indices of optional inputs to leave out. alias: the input that the node returns unchanged. replace:
    nodes to put in its place, which may read its inputs as they are then.
    """

    outputs: tuple[IntArray, ...]
    constants: Mapping[int, Array] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)
    drop: tuple[int, ...] = ()
    absent: tuple[int, ...] = ()
    alias: int | None = None
    replace: tuple[NewNode, ...] | None = None
    computed: Mapping[int, NewNode] = field(default_factory=dict)


class Fresh(Protocol):
    """A function that returns the ids of new channel classes."""

    def __call__(self, count: int) -> IntArray: ...


class EmissionChooser(Protocol):
    """What the plan decided about a vector of classes."""

    def positions(self, labels: IntArray) -> IntArray:
        """The positions to emit, in the order in which they are emitted."""
        ...

    def free(self, labels: IntArray) -> bool:
        """Whether the order of these classes is free, so that a selection may keep the order of its input."""
        ...

    def live(self, labels: IntArray) -> BoolArray:
        """Which of the classes are demanded; others are padding."""
        ...


class Misaligned(Exception):
    """Operands of a node emit channels in different orders. The classes `labels` must keep their original order."""

    def __init__(self, *labels: IntArray) -> None:
        super().__init__("operands do not line up")
        self.labels = labels
        self.node = ""


@dataclass(frozen=True, eq=False)
class Request:
    """What a node is resized by.

    maps: the map of each input. emissions: what each input holds now. out: the map of each output. choose: what the
    plan decided. groups: in how many groups a grouped contraction is computed, if the plan decided that. inner: the map
    of the value within the node, if the flow names one.
    """

    maps: Maps
    emissions: Emissions
    out: Maps
    choose: EmissionChooser
    groups: int | None = None
    inner: ChannelMap | None = None

    def first_input(self) -> tuple[ChannelMap, IntArray]:
        """The map of the first input, and its emission. Raises `Misaligned` where there is none."""
        found, emission = known_map(self.maps[0]), self.emissions[0]
        if emission is None:
            raise Misaligned(found.labels)
        return found, emission

    @property
    def result(self) -> ChannelMap:
        """The map of the first output."""
        return known_map(self.out[0], "the result")


class Rule(ABC):
    """How one operator moves channels. Both methods return data and edit nothing.

    data_inputs: the number of leading inputs that hold channels; None: all. Inputs behind them (shapes, bounds) are
    read whole where they are computed at run time. merged_axes: whether the rule looks through nodes of which an
    input has an axis on which channels are merged with a dynamic size. places: whether it looks through nodes of which
    an input holds places in a value, which change where that value loses channels.
    """

    data_inputs: int | None = 1
    merged_axes: bool = False
    places: bool = False

    @abstractmethod
    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        """How channels flow through the node. Raises `Refused` where this form of the operator is a barrier."""

    def resize(self, op: Op, request: Request) -> Resize:
        """How the node changes when its inputs hold other channels. Raises `Misaligned` where their orders differ."""
        _, emission = request.first_input()
        return Resize((emission,))
