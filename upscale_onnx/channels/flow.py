"""What a rule returns: how channels flow through a node, and how the node shrinks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, Protocol

from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.op import Op
from upscale_onnx.types import Array, BoolArray, IntArray

Maps = tuple[ChannelMap | None, ...]
Emissions = tuple[IntArray | None, ...]


class Role(Enum):
    """What a node is to the channels that pass through it. Its reads and ties say what that means for each of them."""

    CONTRACTION = auto()
    """Sums products: of channels and a weight, or of two activations."""
    POINTWISE = auto()
    """Makes each element of those at the same place, operands broadcast, and knows no other."""
    POOLING = auto()
    """Makes each element of neighbours in its channel."""
    SELECTION = auto()
    """Hands on what lies at some places of one axis."""
    JOIN = auto()
    """Puts operands behind one another."""
    CARRIER = auto()
    """Anything else that a rule looks through."""
    BARRIER = auto()
    """Nothing looks through it."""


@dataclass(frozen=True)
class Read:
    """Channels that a node reads by weights, or as a whole.

    input: index of the input read. axis: its axis along which the positions lie, None where no
    selection can be put there. sources: `(n_in,)` classes at those positions. targets: `(n_out,)`
    classes of what is computed from them; None is always live. pattern: `(n_out, n_in)` bool, which
    target reads which position; None is all of them. foldable: `(n_in,)` bool, positions whose
    constant content can move into the bias.
    """

    input: int
    sources: IntArray
    targets: IntArray | None = None
    pattern: BoolArray | None = None
    axis: int | None = None
    foldable: BoolArray | None = None

    def resolved(self, roots: IntArray) -> Read:
        """This read with the roots of its classes."""
        return replace(self, sources=roots[self.sources], targets=None if self.targets is None else roots[self.targets])


@dataclass(frozen=True)
class Even:
    """Grids of classes that must stay rectangular together.

    Each part is a grid `(rows, …)`: rows still in use keep equally many entries at every axis, and a
    row is in use in one part if and only if it is in use in all.
    """

    parts: tuple[IntArray, ...]


@dataclass(frozen=True)
class Flow:
    """How channels pass through a node.

    outputs: the map of each output, None for unknown rank. ties: pairs of label arrays whose classes
    are one. reads: what is consumed. fixed: classes whose order must stay as it is. creates: whether
    the node's weights create the output's channels (a producer). fragile: classes that must not be there as
    mere padding, since this node may turn their zeros into NaN or infinity. droppable: whether the node does
    without an input of which no channel is left. picks: per output the positions that it takes along the only
    channel axis of the first input, where that is all the node does.
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

    @property
    def dense(self) -> Read | None:
        """What a weight makes new channels of, where each of them may read any; None for a node in groups."""
        return self.reads[0] if self.creates and len(self.reads) == 1 else None

    def resolved(self, roots: IntArray) -> Flow:
        """This flow with the roots of its classes, which ties have made one."""
        return replace(
            self,
            outputs=tuple(None if found is None else found.resolved(roots) for found in self.outputs),
            ties=(),
            reads=tuple(read.resolved(roots) for read in self.reads),
            evens=tuple(Even(tuple(roots[part] for part in even.parts)) for even in self.evens),
            fixed=tuple(roots[labels] for labels in self.fixed),
            fragile=tuple(roots[labels] for labels in self.fragile),
        )


@dataclass(frozen=True)
class NewNode:
    """A node to put in place of another, between the same values.

    inputs: indices of the replaced node's inputs, or constants. output: index of its output.
    """

    op_type: str
    inputs: tuple[int | Array, ...]
    output: int
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Resize:
    """How a node changes when its inputs hold other channels.

    outputs: the emission of each output. constants: new constant inputs by index. attrs: changed
    attributes. drop: indices of inputs to disconnect. alias: the node is the identity of this input.
    replace: nodes to put in its place.
    """

    outputs: tuple[IntArray, ...]
    constants: Mapping[int, Array] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)
    drop: tuple[int, ...] = ()
    alias: int | None = None
    replace: tuple[NewNode, ...] | None = None


class Fresh(Protocol):
    """Hands out new channel classes."""

    def __call__(self, count: int) -> IntArray: ...


class Chooser(Protocol):
    """What the plan decided about a vector of classes."""

    def positions(self, labels: IntArray) -> IntArray:
        """Positions to emit, in the order to emit them."""
        ...

    def free(self, labels: IntArray) -> bool:
        """Whether the order of these classes is open, so that a selection may keep its input's."""
        ...

    def live(self, labels: IntArray) -> BoolArray:
        """Which of the classes are demanded by anyone (others are padding)."""
        ...


class Misaligned(Exception):
    """Operands of a node ask for channels in different orders; `labels` are to keep their order."""

    def __init__(self, *labels: IntArray) -> None:
        super().__init__("operands do not line up")
        self.labels = labels
        self.node = ""


class Rule(Protocol):
    """How one operator moves channels. Pure: both methods return data and edit nothing.

    data_inputs: how many leading inputs hold channels; what comes behind them (shapes, bounds) is
    read whole where it is computed at run time. None: all of them.
    """

    data_inputs: int | None

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        """How channels flow. Raises `Refused` where this form of the operator is a barrier."""
        ...

    def resize(self, op: Op, maps: Maps, emissions: Emissions, out: Maps, choose: Chooser) -> Resize:
        """How the node changes when its inputs emit `emissions`. Raises `Misaligned`."""
        ...
