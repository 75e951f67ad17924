"""Layer-wise profiles: arithmetic, files, and applying what one network was found to keep to another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.decisions import Decision, decisions
from upscale_onnx.masks.profile_files import profile_text
from upscale_onnx.masks.profiles import is_relative, keep_ratios
from upscale_onnx.masks.targets import MaskTarget
from upscale_onnx.results import KeptChannels

LAYERS = [f"w{number}" for number in range(5)]
SINGLE = [Decision((layer,)) for layer in LAYERS]


def ratios(profile: str | Path, amount: float = 0.0, seed: int = 0) -> list[float]:
    return list(keep_ratios(str(profile), SINGLE, amount, seed).values())


def test_equal_keeps_what_the_amount_leaves() -> None:
    assert ratios("equal", 0.3) == [0.7] * 5


def test_slopes_are_even_and_keep_the_mean() -> None:
    np.testing.assert_allclose(ratios("decreasing:0.4", 0.3), [0.5, 0.6, 0.7, 0.8, 0.9], atol=1e-12)
    np.testing.assert_allclose(ratios("decreasing", 0.5), [0.4, 0.45, 0.5, 0.55, 0.6], atol=1e-12)


def test_increasing_profiles_prune_more_towards_the_end() -> None:
    np.testing.assert_allclose(ratios("increasing:0.4", 0.3), [0.9, 0.8, 0.7, 0.6, 0.5], atol=1e-12)


def test_where_a_slope_leads_above_all_the_other_layers_keep_less() -> None:
    kept = ratios("decreasing:1", 0.2)
    assert max(kept) == 1.0
    assert np.mean(kept) == pytest.approx(0.8)
    assert np.all(np.diff(kept[:3]) == pytest.approx(0.25))


def test_random_is_within_its_bounds_and_follows_the_seed() -> None:
    kept = keep_ratios("random", [Decision((str(n),)) for n in range(2000)], 0.0, 1)
    values = np.array(list(kept.values()))
    assert values.min() >= 0.3
    assert values.max() <= 0.9
    assert values.mean() == pytest.approx(0.6, abs=0.02)
    assert ratios("random", seed=1) == ratios("random", seed=1) != ratios("random", seed=2)


def test_files_by_weight_and_by_position(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text(json.dumps({"w3": 0.25, "w0": 1}))
    assert ratios(file) == [1.0, 1.0, 1.0, 0.25, 1.0]
    file.write_text(json.dumps([0.1, 0.2, 0.3, 0.4, 0.5]))
    assert ratios(file) == [0.1, 0.2, 0.3, 0.4, 0.5]


def test_what_is_written_fits_by_weight_and_elsewhere_by_position(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    found = [KeptChannels(w, "n", 7, n, n / 7, (w,), ("Conv 3x3",)) for n, w in enumerate(reversed(LAYERS), 1)]
    file.write_text(profile_text(found, "input", "hybrid"))
    ours, others = ([Decision((name,), 7, ("Conv 3x3",)) for name in names] for names in (LAYERS, "abcde"))
    assert list(keep_ratios(str(file), ours, 0.0).values()) == [5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7]
    other = keep_ratios(str(file), others, 0.0)
    assert list(other.values()) == [1 / 7, 2 / 7, 3 / 7, 4 / 7, 5 / 7]


@pytest.mark.parametrize(("side", "method"), [("output", "constrained"), ("input", "unconstrained")])
def test_what_is_written_is_refused_on_another_side_or_method(tmp_path: Path, side: Any, method: Any) -> None:
    file = tmp_path / "p.json"
    tied, layers = ("w0", "w1"), ("Conv 1x1", "Gemm")
    file.write_text(profile_text([KeptChannels("w0", "n", 8, 4, 0.5, tied, layers)], "input", "constrained"))
    ours = [Decision(tied, 8, layers)]
    assert keep_ratios(str(file), ours, 0.0, 0, "input", "constrained") == {"w0": 0.5, "w1": 0.5}
    with pytest.raises(ArgumentError, match=r"p\.json: the profile is for (side|method) .*, not for"):
        keep_ratios(str(file), ours, 0.0, 0, side, method)


@pytest.mark.parametrize(
    ("ours", "misfit"),
    [
        ([(8, "Conv 3x3"), (8, "Conv 1x1")], r"entry 2 is of 8 channels of Conv 3x3, the model's of 8 .* Conv 1x1"),
        ([(8, "Conv 3x3"), (16, "Conv 3x3")], r"entry 2 is of 8 channels .*, the model's of 16 .* \('w1'\)"),
        ([(8, "Conv 3x3")], "the profile has 2 entries, the model 1"),
    ],
)
def test_a_profile_of_another_architecture_is_refused(tmp_path: Path, ours: list[tuple[int, str]], misfit: str) -> None:
    file = tmp_path / "p.json"
    kept = [KeptChannels(w, "n", 8, 4, 0.5, (w,), ("Conv 3x3",)) for w in ("w0", "w1")]
    file.write_text(profile_text(kept, "input", "unconstrained"))
    decisions = [Decision((f"w{n}",), channels, (kind,)) for n, (channels, kind) in enumerate(ours)]
    with pytest.raises(ArgumentError, match=r"p\.json: the profile is of another architecture: .*" + misfit):
        keep_ratios(str(file), decisions, 0.0)


TIED = [Decision(("w0", "w2")), Decision(("w1",)), Decision(("w3", "w4"))]


def test_a_decision_is_drawn_once_for_all_it_is_about() -> None:
    kept = keep_ratios("random", TIED, 0.0, 1)
    assert kept["w0"] == kept["w2"] != kept["w1"]
    assert kept["w3"] == kept["w4"]
    assert [kept["w0"], kept["w1"], kept["w3"]] == list(
        keep_ratios("random", [Decision((name,)) for name in "abc"], 0.0, 1).values()
    )
    kept = keep_ratios("increasing:0.2", TIED, 0.5)
    np.testing.assert_allclose([kept[name] for name in LAYERS], [0.6, 0.5, 0.6, 0.4, 0.4])


@pytest.mark.parametrize(
    "content",
    [
        {"w2": 0.25, "w4": 0.75},
        {"w0": 0.25, "w2": 0.25, "w3": 0.75},
        [0.25, 1, 0.75],
        {"decisions": [{"weights": ["x", "y"], "keep_ratio": n} for n in (0.25, 1, 0.75)]},
        {"layers": [{"weight": w, "keep_ratio": n} for w, n in zip(LAYERS, (0.25, 1, 0.25, 0.75, 0.75), strict=True)]},
    ],
    ids=["one name each", "names that agree", "by position", "of another network", "of an earlier version"],
)
def test_files_name_a_decision_once(tmp_path: Path, content: object) -> None:
    file = tmp_path / "p.json"
    file.write_text(json.dumps(content))
    kept = keep_ratios(str(file), TIED, 0.0)
    assert [kept[name] for name in LAYERS] == [0.25, 1, 0.25, 0.75, 0.75]


def test_a_file_whose_names_disagree_about_a_decision_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text('{"w0": 0.25, "w2": 0.5}')
    with pytest.raises(ArgumentError, match="lose their channels together, but keep"):
        keep_ratios(str(file), TIED, 0.0)


def test_decisions_are_in_graph_order() -> None:
    targets = [MaskTarget(name, name, "Conv", (6, 4, 3, 3), 1, 0, 1, None) for name in LAYERS]
    ids = np.arange(4)
    groups = [[("w4", ids), ("w3", ids), ("no layer", ids)], [("w0", ids), ("w3", ids), ("w2", ids + 2)]]
    found = decisions(targets, "input", groups)
    assert [one.weights for one in found] == [("w0", "w2"), ("w1",), ("w3", "w4")]
    assert [one.channels for one in found] == [6, 4, 4]
    assert found[0].layers == ("Conv 3x3", "Conv 3x3")
    assert [one.weights for one in decisions(targets, "output")] == [(name,) for name in LAYERS]
    assert {one.channels for one in decisions(targets, "output")} == {6}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "not JSON"),
        ("3", "an object of weight names or a list"),
        ('{"w9": 0.5}', "no layer that can be pruned has a weight 'w9'"),
        ('{"w1": 1.5}', "'w1' keeps 1.5"),
        ('{"w1": true}', "'w1' keeps True"),
        ("[0.5, 0.5]", "has 2 entries, the model 5"),
        ('{"layers": [{"weight": 3, "keep_ratio": 1}]}', "layers[0] is no object"),
        ('{"layers": [{"weight": "w1"}]}', "layers[0] keeps None"),
    ],
)
def test_files_that_do_not_fit_say_where(tmp_path: Path, content: str, complaint: str) -> None:
    file = tmp_path / "p.json"
    file.write_text(content)
    with pytest.raises(ArgumentError) as caught:
        ratios(file)
    assert complaint in str(caught.value)
    assert str(caught.value).startswith(str(file))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"none\.json: cannot read the profile"):
        ratios(tmp_path / "none.json")


@pytest.mark.parametrize(
    "profile", ["steep", "increasing:", "increasing:x", "decreasing:-1", "increasing:inf", "equal:1"]
)
def test_names_that_are_none(profile: str) -> None:
    with pytest.raises(ArgumentError, match="profile"):
        is_relative(profile)
