"""Decisions: channels that can only go together, and the structure that a sequence of decisions has.

A *decision* is made once: by a layer that chooses for itself, or by all layers whose channels can only go together. Two
networks have the same *structure* if their decisions are of as many channels, and of layers of the same kinds, in the
same order. Names and values do not count, and neither do widths that no decision is about, such as the number of
classes. So a profile found on one network fits every other of its architecture, whatever it was trained on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from upscale_onnx.masks.pools import Groups
from upscale_onnx.masks.targets import MaskTarget
from upscale_onnx.options import Side
from upscale_onnx.types import IntArray

_DIGITS = 16


@dataclass(frozen=True)
class Decision:
    """Channels that can only go together.

    weights: those of the layers that lose them, in graph order. channels: how many there are. layers: the kind of each
    weight's layer, such as "Conv 3x3".
    """

    weights: tuple[str, ...]
    channels: int = 0
    layers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.channels} channels of {', '.join(self.layers)}"


def decisions(targets: Sequence[MaskTarget], side: Side, groups: Groups = ()) -> tuple[Decision, ...]:
    """Group `targets` (in graph order) into decisions: the members of one group share a decision, and every other
    target has its own. Decisions are sorted by their first weight. A weight in several groups joins the first."""
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
            found |= dict.fromkeys(weights, Decision(weights, channels, tuple(_kind(known[name]) for name in weights)))
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
