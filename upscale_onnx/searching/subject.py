"""A network of a search: its profiles, what they are measured on, and hashes that tell it from others."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import onnx

from upscale_onnx.candidates.candidate import Candidate
from upscale_onnx.candidates.space import Space
from upscale_onnx.costs.predict import predict
from upscale_onnx.costs.tables import Tables
from upscale_onnx.measures.measure import Distance, Top1
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.searching.measured import Measured
from upscale_onnx.searching.rungs import Rungs
from upscale_onnx.timing.calibration import executed


class Tune(Protocol):
    """Trains what is left of a network. digest: a hash of all that decides what comes of it."""

    @property
    def digest(self) -> str: ...

    def __call__(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """The trained model, of the same graph."""

    def words(self, model: str, output: str) -> list[str]:
        """The words of a command that writes what comes of the file `model` to `output`."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A network of a search.

    measure: its accuracy, or without labels the distance of its outputs. tables: measured times, from which latencies
    are predicted; None where no goal asks for them. seed: of the order of images. tune: trains every profile that is
    tried, before it is measured; None where nothing is trained.
    """

    space: Space
    measure: Top1 | Distance
    tables: Tables | None = None
    seed: int = 0
    tune: Tune | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What other processes get: without what each can compute for itself, some of which cannot be sent."""
        known = {part.name: getattr(self, part.name) for part in fields(self)}
        tables = None if self.tables is None else replace(self.tables)
        return known | {"tables": tables, "digests": self.digests}

    @cached_property
    def rungs(self) -> Rungs | None:
        """The images in rungs; None without labels."""
        return Rungs.of(self.measure, self.seed) if isinstance(self.measure, Top1) else None

    @cached_property
    def _unpruned_ms(self) -> float:
        return self._predicted_ms(self.space.model)

    @property
    def unpruned(self) -> Measured:
        """What the unpruned network is worth."""
        is_labelled = isinstance(self.measure, Top1)
        return Measured(
            params=1.0,
            macs=1.0,
            compression=1.0,
            kept=(1.0,) * len(self.space.decisions),
            accuracy=self.measure.baseline if is_labelled else None,
            distance=None if is_labelled else 0.0,
            latency=None if self.tables is None else 1.0,
            images=self.measure.samples,
        )

    def final(self, candidate: Candidate) -> onnx.ModelProto:
        """The smaller model of a candidate, trained where that is asked for."""
        return candidate.model if self.tune is None else self.tune(candidate.model)

    def sized(self, candidate: Candidate) -> Measured:
        """The sizes of a candidate."""
        latency = None if self.tables is None else self._predicted_ms(candidate.model) / self._unpruned_ms
        return Measured(candidate.params, candidate.macs, candidate.compression, candidate.shares, latency=latency)

    @cached_property
    def digests(self) -> dict[str, str]:
        """Hashes of all that results depend on, by the word for it."""
        options = re.sub(r" at 0x[0-9a-f]+", "", repr(self.space.options))  # a function's place differs by process
        return {
            "model": _hash_of_bytes(self.space.model.SerializeToString(deterministic=True)),
            "setting of pruning or target": _hash_of_bytes(options.encode()),
            "data": _hash_of_batches(_inputs(self.measure)),
            "calibration data": _hash_of_batches(self.space.batches),
            "state of the measured times": _hash_of_bytes(repr(self.tables).encode()),
            "training": "" if self.tune is None else self.tune.digest,
        }

    @cached_property
    def digest(self) -> str:
        """One hash of all these."""
        return _hash_of_bytes("".join(self.digests.values()).encode())

    def _predicted_ms(self, model: onnx.ModelProto) -> float:
        assert self.tables is not None
        chosen = self.space.options.target
        kernels = executed(model, chosen.provider, chosen.threads, chosen.batch or 1)
        # The time beside kernels may be known as negative; of a small network, nothing would be left.
        beside = max(self.tables.node_ms, 0.0) * len(kernels)
        return max(sum(ms for _, ms in predict(kernels, self.tables).by_operator) + beside, 1e-9)


def _inputs(measure: Top1 | Distance) -> Sequence[Inputs]:
    if isinstance(measure, Distance):
        return measure.batches
    return [{**inputs, "\0labels": labels} for inputs, labels in measure.batches]


def _hash_of_bytes(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _hash_of_batches(batches: Sequence[Inputs]) -> str:
    found = hashlib.sha256()
    for inputs in batches:
        for name, array in inputs.items():
            found.update(f"{name}{array.dtype}{array.shape}".encode())
            found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()[:16]
