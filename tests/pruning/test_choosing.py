"""What is pruned of whole models: scopes, goals of size, rounds, ignored layers, and what of it is reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.graphs import parse
from tests.pruned import masked_by, pruned, task
from upscale_onnx import compile
from upscale_onnx.errors import ArgumentError
from upscale_onnx.export import sizes
from upscale_onnx.export.export import make
from upscale_onnx.export.recipes import Recipe
from upscale_onnx.masks.kept import kept_channels
from upscale_onnx.masks.pools import Scores
from upscale_onnx.masks.profile_files import profile_text
from upscale_onnx.masks.rescore import without_idle
from upscale_onnx.model.stats import model_stats
from upscale_onnx.options import Options, Side
from upscale_onnx.pruning.checks import check_masks
from upscale_onnx.pruning.strategies import knows_target

GRAPH = """(float[1, 3, 8, 8] x) => (float[1, 10] y) {
    a = Conv<pads=[1, 1, 1, 1]>(x, stem)
    r = Relu(a)
    b = Conv<pads=[1, 1, 1, 1]>(r, first)
    s = Relu(b)
    c = Conv<pads=[1, 1, 1, 1]>(s, second)
    t = Add(c, r)
    d = Conv<pads=[1, 1, 1, 1]>(t, third)
    u = Relu(d)
    e = Conv<pads=[1, 1, 1, 1]>(u, fourth)
    v = Add(e, t)
    p = GlobalAveragePool(v)
    f = Flatten(p)
    y = Gemm<transB=1>(f, fc)
}"""
SHAPES = {
    "stem": (16, 3, 3, 3), "first": (24, 16, 3, 3), "second": (16, 24, 3, 3), "third": (32, 16, 3, 3),
    "fourth": (16, 32, 3, 3), "fc": (10, 16),
}  # fmt: skip


def network(seed: int = 0) -> onnx.ModelProto:
    """Two residual blocks of 24 and 32 channels inside, around a stream of 16."""
    rng = np.random.default_rng(seed)
    return parse(GRAPH, **{name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()})


def kept(options: Options, model: onnx.ModelProto | None = None) -> dict[str, int]:
    check_masks(options)
    masked, count = pruned(network() if model is None else model, options)
    found = kept_channels(masked, options.prune.side)
    assert count == sum(layer.channels - layer.kept for layer in found)
    return {layer.weight: layer.kept for layer in found}


def scaled(**factors: float) -> onnx.ModelProto:
    """The network with weights multiplied."""
    model = network()
    for tensor in model.graph.initializer:
        if tensor.name in factors:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * factors[tensor.name], tensor.name))
    return model


@pytest.mark.parametrize("side", ["input", "output"])
@pytest.mark.parametrize("method", ["unconstrained", "constrained"])
def test_a_global_amount_is_of_all_channels_whatever_their_scale(side: Side, method: str) -> None:
    options = Options.of(amount=0.3, scope="global", side=side, method=method, masks="flat")  # type: ignore[arg-type]
    loud = scaled(first=100.0, fourth=np.float32(0.01))
    assert kept(options) == kept(options, loud)
    total = sum(kept(Options.of(amount=0.0, masks="flat", side=side)).values())
    assert 0.66 * total <= sum(kept(options).values()) <= 0.74 * total


def test_layers_of_one_structure_are_ranked_together() -> None:
    model = scaled(second=1.0)
    arrays = {tensor.name: tensor for tensor in model.graph.initializer}
    weak = numpy_helper.to_array(arrays["second"]).copy()
    weak[:, :20] *= 0.01  # almost all of what the second block of the first kind reads
    arrays["second"].CopyFrom(numpy_helper.from_array(weak, "second"))
    found = kept(Options.of(amount=0.25, scope="isomorphic", masks="flat"), model)
    # second and fourth read what one convolution makes for one: 14 of 56 channels go, all of them weak.
    assert (found["second"], found["fourth"]) == (10, 32)
    # So do first and third, which read the stream; the classifier is like nothing else.
    assert found["first"] + found["third"] == 24
    assert found["fc"] == 12


def test_ignored_layers_and_those_of_an_amount_of_their_own() -> None:
    options = Options.of(amount=0.5, amounts=(("fo*", 0.25), ("f*", 0.0)), ignore=("third",), masks="flat")
    assert kept(options) == {"first": 16, "second": 12, "third": 16, "fourth": 24, "fc": 16}
    assert kept(Options.of(amounts=(("d", 0.5),), masks="flat")) == {
        "first": 16,
        "second": 24,
        "third": 8,
        "fourth": 32,
        "fc": 16,
    }
    with pytest.raises(ArgumentError, match="no layer is called 'secnd', did you mean 'second'"):
        kept(Options.of(amount=0.5, ignore=("secnd",)))


def test_constrained_layers_keep_what_an_ignored_one_reads() -> None:
    found = kept(Options.of(amount=0.5, method="constrained", ignore=("third",), masks="flat"))
    assert found == {"first": 16, "second": 12, "third": 16, "fourth": 16, "fc": 16}
    shared = kept(Options.of(amount=0.5, amounts=(("third", 0.25),), method="constrained", masks="flat"))
    assert (shared["first"], shared["third"], shared["fc"]) == (12, 12, 12)


def test_aware_masks_leave_ignored_layers_whole() -> None:
    options = Options.of(amount=0.4, ignore=("second", "fourth"), race=False, provider="cpu")
    assert knows_target(options)
    found = kept(options)
    assert (found["second"], found["fourth"]) == (24, 32)
    assert found["first"] < 16


def test_least_and_aligned_counts() -> None:
    assert set(kept(Options.of(amount=0.9, min_channels=5, scope="global", masks="flat")).values()) == {5}
    found = kept(Options.of(amount=0.3, mask_align=8, masks="flat"))
    assert found == {"first": 16, "second": 24, "third": 16, "fourth": 24, "fc": 16}


@pytest.mark.parametrize(
    "options",
    [
        Options.of(params=0.5),
        Options.of(macs=0.4, method="constrained"),
        Options.of(compression=3.0, side="output", scope="global"),
        Options.of(params=0.4, steps=3, scope="isomorphic"),
        Options.of(macs=0.6, profile="decreasing:0.3"),
    ],
)
def test_sizes_are_met_by_what_is_compiled(options: Options) -> None:
    model = network()
    done = compile(model, options, prefer="size", export="gather", race=False, verify=False)
    goal = options.prune.macs or options.prune.params or 1 / (options.prune.compression or 1)
    before, after = model_stats(model), model_stats(done.model)
    share = after.macs / before.macs if options.prune.macs else after.parameters / before.parameters
    assert goal - 0.04 < share <= goal
    assert done.report.profile == kept_channels(done.model, options.prune.side) or done.report.masked_channels > 0


def test_on_the_way_to_a_size_no_network_is_exported_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Amounts that are nearly the same choose the same channels."""
    exported: list[bytes] = []

    def noted(recipe: Recipe, masked: onnx.ModelProto, *rest: Any, **named: Any) -> onnx.ModelProto:
        exported.append(masked.SerializeToString(deterministic=True))
        return make(recipe, masked, *rest, **named)

    monkeypatch.setattr(sizes, "make", noted)
    pruned(network(), Options.of(params=0.4, race=False))
    assert len(exported) == len(set(exported)) > 4


