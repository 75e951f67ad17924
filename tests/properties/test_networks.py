"""Whatever the network, its compiled form computes the same, bit by bit, and holds no useless selection."""

from __future__ import annotations

import onnx
import pytest
from hypothesis import given, note, settings

from tests.properties.networks import networks
from tests.thorough import examples
from tests.traps.targets import TARGETS, check


@pytest.mark.slow
@settings(max_examples=examples(80))
@given(model=networks())
def test_a_random_network_compiles_exactly(model: onnx.ModelProto) -> None:
    note(onnx.printer.to_text(model))
    for target in TARGETS:  # in one test: to draw a network takes as long as to compile it
        note(str(target))
        check(model, target, dims=(2,))
