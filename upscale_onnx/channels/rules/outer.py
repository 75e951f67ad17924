"""Operands of a pointwise node of which none has all channel axes of the result: an outer product of two vectors of
channels, as in state space models.

The operand with the most channels gives the result its classes. The others are read whole along axes that it lacks, on
which the result has no channels then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild


def crossing(operands: Mapping[int, ChannelMap]) -> frozenset[int]:
    """The operands that are read whole: those with channel axes that the one with the most channels lacks. There are
    none if one operand has all axes, or if channels are merged with a dynamic size. The maps are of one rank."""
    axes = {index: frozenset(found.axes) for index, found in operands.items()}
    merged = any(found.merged is not None for found in operands.values())
    if merged or frozenset[int]().union(*axes.values()) in axes.values():
        return frozenset()
    widest = max(operands, key=lambda index: operands[index].labels.size)
    return frozenset(index for index in operands if not axes[index] <= axes[widest])


def without_channels(found: ChannelMap) -> ChannelMap:
    """What is known of a value all of whose channels are read together. Its class is any one of its own."""
    state = WILD if is_wild(found.state).any() else VARYING
    if (found.state == found.state.flat[0]).all():
        state = float(found.state.flat[0])
    one = (1,) * found.rank
    return ChannelMap(found.labels.ravel()[:1].reshape(one), np.full(one, state))


def lacks(shape: Sequence[int], result: Sequence[int]) -> bool:
    """Whether a result has no channels along a channel axis of an operand, which is read whole then."""
    return any(size > 1 and made == 1 for size, made in zip(shape, result, strict=True))