@pytest.mark.usefixtures("short_races")
@pytest.mark.parametrize("race", [False, True])
def test_an_export_that_is_too_large_is_not_chosen(race: bool) -> None:
    model = network()
    report = compile(model, macs=0.5, race=race, verify=False, provider="cpu").report
    if report.export != "input":  # which is chosen where nothing is faster
        assert report.after.macs <= 0.5 * report.before.macs
    assert report.masked_channels > 0
    assert report.race is None or "keep" not in {timing.name for timing in report.race.timings}


def test_a_size_that_ignored_layers_exclude() -> None:
    with pytest.raises(ArgumentError, match=r"params 0\.1 cannot be reached: pruning all that may go leaves 0"):
        kept(Options.of(params=0.1, ignore=("second", "fourth"), race=False))


def test_every_round_scores_what_is_left() -> None:
    seen: list[dict[str, int]] = []

    def scorer(model: onnx.ModelProto) -> Scores:
        seen.append({layer.weight: layer.kept for layer in kept_channels(model, "input")})
        rng = np.random.default_rng(len(seen))
        return {layer.weight: rng.random(layer.channels) for layer in kept_channels(model, "input")}

    options = Options.of(amount=0.75, steps=2, criterion="wanda", masks="flat")
    masked, _ = masked_by(task(network(), options, score=scorer))
    assert [counts["second"] for counts in seen] == [24, 12]
    # What the first round pruned stays pruned, though the second scores it anew.
    first = np.argsort(np.random.default_rng(1).random(16))[:8]
    gone = np.flatnonzero(~numpy_helper.to_array(masked.graph.initializer[1]).any((0, 2, 3)))
    assert set(first) < set(gone)
    assert gone.size == 12


