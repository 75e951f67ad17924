"""Strategy gp: how many profiles come of one fit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from upscale_onnx.searching.goals import Constraint, Goals
from upscale_onnx.searching.measured import Measured
from upscale_onnx.searching.strategies import Setting, make_strategy
from upscale_onnx.searching.trials import History, Proposal, Shares, Trial

GOALS = Goals(("accuracy",), (Constraint.parse("macs<=0.5"),), 0.9)
BEST = np.array([0.2, 0.9, 0.4])


def measured(shares: Shares) -> Measured:
    """Accuracy falls with the distance to `BEST`, which meets the constraint."""
    distance, size = float(np.square(BEST - shares).sum()), float(np.mean(shares))
    return Measured(size, size, 1 / size, shares, 0.9 - distance, images=1000)


def searched(count: int) -> History:
    """A search of `count` random trials."""
    history, rng = History(GOALS), np.random.default_rng(0)
    for number in range(count):
        shares = tuple(rng.random(BEST.size).tolist())
        history.end(Trial(number, Proposal(shares, "random"), "finished", measured(shares)))
    return history


@pytest.mark.parametrize(("finished", "each"), [(60, 1), (299, 1), (900, 4)])
def test_the_more_trials_the_more_profiles_come_of_a_fit(
    finished: int, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from upscale_onnx.searching.strategies import gp

    fits, history = [], searched(finished)
    optimise = gp.Sampler._optimize_acqf
    monkeypatch.setattr(gp.Sampler, "_optimize_acqf", lambda *args: fits.append(1) or optimise(*args))
    problem = cast(Any, SimpleNamespace(decisions=BEST.size))
    strategy = make_strategy("gp", Setting(problem, GOALS, 1000))
    found = [cast(Proposal, strategy.propose(history, finished + number)) for number in range(each)]
    assert len(fits) == 1
    assert len({proposal.shares for proposal in found}) == each
    assert all(0 <= share <= 1 for proposal in found for share in proposal.shares)
    # Profiles beside the best are near it, and worth trying as well.
    assert max(abs(np.subtract(one.shares, found[0].shares)).max() for one in found) < 0.5
    best = max(trial.measured.accuracy for trial in history.finished if trial.measured and GOALS.holds(trial.measured))
    assert all(measured(proposal.shares).accuracy > best - 0.05 for proposal in found)
    strategy.propose(history, finished + each)
    assert len(fits) == 2
