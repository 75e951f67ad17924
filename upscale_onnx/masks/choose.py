"""Choosing channels by their scores: how many channels each layer loses, and which."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import onnx

from upscale_onnx.masks.decisions import decisions
from upscale_onnx.masks.patterns import matching, own_amounts
from upscale_onnx.masks.pools import Groups, Masks, Pool, Scores, pools
from upscale_onnx.masks.profiles import is_relative, keep_ratios
from upscale_onnx.masks.prunable import prunable_targets
from upscale_onnx.masks.scopes import Limits, by_structure, together
from upscale_onnx.masks.select import pruned_count
from upscale_onnx.masks.steps import Round
from upscale_onnx.masks.targets import MaskTarget, mask_targets
from upscale_onnx.options import PruneOptions
from upscale_onnx.types import BoolArray

ONCE = Round(1, 1, "linear")


@dataclass(frozen=True, eq=False)
class Chooser:
    """Chooses by `options` among `layers`, the targets that may be pruned, in graph order.

    targets: all weights that options can name, whether or not they may be pruned. groups: weights that must agree on
    a mask. structures: the structure of each weight, for scope "isomorphic". is_comparable: whether scores mean the
    same in every layer.
    """

    options: PruneOptions
    layers: Sequence[MaskTarget]
    targets: Sequence[MaskTarget]
    groups: Groups = ()
    structures: Mapping[str, Hashable] = field(default_factory=dict)
    is_comparable: bool = False

    def masks(self, scores: Scores, amount: float, part: Round = ONCE) -> Masks:
        """Masks (True = kept) by weight after round `part`, when `amount` (a share, 0 to 1) is pruned after the last.

        Raises: ArgumentError where a pattern or the profile does not fit the layers.
        """
        ignored = matching(self.targets, self.options.ignore)
        found = pools(scores, self.groups, ignored)
        counts = self._counts(found, amount, part)
        kept: dict[str, BoolArray] = {}
        for pool, count in zip(found, counts, strict=True):
            kept.update(pool.masks(pool.kept(count, self.options.min_channels)))
        return kept

    def _counts(self, found: Sequence[Pool], amount: float, part: Round) -> list[int]:
        """How many classes each pool loses."""
        limits = Limits(self.options.min_channels, self.options.mask_align)
        own = self._own_amounts(amount)
        counts = []
        for pool in found:
            asked = min(own.get(weight, amount) for weight in pool.members)
            counts.append(limits.pruned(pruned_count(part.amount(asked), pool.size), pool.size))
        if self.options.scope == "local":
            return counts
        ranked = [number for number, pool in enumerate(found) if not own.keys() & pool.members.keys()]
        for number, count in zip(ranked, self._ranked([found[n] for n in ranked], part.amount(amount)), strict=True):
            counts[number] = count
        return counts

    def _ranked(self, found: Sequence[Pool], amount: float) -> list[int]:
        limits = Limits(self.options.min_channels, self.options.mask_align)
        normalised = not self.is_comparable
        if self.options.scope == "global":
            return together(found, amount, normalised, limits)
        return by_structure(found, self.structures, amount, normalised, limits)

    def _own_amounts(self, amount: float) -> dict[str, float]:
        """The amount by weight that patterns or the profile give."""
        profile = self.options.profile
        if profile is None:
            return own_amounts(self.targets, self.options.amounts)
        wanted, options = amount if is_relative(profile) else 0.0, self.options
        tied = decisions(self.layers, options.side, self.groups)
        ratios = keep_ratios(profile, tied, wanted, options.seed, options.side, options.method)
        return {weight: 1.0 - ratio for weight, ratio in ratios.items()}


def chooser(
    model: onnx.ModelProto,
    options: PruneOptions,
    groups: Groups = (),
    structures: Mapping[str, Hashable] | None = None,
    is_comparable: bool = False,
) -> Chooser:
    """The chooser for the weights of `model` that may be pruned. The other arguments are those of `Chooser`."""
    named = [target for target in mask_targets(model) if target.axis(options.side) is not None]
    return Chooser(options, prunable_targets(model, options.side), named, groups, structures or {}, is_comparable)
