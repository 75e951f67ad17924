"""The registry of criteria: that each needs what it says it needs, and nothing more."""

from __future__ import annotations

import numpy as np
import pytest

from tests.pruned import pruned
from tests.pruning.test_choosing import network
from upscale_onnx.errors import ArgumentError
from upscale_onnx.options import Options
from upscale_onnx.pruning.criteria import CRITERIA, criterion_of

FLAT = Options.of(amount=0.25, masks="flat")
X = np.random.default_rng(0).normal(size=(24, 3, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("name", CRITERIA)
def test_only_criteria_that_need_data_ask_for_some(name: str) -> None:
    wanted = FLAT.replaced(criterion=name)
    if CRITERIA[name].needs_data:
        with pytest.raises(ArgumentError, match=f"criterion '{name}' needs calibration data: --calibration"):
            pruned(network(), wanted)
    elif CRITERIA[name].needs == ("graph",):
        with pytest.raises(ArgumentError, match="are all scaled by a BatchNormalization"):
            pruned(network(), wanted)
    else:
        assert pruned(network(), wanted)[1] > 0


@pytest.mark.parametrize("name", [name for name, known in CRITERIA.items() if "labels" in known.needs])
def test_labels_are_read_by_the_criteria_that_say_so(name: str) -> None:
    data = {"x": X, "y": np.zeros(3, np.int64)}
    with pytest.raises(ArgumentError, match="'y' is int64 of shape"):
        pruned(network(), FLAT.replaced(criterion=name, calibration=data))
    assert pruned(network(), FLAT.replaced(criterion="wanda", calibration=data))[1] > 0


def test_sides_and_settings_are_checked() -> None:
    with pytest.raises(ArgumentError, match="criterion 'obs' scores what layers read"):
        pruned(network(), FLAT.replaced(criterion="obs", side="output", calibration=X))
    assert criterion_of("taylor:norm=l2:power=2") is CRITERIA["taylor"]
    with pytest.raises(ArgumentError, match="takes no settings"):
        criterion_of("lamp:norm=l2")
