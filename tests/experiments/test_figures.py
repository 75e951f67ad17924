"""The figures on networks of two decisions, whose images have the labels that they predict themselves."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.reinforce.conftest import CONSTRAINED, graph
from upscale_onnx.errors import ArgumentError
from upscale_onnx.experiments.bases import Base
from upscale_onnx.experiments.figures import FIGURES, Setting, Wanted, figure
from upscale_onnx.experiments.points import Outcome, Point, Sheet
from upscale_onnx.experiments.run import check_folder, measure
from upscale_onnx.experiments.summary import lines, rank, rank_at_aim
from upscale_onnx.measures.measure import Top1
from upscale_onnx.runtime.sessions import make_session, run


def base(seed: int, group: int, first: int = 8) -> Base:
    model = graph(seed, first)
    x = np.random.default_rng(seed).normal(size=(64, 3, 6, 6)).astype(np.float32)
    labels = np.asarray(run(make_session(model), {"x": x})[0]).argmax(axis=1)
    options = CONSTRAINED.replaced(calibration={"x": x[:16]})
    return Base(f"net{seed}", group, model, options, Top1.of(model, [({"x": x}, labels)]))


@pytest.fixture(scope="module")
def bases() -> list[Base]:
    return [base(0, 0), base(1, 0), base(2, 1), base(3, 1)]


@pytest.fixture
def setting(bases: list[Base]) -> Setting:
    decisions = bases[0].space("l1").decisions
    return Setting((0, 0, 1, 1), decisions, (1.6, 2.1), draws=2, profiles=8, reference=4, choice="scores")


def quiet(stage: str, share: float) -> None:
    del stage, share


def points_of(name: str, setting: Setting, rows: dict[Point, Outcome] | None = None) -> list[Wanted]:
    found = figure(name)
    return [*found.points(setting), *found.then(setting, rows or {})]


def row(network: int, family: str, accuracy: float, number: int = 0, compression: float = 2.1) -> tuple[Point, Outcome]:
    point = Point(network, family, 2.1, number, "scores", "l1")
    return point, Outcome(compression, accuracy, (0.5, accuracy), (0.5, accuracy))


def test_networks_are_searched_on_or_judged_but_not_both(setting: Setting) -> None:
    rows = dict(row(0, "random", 0.1 * number, number) for number in range(5))
    wanted = points_of("figure4", setting, rows)
    drawn = {(one.point.network, one.point.number) for one in wanted if one.point.family == "random"}
    assert drawn == {(n, i) for n in (0, 2) for i in range(8)} | {(n, i) for n in (1, 3) for i in range(4)}
    moved = [one for one in wanted if one.point.family.startswith("best")]
    assert {one.point.network for one in moved} == {3}  # nothing is known of the other set
    assert {one.shares for one in moved} == {(0.5, 0.4)}
    assert {one.point.compression for one in moved} == {2.1}


def test_the_best_are_those_of_the_same_compression(setting: Setting) -> None:
    rows = dict([row(0, "random", 0.9, 0, 2.4), row(0, "random", 0.5, 1, 2.2), row(0, "random", 0.6, 2, 2.0)])
    two = replace(setting, transferred=2)
    moved = [one for one in points_of("figure4", two, rows) if one.point.family.startswith("best")]
    *single, mean = [(one.point.family, one.point.number, one.shares) for one in moved]
    assert single == [("best of set 1", 0, (0.5, 0.6)), ("best of set 1", 1, (0.5, 0.5))]
    assert mean == ("best of set 1, mean of 2", 0, pytest.approx((0.5, 0.3**0.5)))


def test_the_best_are_those_of_all_networks_of_a_set_but_the_last(setting: Setting) -> None:
    three = replace(setting, groups=(0, 0, 0, 1, 1))
    accuracies = {0: (0.9, 0.7, 0.8), 1: (0.1, 0.8, 0.6), 2: (1.0, 0.0, 0.0)}
    rows = dict(
        row(net, "random", one, number) for net, every in accuracies.items() for number, one in enumerate(every)
    )
    rows |= dict([row(0, "random", 1.0, 3), row(1, "random", 1.0, 3, 3.0)])  # on one of both of another compression
    wanted = points_of("figure4", three, rows)
    assert [one.shares for one in wanted if one.point.family == "best of set 1"] == [(0.5, 0.7)]
    counts = [
        len({w.point.number for w in wanted if (w.point.network, w.point.family) == (n, "random")}) for n in range(5)
    ]
    assert counts == [8, 8, 4, 8, 4]


def test_each_figure_varies_what_it_is_about(setting: Setting) -> None:
    def seen(name: str, field: str) -> set[object]:
        points = [one.point for one in points_of(name, setting)]
        assert {point.network for point in points} == {0, 2}
        assert {point.compression for point in points} == {1.6, 2.1}
        return {getattr(point, field) for point in points}

    assert seen("figure1", "init") == {"pretrained", "random"}
    assert seen("figure1", "choice") == {"bernoulli"}
    assert seen("figure2", "criterion") == {"l1", "taylor"}
    assert seen("figure3", "family") == {"equal", "increasing:0.4", "decreasing:0.4"}


def test_given_profiles_are_applied_as_they_are(setting: Setting) -> None:
    shares = (0.25, 0.5)
    ratios = {weight: share for one, share in zip(setting.decisions, shares, strict=True) for weight in one.weights}
    found = points_of("figure6", replace(setting, files=(("f.json", ratios),)))
    given = [one for one in found if one.point.family == "f.json"]
    assert {one.point.network for one in given} == {1, 3}
    assert {(one.shares, one.is_scaled) for one in given} == {(shares, False)}


def test_a_rank_counts_what_is_better_at_the_same_compression() -> None:
    found = [0.1, 0.3, 0.3, 0.6, 0.7]
    rows = dict(row(1, "random", accuracy, number) for number, accuracy in enumerate(found))
    rows |= dict([row(1, "random", 0.9, 8, 3.0), row(0, "random", 0.9, 9)])  # of another size, on another network
    point, outcome = row(1, "best of set 1", 0.3)
    assert rank({**rows, point: outcome}, point) == pytest.approx((2 + 2 / 2) / 5)
    assert rank({point: outcome}, point) is None


def test_a_rank_at_the_aim_takes_off_what_another_compression_costs() -> None:
    def at(
        aim: float, compression: float, accuracy: float, number: int, family: str = "random"
    ) -> tuple[Point, Outcome]:
        return Point(1, family, aim, number, "scores", "l1"), Outcome(compression, accuracy, (), ())

    # A factor of e costs 0.4.
    rows = dict([at(1.0, 1.0, 0.8, 0), at(math.e, math.e, 0.4, 1), at(math.e, math.exp(1.05), 0.4, 2)])
    point, outcome = at(math.e, math.exp(1.08), 0.37, 0, "best of set 1")
    rows[point] = outcome
    assert rank(rows, point) == 1.0
    assert rank_at_aim(rows, point) == pytest.approx(1 / 2), "0.402 at the aim: the others have 0.40 and 0.42"
    only_one = {key: found for key, found in rows.items() if key.compression != 1.0}
    assert rank_at_aim(only_one, point) is None


def test_lines_hold_means_and_deviations() -> None:
    rows = dict(row(0, "equal", accuracy, number) for number, accuracy in enumerate((0.2, 0.4)))
    rows |= dict([row(0, "equal", 0.0, 2, 0.0), row(1, "equal", 0.7)])  # the third cannot be made
    first, second = lines(rows)
    assert (first.draws, first.accuracy, first.deviation) == (2, pytest.approx(0.3), pytest.approx(0.02**0.5))
    assert (second.network, second.draws, second.deviation) == (1, 1, None)


def test_an_outcome_is_that_of_the_smaller_network(bases: list[Base]) -> None:
    own = bases[0]
    found = own.outcome(Point(0, "equal", 2.1, 0, "scores", "l1"), (0.7, 0.7), is_scaled=True)
    assert found.compression == pytest.approx(2.1, rel=0.1)
    candidate = own.space("l1").candidate(found.shares)
    assert candidate.compression == found.compression
    assert own.measure.value(candidate.model) == found.accuracy
    repaired = replace(own, options=own.options.replaced(repair="lsq"))
    better = repaired.outcome(Point(0, "equal", 2.1, 0, "scores", "l1"), (0.7, 0.7), is_scaled=True)
    assert better.compression == pytest.approx(found.compression, rel=0.1)
    assert better.accuracy > found.accuracy


def test_compressions_are_met_within_two_percent_or_as_nearly_as_channels_allow() -> None:
    wide = base(0, 0, first=64)
    rng = np.random.default_rng(0)
    for number in range(3):
        shares = rng.uniform(0.3, 0.9, 2)
        found = wide.outcome(Point(0, "random", 2.5, number, "scores", "l1"), tuple(shares), is_scaled=True)
        every = [wide.space("l1").candidate(tuple(shares**power)).compression for power in np.linspace(0.5, 3.0, 60)]
        nearest = min(abs(one - 2.5) for one in every)
        assert abs(found.compression - 2.5) <= max(0.02 * 2.5, nearest + 1e-9)


def test_draws_of_one_network_are_measured_once(bases: list[Base], monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[onnx.ModelProto] = []
    monkeypatch.setattr(Top1, "value", lambda self, model: judged.append(model) or float(len(judged)))
    own = replace(bases[0], options=bases[0].options)

    def accuracies(base: Base, choice: str) -> list[float]:
        points = [Point(0, "equal", 2.1, number, choice, "l1") for number in range(3)]
        return [base.outcome(point, (0.7, 0.7), is_scaled=True).accuracy for point in points]

    assert accuracies(own, "scores") == [1.0, 1.0, 1.0]
    assert accuracies(own, "exact") == [2.0, 3.0, 4.0]
    trained = replace(bases[0], tune=lambda model, point: model)
    assert accuracies(trained, "scores") == [5.0, 6.0, 7.0]
    assert own.outcome(Point(0, "equal", 2.1, 0, "scores", "l2"), (0.7, 0.7), is_scaled=True).accuracy == 8.0


def test_what_is_trained_is_what_counts(bases: list[Base]) -> None:
    seen = []
    trained = replace(bases[0], tune=lambda model, point: seen.append((model, point)) or bases[0].model)
    point = Point(0, "equal", 2.1, 0, "scores", "l1", "random")
    assert trained.outcome(point, (0.7, 0.7), is_scaled=True).accuracy == 1.0
    ((model, told),) = seen
    assert told == point
    assert len(model.SerializeToString()) < len(bases[0].model.SerializeToString())


def test_what_was_measured_is_not_measured_again(bases: list[Base], setting: Setting, tmp_path: Path) -> None:
    def stopping(stage: str, share: float) -> None:
        del stage
        if share > 0.5:
            raise KeyboardInterrupt

    setting = replace(setting, compressions=(1.6,), draws=1, profiles=3, reference=1)
    whole = Sheet(tmp_path / "whole.csv")
    measure(figure("figure4"), setting, bases, whole, quiet)
    with pytest.raises(KeyboardInterrupt):
        measure(figure("figure4"), setting, bases, Sheet(tmp_path / "parts.csv"), stopping)
    parts = Sheet(tmp_path / "parts.csv")
    before = dict(parts.rows)
    assert 0 < len(before) < len(whole.rows)
    untouched = [replace(one, measure=replace(one.measure, batches=())) for one in bases]
    known = replace(FIGURES["figure4"], points=lambda setting: only(before), then=lambda setting, rows: ())
    measure(known, setting, untouched, parts, quiet)
    measure(figure("figure4"), setting, bases, parts, quiet)
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    families = {point.family for point in whole.rows}
    assert families == {"random", "equal", "best of set 1", "best of set 2"}


def test_what_is_transferred_follows_the_best(bases: list[Base], setting: Setting, tmp_path: Path) -> None:
    setting = replace(setting, compressions=(1.6,), draws=1, reference=1, transferred=2)
    grown, whole = Sheet(tmp_path / "grown.csv"), Sheet(tmp_path / "whole.csv")
    measure(figure("figure4"), replace(setting, profiles=2), bases, grown, quiet)
    first = dict(grown.rows)
    for sheet in (grown, whole):
        measure(figure("figure4"), replace(setting, profiles=8, transferred=1), bases, sheet, quiet)
    best = {point: found for point, found in whole.rows.items() if point.family.startswith("best")}
    assert {point.family for point in best} == {"best of set 1", "best of set 2"}
    assert any(first[point] != found for point, found in best.items()), "others are the best of more"
    assert grown.rows == whole.rows
    assert Sheet(tmp_path / "grown.csv").rows == whole.rows


def test_another_profile_of_the_same_name_is_measured_anew(bases: list[Base], setting: Setting, tmp_path: Path) -> None:
    sheet = Sheet(tmp_path / "r.csv")

    def kept(*shares: float) -> tuple[float, ...]:
        of = zip(setting.decisions, shares, strict=True)
        ratios = {weight: share for one, share in of for weight in one.weights}
        given = replace(setting, compressions=(1.6,), draws=1, files=(("f.json", ratios),))
        measure(figure("figure6"), given, bases, sheet, quiet)
        return sheet.rows[Point(1, "f.json", 0.0, 0, "scores", "l1")].shares

    assert kept(0.25, 0.5) == (0.25, 0.5)
    assert kept(0.5, 0.25) == (0.5, 0.25)


def test_a_part_of_a_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    sheet = Sheet(path)
    for number in range(3):
        sheet.add(*row(0, "random", 0.1 * number, number))
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    torn = Sheet(path)
    assert torn.rows == dict(list(sheet.rows.items())[:2])
    torn.add(*row(0, "random", 0.2, 2))
    assert path.read_bytes() == whole
    torn.add(*row(0, "random", 0.7, 1))
    torn.forget([row(0, "random", 0.0, 0)[0]])
    assert Sheet(path).rows == torn.rows == dict([row(0, "random", 0.7, 1), row(0, "random", 0.2, 2)])


def only(rows: dict[Point, Outcome]):  # type: ignore[no-untyped-def]
    yield from (Wanted(point, found.asked) for point, found in rows.items())


def test_what_does_not_fit_is_said(bases: list[Base], setting: Setting, tmp_path: Path) -> None:
    sheet = Sheet(tmp_path / "r.csv")
    with pytest.raises(ArgumentError, match="network 2 has another structure than network 1: decision 1"):
        measure(figure("figure3"), setting, [bases[0], base(4, 0, first=10)], sheet, quiet)
    with pytest.raises(ArgumentError, match="this figure compares trainings"):
        measure(figure("figure1"), setting, bases, sheet, quiet)
    with pytest.raises(ArgumentError, match="two sets of two networks each"):
        measure(figure("figure4"), replace(setting, groups=(0, 0, 1, 2)), bases, sheet, quiet)
    with pytest.raises(ArgumentError, match="no figure called 'figure5'"):
        figure("figure5")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ArgumentError, match=r"other\.csv: has other columns"):
        Sheet(tmp_path / "other.csv")
    check_folder(tmp_path / "out", {"seed": "0"})
    check_folder(tmp_path / "out", {"seed": "0"})
    with pytest.raises(ArgumentError, match="holds an experiment with another seed"):
        check_folder(tmp_path / "out", {"seed": "1"})
