"""Decisions: channels that can only go together, and the structure that a sequence of decisions has.

A *decision* is made once: by a layer that chooses for itself, or by all layers whose channels can only go together. Two
networks have the same *structure* if their decisions are of as many channels, and of layers of the same kinds, in the
same order. Names and values do not count, and neither do widths that no decision is about, such as the number of
classes. So a profile found on one network fits every other of its architecture, whatever it was trained on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from upscale_onnx.masks.pools import Groups
from upscale_onnx.masks.targets import MaskTarget
from upscale_onnx.options import Side
from upscale_onnx.results import KeptChannels
from upscale_onnx.types import IntArray

_DIGITS = 16


@dataclass(frozen=True)
class Decision:
    """Channels that can only go together.

    weights: those of the layers that lose them, in graph order. channels: how many there are, or units of channels that
    go together. layers: the kind of each weight's layer, such as "Conv 3x3". unit: what is counted, such as "heads".
    """

    weights: tuple[str, ...]
    channels: int = 0
    layers: tuple[str, ...] = ()
    unit: str = "channels"

    def __str__(self) -> str:
        return f"{self.channels} {self.unit} of {', '.join(self.layers)}"

    def keeping(self, node: str, kept: int) -> KeptChannels:
        """That `kept` of the channels, or units, are kept. node: that of the first weight."""
        share = kept / self.channels
        return KeptChannels(self.weights[0], node, self.channels, kept, share, self.weights, self.layers, self.unit)


def decisions(
    targets: Sequence[MaskTarget], side: Side, groups: Groups = (), units: Mapping[str, str] | None = None
) -> tuple[Decision, ...]:
    """Group `targets` (in graph order) into decisions: the members of one group share a decision, and every other
    target has its own. Decisions are sorted by their first weight. A weight in several groups joins the first.
    units: what the units of weights in groups are called."""
    names = units or {}
    known = {target.weight: target for target in targets}
    found: dict[str, Decision] = {}
    for group in groups:
        ids: dict[str, IntArray] = {}
        for weight, classes in group:
            if weight in known and weight not in found:
                ids.setdefault(weight, np.asarray(classes, np.int64))
        if ids:
            weights = tuple(weight for weight in known if weight in ids)
            channels = np.unique(np.concatenate(list(ids.values()))).size
            kinds = tuple(_kind(known[name]) for name in weights)
            found |= dict.fromkeys(weights, Decision(weights, channels, kinds, names.get(weights[0], "channels")))
    for weight, target in known.items():
        found.setdefault(weight, Decision((weight,), target.channels(side), (_kind(target),)))
    return tuple(dict.fromkeys(found[weight] for weight in known))


def structure_of(found: Iterable[tuple[int, Sequence[str]]]) -> str:
    """A short hash, in hexadecimal digits, of decisions given as (channels, kinds of layers)."""
    text = json.dumps([[channels, list(layers)] for channels, layers in found])
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _kind(target: MaskTarget) -> str:
    op_type, inner, grouping = target.kind
    return " ".join(part for part in (op_type, "x".join(map(str, inner)), grouping) if part)
