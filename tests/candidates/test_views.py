"""The space of profiles of a quantised model, or of experts within a node: it is that of the view of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import QuantFormat

import upscale_onnx
from tests.pruning.test_experts import GATED, moe, qmoe
from tests.pruning.test_quantised import network, quantised
from upscale_onnx.candidates.space import Space
from upscale_onnx.options import Options

CONSTRAINED = Options.of(method="constrained")


@pytest.mark.parametrize("form", list(QuantFormat), ids=str)
def test_decisions_of_a_quantised_network_rank_like_those_of_the_network_before(
    tmp_path: Path, form: QuantFormat
) -> None:
    before, after = Space.of(network(), CONSTRAINED), Space.of(quantised(tmp_path, form, True), CONSTRAINED)
    assert after.structure == before.structure
    for amount in (0.2, 0.4, 0.6):
        assert after.ranked_together(amount) == before.ranked_together(amount)
    for one, other in zip(before.losses, after.losses, strict=True):
        np.testing.assert_allclose(other, one, rtol=0.01, atol=0.01)
    for one, other in zip(before.masks((0.5, 0.5)).values(), after.masks((0.5, 0.5)).values(), strict=True):
        np.testing.assert_array_equal(other, one)
    found = after.candidate((0.5, 0.5))
    assert found.params == pytest.approx(before.candidate((0.5, 0.5)).params, abs=0.03)
    assert {numpy_helper.to_array(t).dtype for t in found.model.graph.initializer if len(t.dims) > 1} == {
        np.dtype("i1")
    }


@pytest.mark.parametrize("model", [moe(GATED), qmoe(4, 16, True)], ids=["floats", "few bits"])
def test_neurons_of_experts_are_decided(tmp_path: Path, model: onnx.ModelProto) -> None:
    """And a file of masks makes the candidate again."""
    space = Space.of(model, CONSTRAINED)
    place = next(number for number, one in enumerate(space.decisions) if one.weights == ("w2",))
    assert (space.decisions[place].channels, space.decisions[place].unit) == (32, "neurons")
    shares = [0.5 if number == place else 1.0 for number in range(len(space.decisions))]
    found = space.candidate(shares)
    np.savez(tmp_path / "masks.npz", **space.named(found))  # type: ignore[arg-type]
    again = upscale_onnx.compile(model, mask=str(tmp_path / "masks.npz"), align=1, race=False)
    assert again.masked.graph.initializer == found.masked.graph.initializer
    assert found.params < 0.7
    sizes = [sum(int(np.prod(t.dims)) for t in each.graph.initializer) for each in (found.model, again.model)]
    assert sizes[1] == sizes[0]
