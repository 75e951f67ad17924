"""A compressor from end to end: the paper's listing, what it promises, and that it can be stopped and started again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

pytest.importorskip("torch", reason="needs the extra `torch`", exc_type=ImportError)

from tests.graphs import parse
from upscale_onnx import condensa
from upscale_onnx.condensa import learner
from upscale_onnx.errors import ArgumentError, LossError
from upscale_onnx.types import Array

QUICK = condensa.LC(steps=2, lr=0.05, batch=16, tune=1)
UNTRAINED = condensa.LC(steps=0, tune=0, batch=16)


def network() -> onnx.ModelProto:
    """A classifier of four colours, by hand: three pairs of filters see a colour each, two see little."""
    colours = np.eye(3)[[0, 0, 1, 1, 2, 2]] + 0.01
    filters = np.concatenate([colours, np.full((2, 3), 0.02)]).astype(np.float32)
    filters[1::2] *= 0.5
    scores = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [-0.5, -0.5, -0.5]])
    weights = np.concatenate([np.repeat(scores, 2, axis=1), np.zeros((4, 2))], axis=1) + 0.01
    return parse(
        """(float[N, 3, 8, 8] x) => (float[N, 4] y) {
            a = Conv<kernel_shape=[1, 1]>(x, filters, shift)
            b = Relu(a)
            c = GlobalAveragePool(b)
            d = Flatten(c)
            y = Gemm<transB=1>(d, weights, bias)
        }""",
        filters=filters.reshape(8, 3, 1, 1),
        shift=np.zeros(8, np.float32),
        weights=weights.astype(np.float32),
        bias=np.array([0, 0, 0, 0.4], np.float32),
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Images of one colour each, or of none, with noise."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 96)
    colours = np.concatenate([np.eye(3), np.zeros((1, 3))])
    x = colours[labels][:, None, None] + rng.normal(size=(96, 8, 8, 3)) * 0.1
    path = tmp_path_factory.mktemp("data") / "train.npz"
    np.savez(path, x=x.astype(np.float32), y=labels)
    return str(path)


def compressor(data: str, **changed: Any) -> condensa.Compressor:
    settings = {
        "model": network(),
        "objective": condensa.Minimize(condensa.Size()),
        "eps": 0.02,
        "optimizer": QUICK,
        "scheme": condensa.FilterPrune(),
        "data": data,
        "val": data,
        "samples": 3,
    }
    return condensa.Compressor(**{**settings, **changed})


def arrays(model: onnx.ModelProto) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_the_listing_of_the_paper(data: str) -> None:
    """Listing 1 of the paper, with ONNX in place of PyTorch modules and loaders."""
    prune = condensa.FilterPrune()
    tput = condensa.Throughput(rounds=7, budget_s=0.1)
    obj = condensa.Maximize(tput)
    lc = condensa.LC(steps=2, lr=0.05, batch=16)
    compressor = condensa.Compressor(
        model=network(), objective=obj, eps=0.02, optimizer=lc, scheme=prune, data=data, val=data, samples=2
    )
    wc = compressor.run()
    found = wc.statistics
    assert found.accuracy[0] > 0.9
    assert found.accuracy[1] >= 0.98 * found.accuracy[0]
    assert (found.objective, found.unit) == ("Throughput", "samples/s")
    assert found.value[0] > 0
    kept = (arrays(wc.model)["filters"] != 0).any(axis=(1, 2, 3))
    assert found.density is not None
    assert kept.sum() == max(round(found.density * 8), 1) < 8
    assert found.densities == {"filters": kept.mean()}
    x = {"x": np.load(data)["x"].transpose(0, 3, 1, 2)}
    made, smaller = (ort.InferenceSession(m.SerializeToString()).run(None, x)[0] for m in (wc.model, wc.smaller))
    np.testing.assert_allclose(made, smaller, atol=1e-5)


def test_the_best_of_those_that_are_accurate_enough_is_taken(data: str) -> None:
    shares: list[float] = []
    wc = compressor(data, samples=4, progress=lambda stage, share: shares.append(share)).run()
    found = wc.statistics
    enough = [one for one in found.tried if one.accuracy >= 0.98 * found.accuracy[0]]
    assert all((one.value is not None) == (one in enough) for one in found.tried)
    assert found.value[1] == min(one.value for one in enough if one.value is not None)
    assert found.value[1] == sum(np.count_nonzero(a) for a in arrays(wc.smaller).values()) < found.value[0]
    assert len(arrays(wc.smaller)["filters"]) == (arrays(wc.model)["filters"] != 0).any(axis=(1, 2, 3)).sum() < 8
    assert shares == sorted(shares)
    assert 0 < shares[0] <= shares[-1] <= 1


def test_a_fixed_density_is_not_searched_for(data: str) -> None:
    found = compressor(data, scheme=[condensa.FilterPrune(0.75), condensa.Prune(0.5, layers=("weights",))]).run()
    assert found.statistics.density is None
    assert found.statistics.densities == {"filters": 0.75, "weights": 0.5}
    assert found.statistics.overall == (18 + 16) / (24 + 32)
    assert len(found.statistics.tried) == 1


def test_a_constraint_is_kept_with_the_least_compression(data: str) -> None:
    # A filter takes 3 multiply-accumulates at each of 64 places, and 4 for the scores: four of them take 784.
    found = compressor(data, objective=condensa.Constrain(condensa.MACs(), 900.0), samples=6).run().statistics
    assert found.value == (8 * 196, 4 * 196)
    assert len(found.tried) == 1


@dataclass(frozen=True)
class Heavier(condensa.MACs):
    """Multiply-accumulates, of which training adds a fifth."""

    def measure(self, model: onnx.ModelProto, smaller: onnx.ModelProto) -> tuple[float, float]:
        before, after = super().measure(model, smaller)
        is_trained = not np.array_equal(arrays(model)["bias"], arrays(smaller)["bias"])
        return before, after * (1.2 if is_trained else 1.0)


def test_where_training_breaks_the_bound_less_is_kept(data: str) -> None:
    found = compressor(data, objective=condensa.Constrain(Heavier(), 900.0), samples=8, eps=0.9).run().statistics
    *missed, last = found.tried
    assert all(one.value == pytest.approx(784 * 1.2) for one in missed)
    assert last.value == pytest.approx(588 * 1.2)
    assert (found.density, found.value[1]) == (last.density, last.value)


def test_a_bound_that_a_fixed_scheme_breaks_is_an_error(data: str) -> None:
    goal = condensa.Constrain(condensa.MACs(), 900.0)
    with pytest.raises(ArgumentError, match="MACs does not reach 900 MACs: the best density that was tried gives 1176"):
        compressor(data, scheme=condensa.FilterPrune(0.75), objective=goal, optimizer=UNTRAINED, eps=0.9).run()


def test_samples_may_be_trained_less_than_the_result(data: str) -> None:
    found = compressor(data, sampling=UNTRAINED, samples=2).run().statistics
    assert len(found.tried) == 3
    last = found.tried[-1]
    assert last.density == found.density
    assert found.accuracy[1] == max(one.accuracy for one in found.tried if one.density == found.density)


class StoppedError(Exception):
    """The process ended."""


def test_what_was_too_inaccurate_is_remembered(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = compressor(data, state=str(tmp_path / "state"), optimizer=UNTRAINED, samples=6)
    whole = asked.run()
    assert any(one.value is None for one in whole.statistics.tried)
    monkeypatch.setattr(learner.TorchLearner, "model", None)  # no trial is made again
    found = asked.run()
    assert (found.model, found.statistics) == (whole.model, whole.statistics)


@pytest.mark.parametrize("saves", [1, 4])
def test_what_was_stopped_goes_on_to_the_same_weights(
    data: str, saves: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps and trials are both saved: the first save is inside a trial, the fourth inside the next one."""
    asked = compressor(data, state=str(tmp_path / "state"), samples=2)
    whole = replace(asked, state=None).run()
    write, count = learner.save_state, [0]

    def stopping(path: str, state: dict[str, Any]) -> None:
        write(path, state)
        count[0] += 1
        if count[0] == saves:
            raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(learner, "save_state", stopping)
        with pytest.raises(StoppedError):
            asked.run()
    steps: list[int] = []
    learn = learner.TorchLearner.learn
    monkeypatch.setattr(learner.TorchLearner, "learn", lambda *args: (steps.append(args[1]), learn(*args)))
    found = asked.run()
    assert found.model == whole.model
    assert found.statistics == whole.statistics
    assert steps == {1: [1, 0, 1], 4: [1]}[saves]
    with pytest.raises(ArgumentError, match="state of a training with other settings"):
        replace(asked, eps=0.5).run()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"eps": 1.0}, "eps is 1.0"),
        ({"objective": condensa.Size()}, "objective is Size(of='parameters'): give one such as Maximize(Throughput())"),
        ({"optimizer": "sgd"}, "optimizer is 'sgd'"),
        ({"samples": 0}, "samples is 0"),
        ({"scheme": []}, "a composition takes schemes"),
        ({"scheme": condensa.NeuronPrune()}, "neuron_prune: the model has no layer"),
        ({"data": "nowhere.npz"}, "nowhere.npz"),
        ({"objective": condensa.Constrain(condensa.Size(), 1.0)}, "Size does not reach 1 parameters: the best density"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_line(data: str, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        compressor(**{"data": data, **changed}).run()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_loss_that_is_too_large_is_an_error(data: str) -> None:
    with pytest.raises(LossError, match=r"the scheme keeps \d+\.\d% accuracy, less than 9\d\.\d%: allow a larger eps"):
        compressor(data, scheme=condensa.FilterPrune(0.1), optimizer=UNTRAINED).run()
    few = [condensa.FilterPrune(0.1), condensa.Prune()]
    with pytest.raises(LossError, match=r"no density that was tried keeps 9.*%: 0.\d+ keeps \d+\.\d%; allow a larger"):
        compressor(data, scheme=few, optimizer=UNTRAINED, samples=1).run()