def test_rows_that_nobody_reads_do_not_score() -> None:
    masked, _ = pruned(network(), Options.of(amount=0.5, masks="flat"))
    arrays = {t.name: numpy_helper.to_array(t) for t in without_idle(masked, "input").graph.initializer}
    dead = ~arrays["second"].any((0, 2, 3))
    assert dead.sum() == 12
    np.testing.assert_array_equal(~arrays["first"].any((1, 2, 3)), dead)
    back, _ = pruned(network(), Options.of(amount=0.5, side="output"))
    arrays = {t.name: numpy_helper.to_array(t) for t in without_idle(back, "output").graph.initializer}
    np.testing.assert_array_equal(~arrays["second"].any((0, 2, 3)), ~arrays["first"].any((1, 2, 3)))


@pytest.mark.parametrize(
    ("side", "tied"),
    [
        ("input", [("first", "third", "fc"), ("second",), ("fourth",)]),
        ("output", [("stem", "second", "fourth"), ("first",), ("third",)]),
    ],
)
def test_layers_that_lose_channels_together_are_one_entry_of_a_profile(
    tmp_path: Path, side: Side, tied: list[tuple[str, ...]]
) -> None:
    wanted = Options.of(side=side, method="constrained", masks="flat", race=False, verify=False)
    done = compile(network(), wanted.replaced(profile="random")).report.profile
    assert [decision.weights for decision in done] == tied
    drawn = np.random.default_rng(0).uniform(0.3, 0.9, 3)
    assert [d.kept for d in done] == [d.channels - int((1 - s) * d.channels) for d, s in zip(done, drawn, strict=True)]
    file = tmp_path / "p.json"
    file.write_text(profile_text(done, side, "constrained"))
    assert compile(network(3), wanted.replaced(profile=str(file))).report.profile == done
    with pytest.raises(ArgumentError, match="the profile is for method 'constrained', not for"):
        compile(network(), wanted.replaced(profile=str(file), method="unconstrained"))


def test_a_profile_found_on_one_network_prunes_another(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    done = compile(network(), amount=0.4, scope="global", masks="flat", race=False, verify=False)
    assert 0.5 < np.mean([layer.keep_ratio for layer in done.report.profile]) < 0.75
    file.write_text(json.dumps([layer.keep_ratio for layer in done.report.profile]))
    again = compile(network(5), profile=str(file), masks="flat", race=False, verify=False)
    assert again.report.profile == done.report.profile
    assert compile(network(), race=False, verify=False).report.profile == ()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (Options.of(params=1.0), "params is 1.0"),
        (Options.of(compression=1.0), "compression is 1.0"),
        (Options.of(amounts=(("x", 1.5),)), r"amounts is .*1.5.*: it takes a tuple, each item \(text, a fraction"),
        (Options.of(amount=0.3, min_channels=0), "min_channels is 0"),
        (Options.of(amount=0.3, params=0.5), "amount and params both say how much"),
        (Options.of(mask="m.npz", profile="random"), "leave amounts and the profile out"),
        (Options.of(scope="global"), "scope has no effect where nothing is pruned"),
        (Options.of(amount=0.3, schedule="linear"), "schedule has no effect in a single round"),
        (Options.of(profile="equal"), "give an amount or a size"),
        (Options.of(amount=0.3, profile="random"), "leave amounts and sizes out"),
        (Options.of(amount=0.3, profile="equal", scope="global"), "a profile says what each layer keeps"),
        (Options.of(amount=0.3, profile="equal", amounts=(("x", 0.5),)), "give one of them"),
        (Options.of(latency=0.5, scope="global"), "decide how much each layer loses: leave scope out"),
        (Options.of(amount=0.3, masks="aware", steps=2), "leave steps out"),
        (Options.of(params=0.3, masks="aware"), "need an amount or a latency"),
        (Options.of(params=0.3, method="hybrid"), "give an amount"),
        (Options.of(amount=0.3, method="hybrid", side="output"), "use side 'input'"),
    ],
)
def test_what_does_not_go_together(options: Options, complaint: str) -> None:
    with pytest.raises(ArgumentError, match=complaint):
        check_masks(options)


def test_scores_made_for_ranking_across_layers_are_ranked_as_they_are() -> None:
    def scorer(model: onnx.ModelProto) -> Scores:
        sizes = {layer.weight: layer.channels for layer in kept_channels(model, "input")}
        return {weight: np.full(size, 1.0 + (weight == "fc")) + np.arange(size) / 100 for weight, size in sizes.items()}

    for criterion, untouched in (("taylor:norm=l2", True), ("wanda", False)):
        options = Options.of(amount=0.5, scope="global", criterion=criterion)
        masked, _ = masked_by(task(network(), options, score=scorer))
        left = {layer.weight: layer.kept for layer in kept_channels(masked, "input")}
        assert (left["fc"] == 16) is untouched
