"""Dropping channels where they matter least, wherever that is."""

from __future__ import annotations

import numpy as np

from upscale_onnx.masks.aware.network import NEARLY_NOTHING
from upscale_onnx.masks.aware.state import PruningState
from upscale_onnx.types import BoolArray, FloatArray, IntArray


def spread(state: PruningState, channels: int) -> tuple[list[BoolArray], float]:
    """The channels that layers drop when `channels` more go, each from the layer where least is lost, and the
    importance then lost in all.

    The loss of a layer is convex in the channels it drops, so taking the least next loss of all is optimal.
    """
    layers = zip(state.network.layers, state.dropped, strict=True)
    dropped: list[BoolArray] = [gone[layer.channel_atom] for layer, gone in layers]
    numbers, places, losses = _candidates(state, dropped)
    least = np.argsort(losses, kind="stable")[: max(channels, 0)]
    for number in np.unique(numbers[least]).tolist():
        dropped[number][places[least[numbers[least] == number]]] = True
    return dropped, state.importance + float(losses[least].sum())


def _candidates(state: PruningState, dropped: list[BoolArray]) -> tuple[IntArray, IntArray, FloatArray]:
    """Every channel that a layer may still drop: the layer, the channel, and what is lost where it goes in turn."""
    numbers, places, losses = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    for number, layer in enumerate(state.network.layers):
        if layer.weight is None:
            continue
        there = np.flatnonzero(~dropped[number] & np.isfinite(layer.channel_energy))
        ranked = there[np.argsort(layer.channel_energy[there], kind="stable")]
        before = state.kept_energy[number]
        left = before - layer.channel_energy[ranked].cumsum()
        count = int(np.count_nonzero(left > NEARLY_NOTHING))
        chain = np.concatenate([[before], left[:count]])
        numbers.append(np.full(count, number))
        places.append(ranked[:count])
        losses.append(np.diff(layer.losses(chain)))
    return np.concatenate(numbers), np.concatenate(places), np.concatenate(losses)
