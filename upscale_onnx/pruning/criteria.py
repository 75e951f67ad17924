"""Criteria by name: what each needs, and the function that scores channels. The lowest scores are pruned first.

What is computed of arrays stands in `masks/criteria/`, what has to run models beside this module. The command line asks
for the names alone, so scorers are imported when they score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from upscale_onnx.errors import ArgumentError, did_you_mean
from upscale_onnx.masks.criteria import (
    WeightCriterion,
    apoz,
    fpgm,
    hrank,
    l1,
    l2,
    lamp,
    mean_activation,
    minimum,
    random,
    taylor,
    wanda,
)
from upscale_onnx.masks.criteria.activation import ActivationCriterion
from upscale_onnx.options import Side

if TYPE_CHECKING:
    from upscale_onnx.masks.pools import Scores
    from upscale_onnx.pruning.evidence import Evidence

Need = Literal["weights", "graph", "activations", "labels", "gradients"]
_OF_DATA = frozenset({"activations", "labels", "gradients"})


@dataclass(frozen=True)
class Criterion:
    """A way to score channels.

    needs: what it looks at; without labels it takes the classes that the model predicts. score: scores by weight, one
    per channel of the side that is pruned; weights that it leaves out are not pruned. is_comparable: whether scores
    mean the same in every layer as they are. sides: those whose channels it scores. settings: checks what stands behind
    the name, as in "taylor:norm=l2"; None where nothing may.
    """

    name: str
    needs: tuple[Need, ...]
    score: Callable[[Evidence], Scores]
    is_comparable: bool = False
    sides: tuple[Side, ...] = ("input", "output")
    settings: Callable[[Mapping[str, str]], object] | None = None

    @property
    def needs_data(self) -> bool:
        """Whether it needs calibration data."""
        return not _OF_DATA.isdisjoint(self.needs)


def of_weights(name: str, function: WeightCriterion, is_comparable: bool = False) -> Criterion:
    """The criterion that scores each weight by `function`."""
    return Criterion(name, ("weights",), lambda evidence: evidence.weight_scores(function), is_comparable)


def of_activations(name: str, function: ActivationCriterion) -> Criterion:
    """The criterion that scores, by `function`, the values that channels hold over calibration data."""

    def score(evidence: Evidence) -> Scores:
        from upscale_onnx.pruning.activations import activation_scores

        return activation_scores(function, evidence)

    return Criterion(name, ("weights", "activations"), score)


def _bn_scales(evidence: Evidence) -> Scores:
    from upscale_onnx.pruning.bn_scales import bn_scores

    return bn_scores(evidence)


def _obs(evidence: Evidence) -> Scores:
    from upscale_onnx.pruning.judging import harm_on
    from upscale_onnx.repair.choose import obs_scores
    from upscale_onnx.repair.costs import obs_costs

    model, batches, threads = evidence.model, evidence.batches, evidence.threads
    if evidence.options.prune.scope == "local":
        return obs_scores(model, batches, threads)
    return obs_costs(model, batches, partial(harm_on, model, threads=threads), threads)


def _tvs(evidence: Evidence) -> Scores:
    from upscale_onnx.pruning.class_scores import tvs_scores

    return tvs_scores(evidence)


def _taylor(evidence: Evidence) -> Scores:
    from upscale_onnx.pruning.class_scores import taylor_scores

    return taylor_scores(evidence)


_ALL = (
    of_weights("l1", l1.score),
    of_weights("l2", l2.score),
    of_weights("random", random.score),
    of_weights("lamp", lamp.score, is_comparable=True),
    of_weights("fpgm", fpgm.score),
    of_weights("minimum", minimum.score),
    Criterion("bn-scale", ("graph",), _bn_scales),
    of_activations("hrank", ActivationCriterion(hrank.measure)),
    of_activations("apoz", ActivationCriterion(apoz.measure)),
    of_activations("mean-activation", ActivationCriterion(mean_activation.measure)),
    of_activations("wanda", ActivationCriterion(wanda.measure, wanda.score)),
    # Where layers are ranked together, its scores are divided by what the layer makes.
    Criterion("obs", ("weights", "activations"), _obs, is_comparable=True, sides=("input",)),
    Criterion("tvs", ("activations", "labels"), _tvs),
    # Scores are changes of the loss, or divided by their norm in each layer.
    Criterion("taylor", ("gradients", "labels"), _taylor, is_comparable=True, settings=taylor.settings),
)
CRITERIA = {criterion.name: criterion for criterion in _ALL}


def criterion_of(given: str | Callable[..., Any]) -> Criterion:
    """The criterion that an option names, with or without settings behind its name, or gives as a function.

    Raises: ArgumentError where there is no such criterion, or its settings cannot be used.
    """
    if isinstance(given, ActivationCriterion):
        return of_activations("of activations", given)
    if not isinstance(given, str):
        return of_weights("custom", given, is_comparable=given is lamp.score)
    name, colon, rest = given.partition(":")
    if name not in CRITERIA:
        known = ", ".join(CRITERIA)
        raise ArgumentError(f"no criterion called {name!r}: use one of {known}{did_you_mean(name, CRITERIA)}")
    found = CRITERIA[name]
    if colon and found.settings is None:
        raise ArgumentError(f"criterion {name!r} takes no settings: leave {rest!r} out")
    if colon and found.settings is not None:
        found.settings(settings_of(given))
    return found


def settings_of(name: str) -> dict[str, str]:
    """The settings after a criterion's name, by their names.

    Raises: ArgumentError where they are not of the form KEY=VALUE.
    """
    words = name.split(":")[1:]
    if wrong := [word for word in words if "=" not in word]:
        raise ArgumentError(f"criterion {name!r}: {wrong[0]!r} is not of the form KEY=VALUE")
    return dict(word.split("=", 1) for word in words)
