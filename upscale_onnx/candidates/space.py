"""The space of profiles of a model: one share for each of its decisions. A point in it is a candidate, a smaller model.

The model is analysed and its channels are scored once, for all candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import get_args

import numpy as np
import onnx

from upscale_onnx.candidates.candidate import Candidate
from upscale_onnx.candidates.keeping import Choice, kept_of, whole_units
from upscale_onnx.candidates.pooling import Pooling
from upscale_onnx.channels.analysis import analyse
from upscale_onnx.errors import ArgumentError, did_you_mean
from upscale_onnx.export.contenders import contenders, tightest
from upscale_onnx.export.export import make
from upscale_onnx.export.recipes import Recipe
from upscale_onnx.masks.branches import branches
from upscale_onnx.masks.decisions import Decision, decisions, structure_of
from upscale_onnx.masks.float_view import FloatView
from upscale_onnx.masks.groups import mask_groups, unit_names
from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.masks.patterns import matching
from upscale_onnx.masks.pools import Masks, Pool, Scores
from upscale_onnx.masks.prunable import prunable_targets
from upscale_onnx.masks.scopes import Limits, comparable, together
from upscale_onnx.masks.targets import MaskTarget, mask_targets
from upscale_onnx.model import Shape, import_graph, infer_shapes
from upscale_onnx.model.stats import model_stats
from upscale_onnx.options import Options
from upscale_onnx.pruning.criteria import criterion_of
from upscale_onnx.pruning.prune import viewed_for
from upscale_onnx.pruning.repairing import in_basis, repaired
from upscale_onnx.results import KeptChannels, ModelStats
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.runtime.samples import load_calibration
from upscale_onnx.timing.target_costs import chosen_target
from upscale_onnx.types import BoolArray, FloatArray, Progress


@dataclass(frozen=True, eq=False)
class Space:
    """All profiles of a model, pruned as `options` say. decisions: in graph order; profiles have one share for each.

    model: it, in the basis in which it is pruned. is_turned: whether that is another one than it was given in.
    view: the view of it with floating-point weights, which are scored and masked; None where all weights are such.
    unit: channels are kept in so many at a time. What a share leaves of a unit is kept: kernels that work on blocks of
    channels take no longer for it. drops: whether a share of 0 takes out what is only computed for the decision, where
    there is a way around it; else one channel is kept.
    """

    model: onnx.ModelProto
    options: Options
    decisions: tuple[Decision, ...]
    batches: tuple[Inputs, ...]
    _pools: tuple[Pool, ...]
    _pooling: Pooling
    _targets: Mapping[str, MaskTarget]
    _shapes: Mapping[str, Shape]
    _recipe: Recipe
    unit: int = 1
    drops: bool = False
    is_turned: bool = False
    view: FloatView | None = None

    @classmethod
    def of(cls, model: onnx.ModelProto, options: Options, unit: int = 1, drops: bool = False) -> Space:
        """The space of `model`. Only side, method, criterion, calibration, repair, ignore and min_channels of the
        options' pruning count, and their export and target.

        Raises: ArgumentError where the options do not fit the model, or nothing of it can be pruned.
        """
        asked, given = options.prune, model
        if asked.method == "hybrid":
            raise ArgumentError("method 'hybrid' has no decisions of its own: use unconstrained or constrained")
        batches = () if asked.calibration is None else load_calibration(asked.calibration, model)
        if asked.repair is not None and not batches:
            raise ArgumentError(f"repair {asked.repair!r} needs calibration data")
        view = viewed_for(given, options, batches)
        model = in_basis(given, options, batches) if view is None else given
        dense = model if view is None else view.model
        analysis = analyse(import_graph(dense), infer_shapes(dense))
        groups = mask_groups(analysis, dense, asked.side, asked.method)
        names = unit_names(analysis, groups)
        targets = {target.weight: target for target in prunable_targets(dense, asked.side)}
        ignored = matching([t for t in mask_targets(dense) if t.axis(asked.side) is not None], asked.ignore)
        pooling = Pooling(groups, ignored)
        found = pooling.pools_of(dense, options, batches)
        made = decisions(tuple(targets.values()), asked.side, groups, names)
        kept = [one for one in made if frozenset(one.weights) in found]
        if not kept:
            raise ArgumentError("the model has no layer whose channels can be pruned: there is nothing to decide")
        own = tuple(found[frozenset(one.weights)] for one in kept)
        recipe, shapes = tightest(contenders(options, chosen_target(options.target, model))), infer_shapes(model)
        how = (recipe, unit, drops, model is not given, view)
        return cls(model, options, tuple(kept), batches, own, pooling, targets, shapes, *how)

    @cached_property
    def unrepaired(self) -> Space:
        """The same profiles with the same masks, whose candidates are not repaired."""
        return replace(self, options=self.options.replaced(repair=None))

    @property
    def dense(self) -> onnx.ModelProto:
        """The model as its channels are scored and masked."""
        return self.model if self.view is None else self.view.model

    def masked(self, masks: Masks) -> onnx.ModelProto:
        """A copy of `dense` with `masks`."""
        return write_masks(self.dense, masks, self.options.prune.side)[0]

    @cached_property
    def stats(self) -> ModelStats:
        """The size of the unpruned model."""
        return model_stats(self.model, self._shapes)

    @property
    def structure(self) -> str:
        """A hash that networks of one architecture share, whatever they were trained on."""
        return structure_of((one.channels, one.layers) for one in self.decisions)

    def masks(self, shares: Sequence[float], choice: Choice = "scores", seed: int = 0) -> Masks:
        """Masks by weight (True = kept) in which each decision keeps its share (0 to 1) of its channels.

        seed: of random choices.

        Raises: ArgumentError where there is not one share for each decision.
        """
        if choice not in get_args(Choice):
            raise ArgumentError(f"no choice called {choice!r}{did_you_mean(choice, get_args(Choice))}")
        if len(shares) != len(self.decisions) or not all(0 <= share <= 1 for share in shares):
            raise ArgumentError(f"a profile of this model has {len(self.decisions)} shares from 0 to 1")
        rng, least = np.random.default_rng(seed), self.options.prune.min_channels
        masks: dict[str, BoolArray] = {}
        for place, (pool, share) in enumerate(zip(self._pools, shares, strict=True)):
            kept = kept_of(pool, whole_units(share, pool.size, self.unit), choice, rng, least)
            masks.update(pool.masks(kept & (share > 0 or place not in self.branches)))
        return masks

    @cached_property
    def branches(self) -> Mapping[int, frozenset[int]]:
        """By decision that can keep nothing, the decisions whose layers are gone with it."""

        def without(place: int | None) -> onnx.ModelProto:
            weights = () if place is None else self.decisions[place].weights
            masks = {
                weight: np.full(ids.size, weight not in weights)
                for pool in self._pools
                for weight, ids in pool.members.items()
            }
            return self.masked(masks)

        return branches(self.decisions, infer_shapes(self.dense), without) if self.drops else {}

    def chooses_anew(self, masks: Masks, choice: Choice) -> bool:
        """Whether repair may choose other channels: where scores choose, and every layer keeps some."""
        return choice == "scores" and all(mask.any() for mask in masks.values())

    def candidate(
        self, shares: Sequence[float], choice: Choice = "scores", seed: int = 0, progress: Progress | None = None
    ) -> Candidate:
        """The candidate under a profile. The arguments are those of `masks`.

        Raises: as `masks`.
        """
        return self.candidate_of(self.masks(shares, choice, seed), choice, progress)

    def candidate_of(self, masks: Masks, choice: Choice = "scores", progress: Progress | None = None) -> Candidate:
        """The candidate with these masks, which `masks` has made by `choice`. Where scores choose, the repair may
        choose as many other channels, as it does in a compile."""
        masked = self.masked(masks)
        if self.options.prune.repair is not None:
            anew = self.chooses_anew(masks, choice)
            masked = repaired(self.dense, masked, self.options, self.batches, progress, anew=anew, view=self.view)
        masked = masked if self.view is None else self.view.written(masked)
        made = make(self._recipe, masked, self._shapes)
        after = model_stats(made)
        params, macs = after.parameters / max(self.stats.parameters, 1), after.macs / max(self.stats.macs, 1)
        kept = tuple(one.keep_ratio for one in self.kept(masks))
        return Candidate(kept, masks, masked, made, after, params, macs)

    def named(self, candidate: Candidate) -> Masks:
        """The masks with which a mask file makes a candidate."""
        asked = candidate.masks
        return asked if self.view is None else self.view.named(candidate.masked, asked, self.options.prune.side)

    def kept(self, masks: Masks) -> tuple[KeptChannels, ...]:
        """What each decision keeps under `masks`, as reports and profile files have it."""
        found = []
        for one, pool in zip(self.decisions, self._pools, strict=True):
            classes = {int(i) for weight in one.weights for i in pool.members[weight][masks[weight]]}
            found.append(one.keeping(self._targets[one.weights[0]].node, len(classes)))
        return tuple(found)

    def ranked_together(self, amount: float) -> tuple[float, ...]:
        """The shares that decisions keep if `amount` (0 to 1) of all channels is pruned, ranked together by score."""
        asked = self.options.prune
        is_comparable = criterion_of(asked.criterion).is_comparable
        counts = together(self._ranked, amount, not is_comparable, Limits(asked.min_channels))
        return tuple(1.0 - count / pool.size for count, pool in zip(counts, self._ranked, strict=True))

    @cached_property
    def losses(self) -> tuple[FloatArray, ...]:
        """What is lost where a decision keeps none, one, … all of its channels, (channels + 1,): the sum of the squared
        scores of those that go, over all layers that lose them."""
        is_comparable = criterion_of(self.options.prune.criterion).is_comparable
        found = []
        for pool in self._ranked:
            squares = np.zeros(pool.size)
            for weight, scores in pool.own.items():
                np.add.at(squares, pool.members[weight], np.square(comparable(scores, not is_comparable)))
            gone = squares[np.argsort(pool.scores, kind="stable")].cumsum()
            found.append(np.concatenate([gone[::-1], [0.0]]))
        return tuple(found)

    @cached_property
    def _ranked(self) -> tuple[Pool, ...]:
        """The pools with scores that can be compared between layers."""
        found = self._pooling.pools_of(self.dense, self.options.replaced(scope="global"), self.batches)
        return tuple(found[frozenset(one.weights)] for one in self.decisions)

    def by_channel(self, index: int, values: Scores) -> FloatArray:
        """For each channel of decision `index`, the sum of `values` (by weight) over the layers that lose it."""
        pool = self._pools[index]
        total = np.zeros(pool.size)
        for weight in self.decisions[index].weights:
            if weight in values:
                np.add.at(total, pool.members[weight], values[weight])
        return total
