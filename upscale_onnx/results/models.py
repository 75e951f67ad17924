"""Facts about a model: its size, its segments, and the nodes that are left alone."""

from __future__ import annotations

from dataclasses import dataclass

from upscale_onnx.errors import Reason


@dataclass(frozen=True)
class ModelStats:
    """Sizes of a model, and the counts of its operations.

    parameters: the number of elements of all constants of all types.
    macs: multiply-accumulates of one inference; dynamic dimensions count as 1.
    nodes: the number of nodes.
    copied_bytes: the bytes that Slice, Gather, Split and Concat write in one inference.
    bytes: the size of the file with its external data.
    """

    parameters: int
    macs: int
    nodes: int
    copied_bytes: int
    bytes: int = 0


@dataclass(frozen=True)
class Refusal:
    """A node whose channels were left alone, and why.

    channels, bytes: what it costs: channels that could go if it were not for this node, and bytes of the weights that
    would go with them.
    """

    node: str
    op_type: str
    reason: Reason
    detail: str = ""
    channels: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Producer:
    """A node whose weights make `channels` channels of `value` along `axis`: `live` are live, `constant` constant."""

    node: str
    op_type: str
    value: str
    axis: int
    channels: int
    live: int
    constant: int


@dataclass(frozen=True)
class Consumer:
    """A node whose weights read `value` along `axis`; it demands `demanded` of `channels` channels."""

    node: str
    op_type: str
    value: str
    axis: int
    channels: int
    demanded: int


@dataclass(frozen=True)
class Segment:
    """A closed set of producers, carriers and consumers that share channel classes."""

    index: int
    producers: tuple[Producer, ...]
    carriers: tuple[str, ...]
    consumers: tuple[Consumer, ...]
    forks: tuple[str, ...]
    joins: tuple[str, ...]
    classes: int
    live: int
    refusals: tuple[Refusal, ...]
