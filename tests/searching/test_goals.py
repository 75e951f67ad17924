"""What is better, what holds, and which profiles are none better than the other."""

from __future__ import annotations

import pytest

from upscale_onnx.errors import ArgumentError
from upscale_onnx.searching.goals import Constraint, Goals
from upscale_onnx.searching.measured import Measured
from upscale_onnx.searching.trials import History, Proposal, Trial


def measured(accuracy: float, macs: float, *, is_complete: bool = True) -> Measured:
    return Measured(macs, macs, 1 / macs, (macs,), accuracy, macs and None, None, 100, is_complete)


def history(goals: Goals, *found: Measured) -> History:
    made = History(goals)
    for number, one in enumerate(found):
        made.end(Trial(number, Proposal(one.kept, "random"), "finished", one))
    return made


def test_the_front_holds_what_nothing_beats() -> None:
    found = history(
        Goals(("accuracy", "macs")),
        measured(0.9, 0.5),
        measured(0.8, 0.6),  # beaten by the first
        measured(0.7, 0.3),
        measured(0.9, 0.5),  # as good as the first
        measured(0.95, 0.5),  # beats the first
        measured(0.99, 0.2, is_complete=False),  # given up
    )
    assert [trial.number for trial in found.front] == [4, 2]


def test_what_misses_a_constraint_is_not_on_the_front() -> None:
    goals = Goals(("accuracy",), (Constraint.parse("macs<=0.4"), Constraint.parse("accuracy>=0.5")), baseline=0.8)
    found = history(goals, measured(0.9, 0.5), measured(0.39, 0.3), measured(0.41, 0.4), measured(0.6, 0.39))
    assert [trial.number for trial in found.front] == [3]
    assert [trial.number for trial in found.leaders(5)] == [3, 2]
    assert goals.violations(measured(0.39, 0.5)) == pytest.approx([0.25, 1 - 0.39 / 0.8 / 0.5])


def test_a_compression_is_a_factor() -> None:
    limit = Constraint.parse("compression>=4")
    assert limit.violation(measured(1.0, 0.25), 1.0) == pytest.approx(0.0)
    assert limit.violation(measured(1.0, 0.5), 1.0) == pytest.approx(0.5)


def test_what_is_beaten_even_at_its_best_is_hopeless() -> None:
    found = history(Goals(("accuracy", "macs"), (Constraint.parse("macs<=0.6"),)), measured(0.8, 0.4))
    assert found.is_hopeless(measured(0.5, 0.5), 0.7)
    assert not found.is_hopeless(measured(0.5, 0.5), 0.85)
    assert not found.is_hopeless(measured(0.5, 0.3), 0.7)
    assert found.is_hopeless(measured(0.9, 0.7), 1.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latency<0.5", "write one as"),
        ("latency<=0", "write one as"),
        ("latancy<=0.5", "did you mean"),
        ("latency>=0.5", "by <= only"),
        ("accuracy<=0.5", "by >= only"),
    ],
)
def test_constraints_that_are_none(text: str, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        Constraint.parse(text)


@pytest.mark.parametrize("names", [(), ("accuracy", "accuracy"), ("speed",), ("macs", "params")])
def test_objectives_that_make_no_sense(names: tuple[str, ...]) -> None:
    with pytest.raises(ArgumentError):
        Goals(names)
