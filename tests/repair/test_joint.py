"""Repair of all layers together: what it brings over layer by layer, and what it must never do."""

from __future__ import annotations

import copy
import functools
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from tests.pruned import pruned
from tests.repair.test_repair import _array, _data, _error, _network
from upscale_onnx.errors import ArgumentError
from upscale_onnx.options import Options
from upscale_onnx.repair.joint import fitted_jointly
from upscale_onnx.repair.repair import repair
from upscale_onnx.runtime.activations import batches_of

torch = pytest.importorskip("torch")

BATCHES = batches_of({"x": _data(320)}, 32)


def _repaired(biased: bool = True) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """A network, and it pruned and re-fitted layer by layer."""
    return tuple(map(copy.deepcopy, _once_repaired(biased)))  # type: ignore[return-value]


@functools.cache
def _once_repaired(biased: bool) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    model = _network(biased=biased)
    masked, _ = pruned(model, Options.of(amount=0.5, masks="flat"))
    return model, repair(model, masked, BATCHES)[0]


@pytest.mark.parametrize(("biased", "passes"), [(False, 8), (True, 15)])
def test_all_layers_together_come_nearer_than_each_alone(biased: bool, passes: int) -> None:
    model, alone = _repaired(biased=biased)
    before = model.SerializeToString(), alone.SerializeToString()
    together = fitted_jointly(model, alone, BATCHES, passes=passes)
    assert (model.SerializeToString(), alone.SerializeToString()) == before
    onnx.checker.check_model(together, full_check=True)
    assert _error(model, together) < 0.97 * _error(model, alone)
    for name in ("a1_w", "c1_w", "a2_w", "c2_w", "fc"):
        gone = _array(alone, name) == 0
        assert gone.any()
        assert not _array(together, name)[gone].any(), "what is pruned stays pruned"


def test_the_same_bytes_again() -> None:
    model, alone = _repaired()
    assert fitted_jointly(model, alone, BATCHES, passes=1) == fitted_jointly(model, alone, BATCHES, passes=1)


def test_what_cannot_come_nearer_stays_as_it_is() -> None:
    model = _network()
    assert fitted_jointly(model, model, BATCHES, passes=1) is model


def test_what_comes_before_everything_that_is_pruned_stays_as_it_is() -> None:
    model = _network()
    masked, _ = pruned(model, Options.of(amounts=(("a2*", 0.5), ("c2*", 0.5)), masks="flat"))
    alone = repair(model, masked, BATCHES)[0]
    together = fitted_jointly(model, alone, BATCHES, passes=8)
    assert _error(model, together) < _error(model, alone)
    for name in ("stem_w", "a1_w", "c1_w"):
        assert (_array(together, name) == _array(model, name)).all()
    assert (_array(together, "fc") != _array(model, "fc")).any()


def test_a_fit_that_is_worse_on_inputs_held_out_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    from upscale_onnx.torch_backend.joint import JointFit

    def ruined(
        fit: JointFit, start: dict[str, NDArray[np.float32]], *rest: object, **options: object
    ) -> dict[str, NDArray[np.float32]]:
        return {name: -array for name, array in start.items()}

    model, alone = _repaired()
    monkeypatch.setattr(JointFit, "fitted", ruined)
    assert fitted_jointly(model, alone, BATCHES) is alone


def test_a_model_of_one_batch_size_is_given_whole_batches() -> None:
    model, alone = _repaired()
    for each in (model, alone):
        each.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 32
    together = fitted_jointly(model, alone, BATCHES, passes=4)
    assert together is not alone


def test_progress_reaches_the_end() -> None:
    model, alone = _repaired()
    told: list[float] = []
    fitted_jointly(model, alone, BATCHES, passes=1, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_an_option_of_a_compile(tmp_path: Path) -> None:
    model, path = _network(), tmp_path / "data.npz"
    np.savez(path, x=_data(128))
    options = Options.of(amount=0.5, masks="flat", criterion="obs", calibration=str(path), repair="lsq")
    alone, count = pruned(model, options)
    together, same = pruned(model, options.replaced(repair="joint"))
    assert count == same
    assert _error(model, together) < 0.97 * _error(model, alone)
    weights = [{t.name: numpy_helper.to_array(t) == 0 for t in m.graph.initializer} for m in (alone, together)]
    assert all((weights[0][name] == weights[1][name]).all() for name in ("a1_w", "c1_w", "a2_w", "c2_w"))


def test_without_torch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    model, alone = _repaired()
    monkeypatch.setitem(sys.modules, "upscale_onnx.torch_backend.joint", None)
    with pytest.raises(ArgumentError, match=r"needs PyTorch: pip install 'upscale-onnx\[torch\]'"):
        fitted_jointly(model, alone, BATCHES)


def test_half_precision_weights_with_channels_that_are_gone_stay_finite() -> None:
    from upscale_onnx.torch_backend.joint import Compared, JointFit

    model, alone = _repaired()
    names = ("a1_w", "c1_w")
    start = {name: _array(alone, name).astype(np.float16) for name in names}
    joint = JointFit(model, alone, [Compared("c2"), Compared("y")])
    found = joint.fitted(start, lambda: iter([BATCHES[:1]] * 3), 3)
    for name in names:
        assert np.isfinite(found[name]).all()
        assert (found[name][start[name] != 0] != start[name][start[name] != 0]).any()
        assert not found[name][start[name] == 0].any()
