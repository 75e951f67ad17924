"""A candidate: the smaller model that a profile makes of a model.

It is compiled, not only masked: its size is then exact, and what it saves in the first hundreds of images is more than
its compile takes.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from upscale_onnx.masks.pools import Masks
from upscale_onnx.results import ModelStats


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model under one profile.

    shares: what each decision really keeps, 0 to 1. masks: those that were asked for. masked: the model with channels
    zeroed (and repaired, where options ask for it). model: the smaller one, which computes the same. stats: its size.
    params, macs: its share (0 to 1) of the unpruned model's parameters and multiply-accumulates.
    """

    shares: tuple[float, ...]
    masks: Masks
    masked: onnx.ModelProto
    model: onnx.ModelProto
    stats: ModelStats
    params: float
    macs: float

    @property
    def compression(self) -> float:
        """Parameters of the unpruned model over those that are left, "CF" in the source.

        Source: Venkatesan et al., "Out-of-the-box Channel Pruned Networks", 2020, section 2.
        """
        return 1.0 / self.params
