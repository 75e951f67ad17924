"""The evaluation of one network under masks. What the cache holds is not computed again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import onnx

from upscale_onnx.candidates.candidate import Candidate
from upscale_onnx.candidates.keeping import Choice
from upscale_onnx.masks.pools import Masks
from upscale_onnx.searching.cache import Cache, key_of
from upscale_onnx.searching.measured import Measured
from upscale_onnx.searching.subject import Subject


class Evaluation:
    """The evaluation of `subject` under `masks`, which `choice` has made."""

    def __init__(self, subject: Subject, masks: Masks, choice: Choice, cache: Cache | None = None) -> None:
        self._subject, self._masks, self._choice, self._cache = subject, masks, choice, cache
        self._key = "" if cache is None else key_of(subject.digest, masks)
        self._known: dict[str, Any] = dict((cache.get(self._key) if cache is not None else None) or {})
        self._before = dict(self._known)
        self._hits: list[int] = list(self._known.get("hits", []))

    def sized(self) -> Measured:
        """Its sizes."""
        if "sizes" not in self._known:
            self._known["sizes"] = self._subject.sized(self._candidate).as_json()
        return Measured.from_json(self._known["sizes"])

    def with_distance(self) -> Measured:
        """Its sizes, and the distance of its outputs from the unpruned network's."""
        if "distance" not in self._known:
            self._known["distance"] = self._subject.measure.value(self._final)
        return replace(self.sized(), distance=self._known["distance"], images=self._subject.measure.samples)

    def counted(self, rung: int) -> tuple[int, int]:
        """How many labels are found on the images of the first `rung` rungs, and how many images these are."""
        rungs = self._subject.rungs
        assert rungs is not None
        while len(self._hits) < min(rung, len(rungs.sizes)):
            self._hits.append(next(self._running))
        return sum(self._hits[:rung]), sum(rungs.sizes[:rung])

    def keep(self) -> None:
        """Add what is new to the cache."""
        if self._hits:
            self._known["hits"] = self._hits
        if self._cache is not None and self._known != self._before:
            self._cache.put(self._key, self._known)

    @cached_property
    def _candidate(self) -> Candidate:
        return self._subject.space.candidate_of(self._masks, self._choice)

    @cached_property
    def _final(self) -> onnx.ModelProto:
        return self._subject.final(self._candidate)

    @cached_property
    def _running(self) -> Iterator[int]:
        assert self._subject.rungs is not None
        return self._subject.rungs.hits(self._final, len(self._hits))
