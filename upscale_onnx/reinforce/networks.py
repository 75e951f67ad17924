"""The networks that a policy learns on: each with its profiles, its labelled images, and what profiles are worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from upscale_onnx.candidates.candidate import Candidate
from upscale_onnx.candidates.space import Space
from upscale_onnx.measures.measure import Top1
from upscale_onnx.reinforce.rewards import Outcome
from upscale_onnx.runtime.activations import has_fixed_batch
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.types import IntArray

IMAGES = 16
"""How many images the gradients of an observation are computed on."""


@dataclass(frozen=True, eq=False)
class Network:
    """A network and its data, (N, D) in the source.

    space: its profiles. measure: its accuracy on labelled images. images, labels: the few of them on which
    observations are computed.
    """

    space: Space
    measure: Top1
    images: Inputs
    labels: IntArray

    @classmethod
    def of(cls, space: Space, measure: Top1, images: int = IMAGES) -> Network:
        """The network of `space` with the images of `measure`, of which the first `images` are observed: one batch,
        where the network fixes its size."""
        inputs, labels = measure.batches[0]
        (name, first), *_ = inputs.items()
        if first.shape[0] != labels.size:  # the rest of a fixed batch is filled with the same images again
            return cls(space, measure, inputs, np.resize(labels, first.shape[0]))
        size = first.shape[0] if has_fixed_batch(space.model) else images
        batches = [(batch[name], own) for batch, own in measure.batches if batch[name].shape[1:] == first.shape[1:]]
        taken = np.concatenate([array for array, _ in batches[: -(-size // first.shape[0])]])[:size]
        return cls(space, measure, {name: taken}, np.concatenate([own for _, own in batches])[:size])

    def outcome(self, candidate: Candidate, model: onnx.ModelProto | None = None) -> Outcome:
        """What `candidate` is worth. model: what fine-tuning has made of it, in its place."""
        accuracy = self.measure.value(candidate.model if model is None else model)
        return Outcome(accuracy, self.measure.baseline, candidate.shares, candidate.params, candidate.macs)
