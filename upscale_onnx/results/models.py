"""What a model is made of: its size, its segments, and the nodes that are left alone."""

from __future__ import annotations

from dataclasses import dataclass

from upscale_onnx.errors import Reason


@dataclass(frozen=True)
class ModelStats:
    """Size and arithmetic of a model.

    parameters: elements of all constants, of whatever type; macs: multiply-accumulates of one inference
    (dynamic dimensions counted as 1); copied_bytes: bytes written per inference by Slice, Gather,
    Split and Concat; bytes: size of the file, its external data included.
    """

    parameters: int
    macs: int
    nodes: int
    copied_bytes: int
    bytes: int = 0


@dataclass(frozen=True)
class Refusal:
    """A node whose channels were left alone, and why."""

    node: str
    op_type: str
    reason: Reason
    detail: str = ""


@dataclass(frozen=True)
class Producer:
    """A node whose weights create `channels` channels of `value` along `axis`."""

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
