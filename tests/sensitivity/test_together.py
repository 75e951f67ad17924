"""What layers may lose together is measured together, and scaled to what is tolerated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.graphs import parse
from upscale_onnx import compile
from upscale_onnx.masks.profile_files import profile_text
from upscale_onnx.measures.data import unlabelled
from upscale_onnx.measures.measure import Distance
from upscale_onnx.results import Sensitivity
from upscale_onnx.sensitivity.scan import scan_layers
from upscale_onnx.sensitivity.together import pruned_together

AMOUNTS = (0.25, 0.5)


def _network() -> onnx.ModelProto:
    """Four layers in a row, each as sensitive as the others."""
    rng = np.random.default_rng(7)
    weights = {name: (rng.normal(size=(32, 32)) / np.sqrt(32)).astype(np.float32) for name in "abcd"}
    nodes = " ".join(f"h{name} = MatMul({before}, {name})" for before, name in (("x", "a"), ("ha", "b"), ("hb", "c")))
    return parse(f"(float[N, 32] x) => (float[N, 32] y) {{ {nodes} y = MatMul(hc, d) }}", **weights)


def _scanned(tolerated: float) -> tuple[onnx.ModelProto, Distance, Sensitivity]:
    model = _network()
    measure = unlabelled(model, limit=16)
    return model, measure, scan_layers(model, measure, AMOUNTS, tolerated=tolerated)


def test_losses_of_several_layers_are_scaled_to_what_is_tolerated(tmp_path: Path) -> None:
    model, measure, found = _scanned(0.6)
    assert all(layer.largest_amount == 0.5 for layer in found.layers)
    together = pruned_together(model, measure, found)
    assert together.unscaled_loss > 0.6 > max(layer.losses[-1] for layer in found.layers)
    assert 0.3 < together.loss <= 0.6
    assert 0 < together.factor < 1
    assert [kept.weight for kept in together.profile] == list("abcd")
    assert all(kept.kept == 32 - int(together.factor * 16 + 1e-9) for kept in together.profile)
    (tmp_path / "p.json").write_text(profile_text(together.profile, "input", "unconstrained"))
    done = compile(model, profile=str(tmp_path / "p.json"), masks="flat", prefer="size")
    assert done.report.profile == together.profile
    assert measure.value(done.model) == pytest.approx(together.loss, rel=1e-3)


def test_what_is_tolerated_as_it_is_stays_as_it_is() -> None:
    model, measure, found = _scanned(10.0)
    together = pruned_together(model, measure, found)
    assert together.factor == 1.0
    assert together.loss == together.unscaled_loss
    assert all(kept.keep_ratio == 0.5 for kept in together.profile)


def test_where_nothing_is_tolerated_everything_is_kept() -> None:
    model, measure, found = _scanned(0.0)
    together = pruned_together(model, measure, found)
    assert together.loss == 0.0
    assert all(kept.keep_ratio == 1.0 for kept in together.profile)


def test_layers_that_were_not_scanned_keep_everything_and_are_not_named() -> None:
    model = _network()
    measure = unlabelled(model, limit=16)
    together = pruned_together(model, measure, scan_layers(model, measure, AMOUNTS, tolerated=10.0, layers=["b", "c"]))
    assert [(kept.weight, kept.keep_ratio) for kept in together.profile] == [("b", 0.5), ("c", 0.5)]
