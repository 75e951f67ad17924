"""The export by the reference's interface: what is pruned equals the mock."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.compat.networks import assert_same, columns, infer, residual, rows, weights
from upscale_onnx import MaskingManager, PruningManager
from upscale_onnx.errors import ArgumentError

ROOT = Path(__file__).resolve().parents[2]
X = np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype(np.float32)


def test_channels_given_one_by_one() -> None:
    model = residual()
    before = model.SerializeToString()
    manager = PruningManager(model)
    reads, creates = [("wc", 2), ("wc", 5), ("we", 0)], [("wa", 7)]
    assert manager.compute([X], pruned_inputs=reads, pruned_outputs=creates) is manager
    mock = manager.get_mock_model()
    assert (columns(mock, "wc"), columns(mock, "wd"), columns(mock, "we")) == ([2, 5], [], [0])
    assert (rows(mock, "wa"), rows(mock, "wb")) == ([7], [])
    assert weights(mock)["ba"][7] == 0
    result = manager.prune(export="upscale")
    assert_same(infer(mock, X), infer(result.model, X))
    assert model.SerializeToString() == before
    shapes = sorted(a.shape for a in weights(result.model).values() if a.ndim == 4)
    # c is handed 14 of the 16 channels that d reads, and both make the 11 of 12 that the last one reads.
    assert shapes[:3] == [(5, 11, 1, 1), (11, 14, 1, 1), (11, 16, 3, 3)]


def test_constrained_grows_to_all_that_share_the_channel() -> None:
    manager = PruningManager(residual()).compute([X], pruned_inputs=[("wc", 2)], constrained=True)
    mock = manager.get_mock_model()
    assert (columns(mock, "wc"), columns(mock, "wd"), columns(mock, "we")) == ([2], [2], [])
    assert (rows(mock, "wa"), rows(mock, "wb"), rows(mock, "we")) == ([2], [2], [])
    free = PruningManager(residual()).compute([X], pruned_outputs=[("wb", 9)], constrained=True).get_mock_model()
    assert (columns(free, "wd"), rows(free, "wa"), rows(free, "wb")) == ([9], [9], [9])
    result = manager.prune(baseline=True)
    assert_same(infer(mock, X), infer(result.model, X))
    assert not any(node.op_type in ("Gather", "Slice", "Split") for node in result.model.graph.node)
    assert sorted(a.shape[1] for a in weights(result.model).values() if a.ndim == 4) == [3, 3, 12, 15, 15]


def test_what_leaves_the_network_is_pruned_only_where_it_is_asked_for() -> None:
    model = residual()
    manager = PruningManager(model).compute([X], pruned_outputs=[("we", 1)], constrained=True)
    assert rows(manager.get_mock_model(), "we") == [1]
    result = manager.prune(race=False)
    (y,) = infer(result.model, X)
    assert y.shape == (2, 5, 8, 8)
    assert not y[:, 1].any()


def test_the_baseline_gathers() -> None:
    model = MaskingManager(residual()).importance().mask(0.5).model
    result = PruningManager(model).compute([X]).prune(baseline=True)
    assert result.report.export == "gather"
    assert "Gather" in {node.op_type for node in result.model.graph.node}
    assert_same(infer(model, X), infer(result.model, X))


def test_a_plan_stays_until_it_is_used_or_forced() -> None:
    manager = PruningManager(residual())
    with pytest.raises(ArgumentError, match="compute"):
        manager.get_mock_model()
    manager.compute([X], pruned_inputs=[("wc", 1)])
    assert columns(manager.compute([X], pruned_inputs=[("wc", 2)]).get_mock_model(), "wc") == [1]
    assert columns(manager.compute([X], force=True, pruned_inputs=[("wc", 2)]).get_mock_model(), "wc") == [2]
    manager.prune(race=False)
    with pytest.raises(ArgumentError, match="compute"):
        manager.prune()


def test_inputs_are_compared_on() -> None:
    manager = PruningManager(residual()).compute([X.astype(np.float64)])
    report = manager.prune(race=False).report
    assert report.verification is not None
    assert {"x": (2, 3, 8, 8)} in report.verification.shapes
    by_name = PruningManager(residual()).compute({"x": X}).prune(race=False).report
    assert by_name.verification is not None
    assert {"x": (2, 3, 8, 8)} in by_name.verification.shapes


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("wcc", 0), "did you mean 'wc'"),
        (("wc", 16), "has 16 input channels"),
        (("wc", -1), "there is no channel -1"),
        ((3, 1), "no .weight, channel. pair"),
        ("wc", "no .weight, channel. pair"),
    ],
)
def test_channels_that_are_not_there(pair: tuple[str, int], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        PruningManager(residual()).compute([X], pruned_inputs=[pair])


def test_options_that_contradict() -> None:
    manager = PruningManager(residual()).compute([X])
    with pytest.raises(ArgumentError, match="baseline"):
        manager.prune(baseline=True, export="upscale")
    with pytest.raises(ArgumentError, match="compute"):
        manager.prune(inputs="x.npz")
    with pytest.raises(ArgumentError, match="there is no option"):
        manager.prune(is_not_ane=True)
    with pytest.raises(ArgumentError, match="a list with one array"):
        PruningManager(residual()).compute(X)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="shape"):
        PruningManager(residual()).compute([X[0]])


@pytest.mark.parametrize("name", ["digits_cnet_masked", "digits_inception_masked"])
@pytest.mark.parametrize("baseline", [False, True], ids=["fastest", "baseline"])
def test_shipped_networks(name: str, baseline: bool) -> None:
    path = ROOT / "models" / f"{name}.onnx"
    with np.load(ROOT / "models" / "digits_test.npz") as archive:
        x = next(iter(archive.values()))[:64]
    result = PruningManager(path).compute([x]).prune(baseline, **({} if baseline else {"export": "upscale"}))
    assert result.report.after.parameters < result.report.before.parameters
    assert_same(infer(onnx.load(path), x), infer(result.model, x))


@pytest.mark.parametrize(
    ("name", "side"),
    [("cifar10_resnet20", "input"), ("cifar10_resnet20", "output"), ("mlperf_tiny_resnet8_cifar10", "output")],
)
@pytest.mark.parametrize("method", ["unconstrained", "constrained"])
def test_trained_networks(corpus: Path, name: str, side: str, method: str) -> None:
    path = corpus / "trained" / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"the corpus has no {path.name}")
    x = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)
    manager = MaskingManager(path, side=side, method=method).importance("lamp").mask(0.3)  # type: ignore[arg-type]
    plan = PruningManager(manager.model).compute([x])
    mock = plan.get_mock_model()
    result = plan.prune(baseline=True)
    assert_same(infer(mock, x), infer(result.model, x))
    assert result.report.after.macs < result.report.before.macs
    assert np.abs(infer(mock, x)[0] - infer(onnx.load(path), x)[0]).max() > 1e-2
