"""The space of profiles: its decisions, its masks and the models that profiles make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.graphs import check, parse, weight
from upscale_onnx import compile
from upscale_onnx.candidates.candidate import Candidate
from upscale_onnx.candidates.families import at_compression, random_shares
from upscale_onnx.candidates.space import Space
from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.arrays import archive_bytes
from upscale_onnx.masks.profile_files import profile_text
from upscale_onnx.options import Options
from upscale_onnx.types import Array

CONSTRAINED = Options.of(method="constrained")


def network(classes: int = 10, seed: int = 0) -> onnx.ModelProto:
    """Two blocks of one residual stage, and a layer of `classes` scores."""

    def drawn(*shape: int) -> Array:
        return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)

    text = f"""(float[N, 3, 8, 8] x) => (float[N, {classes}] y) {{
        a = Conv<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(x, stem)
        b = Conv<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(a, first)
        c = Relu(b)
        d = Conv<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(c, second)
        e = Add(a, d)
        f = Relu(e)
        g = GlobalAveragePool(f)
        h = Flatten(g)
        y = Gemm(h, fc)
    }}"""
    return parse(
        text, stem=drawn(16, 3, 3, 3), first=drawn(24, 16, 3, 3), second=drawn(16, 24, 3, 3), fc=drawn(16, classes)
    )


@pytest.fixture(scope="module")
def space() -> Space:
    return Space.of(network(), CONSTRAINED)


def test_what_is_tied_is_one_decision(space: Space) -> None:
    assert [(one.weights, one.channels) for one in space.decisions] == [(("first", "fc"), 16), (("second",), 24)]


def test_the_structure_is_that_of_the_architecture(space: Space) -> None:
    assert Space.of(network(classes=100, seed=3), CONSTRAINED).structure == space.structure
    assert Space.of(network(), Options.of()).structure != space.structure


@pytest.mark.parametrize("choice", ["scores", "exact"])
def test_a_decision_keeps_its_share(space: Space, choice: Any) -> None:
    masks = space.masks((0.5, 0.25), choice)
    assert {weight: int(mask.sum()) for weight, mask in masks.items()} == {"first": 8, "fc": 8, "second": 6}
    np.testing.assert_array_equal(masks["first"], masks["fc"])


def test_what_a_share_leaves_of_a_unit_is_kept() -> None:
    space = Space.of(network(), CONSTRAINED, unit=8)
    kept = [[one.kept for one in space.kept(space.masks(shares))] for shares in ((0.5, 0.4), (0.51, 0.3), (0.0, 0.7))]
    assert kept == [[8, 16], [16, 8], [8, 24]]
    assert space.candidate((0.3, 0.6)).shares == (0.5, 16 / 24)


def test_a_branch_goes_as_a_whole_where_there_is_a_way_around_it() -> None:
    space = Space.of(network(), CONSTRAINED, unit=8, drops=True)
    assert space.branches == {1: frozenset({1})}  # the other decision is about the stream, and the only way
    masks = space.masks((0.0, 0.0))
    assert {weight: int(mask.sum()) for weight, mask in masks.items()} == {"first": 8, "fc": 8, "second": 0}
    found = space.candidate((1.0, 0.0))
    assert [node.op_type for node in found.model.graph.node].count("Conv") == 1
    check(found.masked, found.model)
    assert found.shares == (1.0, 0.0)


def test_what_is_computed_for_a_branch_alone_is_gone_with_it() -> None:
    space = Space.of(network(), Options.of(), unit=8, drops=True)
    assert [one.weights for one in space.decisions] == [("first",), ("second",), ("fc",)]
    # A layer that reads nothing still makes its bias, which the next one reads.
    assert space.branches == {0: frozenset({0}), 1: frozenset({0, 1})}


def test_losses_are_the_squared_scores_of_what_goes() -> None:
    def rising(weight: Array, axis: int, rng: object) -> Array:
        return np.arange(1.0, weight.shape[axis] + 1.0)

    tied, alone = Space.of(network(), CONSTRAINED.replaced(criterion=rising)).losses
    # Each layer's scores are divided by their mean. Two layers lose what is tied.
    np.testing.assert_allclose(tied[::-1], 2 * np.square(np.arange(17) / 8.5).cumsum())
    np.testing.assert_allclose(alone[::-1], np.square(np.arange(25) / 12.5).cumsum())


def test_random_choices_follow_the_seed_and_keep_the_share_in_the_mean(space: Space) -> None:
    drawn = [space.masks((0.5, 0.75), "bernoulli", seed)["second"] for seed in range(200)]
    assert np.mean(drawn) == pytest.approx(0.75, abs=0.02)
    assert len({int(mask.sum()) for mask in drawn}) > 3
    np.testing.assert_array_equal(drawn[7], space.masks((0.5, 0.75), "bernoulli", 7)["second"])
    one, other = (space.masks((0.5, 0.75), "exact", seed)["second"] for seed in (0, 1))
    assert one.sum() == other.sum() == 18
    assert (one != other).any()


def test_no_decision_loses_everything(space: Space) -> None:
    for seed in range(5):
        masks = space.masks((0.0, 0.0), "bernoulli", seed)
        assert {weight: int(mask.sum()) for weight, mask in masks.items()} == {"first": 1, "fc": 1, "second": 1}
    at_least = Space.of(network(), CONSTRAINED.replaced(min_channels=4)).masks((0.0, 0.1))
    assert {int(mask.sum()) for mask in at_least.values()} == {4}


def test_a_candidate_is_the_smaller_model(space: Space) -> None:
    found = space.candidate((0.5, 0.25))
    check(found.masked, found.model)
    left = 8 * 27 + 6 * 8 * 9 + 8 * 6 * 9 + 8 * 10
    assert found.stats.parameters == left
    assert found.compression == pytest.approx((16 * 27 + 2 * 24 * 16 * 9 + 160) / left)
    assert found.shares == (0.5, 0.25)


def test_its_profile_file_compiles_to_the_same_model(space: Space, tmp_path: Path) -> None:
    found = space.candidate((0.6, 0.3))
    path = tmp_path / "p.json"
    path.write_text(profile_text(space.kept(found.masks), "input", "constrained"))
    made = compile(
        network(), profile=str(path), method="constrained", masks="flat", export="gather", race=False, verify=False
    )
    assert made.model.SerializeToString() == found.model.SerializeToString()


def test_what_a_repair_chooses_is_what_a_compile_chooses(tmp_path: Path) -> None:
    """By `obs`, layers that choose for themselves choose anew on what the repaired layers before them make."""
    data = np.random.default_rng(0).normal(size=(32, 3, 8, 8)).astype(np.float32)
    asked = {"method": "unconstrained", "criterion": "obs", "repair": "lsq", "calibration": data}
    space = Space.of(network(), Options.of(**asked))
    shares = (0.5,) * len(space.decisions)
    path = tmp_path / "p.json"
    path.write_text(profile_text(space.kept(space.masks(shares)), "input", "unconstrained"))
    made = compile(network(), profile=str(path), masks="flat", export="gather", race=False, verify=False, **asked)
    found = space.candidate(shares)
    assert made.model.SerializeToString() == found.model.SerializeToString()
    settled = space.candidate_of(space.masks(shares), "exact")
    assert _error(found, data) < _error(settled, data)


def test_masks_without_a_branch_compile_to_the_same_model(tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(32, 3, 8, 8)).astype(np.float32)
    asked = {"criterion": "obs", "repair": "lsq", "calibration": data}
    space = Space.of(network(), Options.of(method="unconstrained", **asked), unit=8, drops=True)
    found = space.candidate((1.0, 0.0, 0.5))
    assert not space.chooses_anew(found.masks, "scores")
    path = tmp_path / "m.npz"
    path.write_bytes(archive_bytes(dict(found.masks)))
    made = compile(network(), mask=str(path), export="gather", race=False, verify=False, repair="lsq", calibration=data)
    assert made.model.SerializeToString() == found.model.SerializeToString()


def test_repair_fits_what_is_left() -> None:
    data = np.random.default_rng(0).normal(size=(32, 3, 8, 8)).astype(np.float32)
    plain = Space.of(network(), CONSTRAINED.replaced(calibration=data))
    fitted = Space.of(network(), CONSTRAINED.replaced(calibration=data, repair="lsq"))
    assert _error(fitted.candidate((0.6, 0.6)), data) < 0.9 * _error(plain.candidate((0.6, 0.6)), data)


@pytest.mark.parametrize("factor", [1.5, 2.5, 4.0])
def test_profiles_scaled_to_a_compression(space: Space, factor: float) -> None:
    shares = random_shares(2, np.random.default_rng(1))
    found = at_compression(space, shares, factor)
    assert found is not None
    assert found.compression == pytest.approx(factor, rel=0.1)
    assert np.argmax(found.shares) == np.argmax(shares)


def test_a_scale_is_found_in_few_trials_and_without_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.zeros((4, 3, 8, 8), np.float32)
    repairing = Space.of(network(), CONSTRAINED.replaced(calibration=data, repair="lsq"))
    made: list[Space] = []
    original = Space.candidate

    def counted(space: Space, *args: Any, **named: Any) -> Candidate:
        made.append(space)
        return original(space, *args, **named)

    monkeypatch.setattr(Space, "candidate", counted)
    found = at_compression(repairing, (0.8, 0.5), 3.0, 0.05, 0.05)
    assert found is not None
    assert found.compression == pytest.approx(3.0, rel=0.05)
    assert len(made) <= 4
    assert {one.options.prune.repair for one in made} == {None}


def test_the_nearest_scale_is_taken_where_none_is_near_enough(space: Space) -> None:
    found, exact = (at_compression(space, (0.8, 0.5), 2.5, 0.2, enough) for enough in (0.2, 0.0))
    assert found is not None
    assert exact is not None
    assert 0.0 < abs(exact.compression - 2.5) <= abs(found.compression - 2.5)


def test_no_scale_reaches_every_compression(space: Space) -> None:
    assert at_compression(space, (1.0, 1.0), 2.0) is None


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (network(), Options.of(method="hybrid"), "has no decisions of its own"),
        (network(), Options.of(repair="lsq"), "needs calibration data"),
        (parse("(float[N, 4] x) => (float[N, 4] y) { y = MatMul(x, w) }", w=weight(4, 4)), Options.of(), "nothing to"),
    ],
)
def test_what_has_no_profiles(model: onnx.ModelProto, options: Options, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        Space.of(model, options)


@pytest.mark.parametrize("shares", [(0.5,), (0.5, 1.5), (0.5, -0.1)])
def test_profiles_that_do_not_fit(space: Space, shares: tuple[float, ...]) -> None:
    with pytest.raises(ArgumentError, match="has 2 shares from 0 to 1"):
        space.masks(shares)


def _error(found: Candidate, data: Array) -> float:
    from upscale_onnx.runtime.sessions import make_session, run

    expected, made = (np.asarray(run(make_session(model), {"x": data})[0]) for model in (network(), found.model))
    return float(np.linalg.norm(made - expected) / np.linalg.norm(expected))
