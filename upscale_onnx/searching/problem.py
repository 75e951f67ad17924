"""The problem of a search: what a profile is worth on all networks together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from upscale_onnx.candidates.keeping import Choice
from upscale_onnx.candidates.structures import check_structure
from upscale_onnx.searching.cache import Cache
from upscale_onnx.searching.evaluation import Evaluation
from upscale_onnx.searching.measured import Measured
from upscale_onnx.searching.rungs import upper_bound
from upscale_onnx.searching.subject import Subject

IsHopeless = Callable[[Measured, float], bool]
"""Says of a profile, and of an accuracy that it is hardly above, whether it can be given up."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Profiles of `subjects`, networks of one structure. choice: how channels are chosen.

    Raises: ArgumentError where the networks differ in structure.
    """

    subjects: tuple[Subject, ...]
    choice: Choice = "scores"

    def __post_init__(self) -> None:
        check_structure([subject.space for subject in self.subjects])

    @property
    def decisions(self) -> int:
        """How many shares a profile has."""
        return len(self.subjects[0].space.decisions)

    @property
    def has_labels(self) -> bool:
        """Whether accuracy is measured, not the distance of outputs."""
        return self.subjects[0].rungs is not None

    @cached_property
    def unpruned(self) -> Measured:
        """What the unpruned networks are worth."""
        return mean([subject.unpruned for subject in self.subjects])

    def sizes(self, shares: Sequence[float], seed: int = 0) -> Measured:
        """The sizes of a profile. Nothing is repaired and no image is looked at."""
        found = []
        for subject in self.subjects:
            space = subject.space
            found.append(subject.sized(space.unrepaired.candidate_of(space.masks(shares, self.choice, seed))))
        return mean(found)

    def evaluate(
        self,
        shares: Sequence[float],
        seed: int = 0,
        cache: Cache | None = None,
        is_hopeless: IsHopeless | None = None,
    ) -> Measured:
        """What a profile is worth. Where `is_hopeless` says so after a rung, the rest of the images is left out.

        seed: of random choices. cache: where results of equal masks are found and kept.
        """
        runs = self._evaluations(shares, seed, cache)
        try:
            if not self.has_labels:
                return mean([one.with_distance() for one in runs])
            return self._on_rungs(runs, is_hopeless or (lambda measured, most: False))
        finally:
            for one in runs:
                one.keep()

    def _on_rungs(self, runs: Sequence[Evaluation], is_hopeless: IsHopeless) -> Measured:
        sized = mean([one.sized() for one in runs])
        last = max(len(one.rungs.sizes) for one in self.subjects if one.rungs is not None)
        found = sized
        for rung in range(1, last + 1):
            counts = [one.counted(rung) for one in runs]
            accuracy, images = float(np.mean([right / seen for right, seen in counts])), sum(n for _, n in counts)
            found = replace(sized, accuracy=accuracy, images=images, is_complete=rung == last)
            if rung < last and is_hopeless(found, upper_bound(accuracy, images)):
                break
        return found

    def _evaluations(self, shares: Sequence[float], seed: int, cache: Cache | None) -> list[Evaluation]:
        made = [subject.space.masks(shares, self.choice, seed) for subject in self.subjects]
        return [Evaluation(one, masks, self.choice, cache) for one, masks in zip(self.subjects, made, strict=True)]


def mean(found: Sequence[Measured]) -> Measured:
    """The means over networks. Images are added up."""
    if len(found) == 1:
        return found[0]

    def of(name: str) -> float:
        return float(np.mean([one.value(name) for one in found]))

    some: dict[str, Any] = {
        name: of(name) for name in ("accuracy", "distance", "latency") if getattr(found[0], name) is not None
    }
    kept = tuple(np.mean([one.kept for one in found], axis=0).tolist())
    images = sum(one.images for one in found)
    return Measured(of("params"), of("macs"), of("compression"), kept, images=images, **some)
