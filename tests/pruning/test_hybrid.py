"""Method "hybrid": masks that lose least at the latency of constrained ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.graphs import parse
from tests.pruned import pruned, task
from tests.pruning.test_choosing import network
from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.masks.mixture import as_fast
from upscale_onnx.masks.pools import Masks
from upscale_onnx.options import Options, Repair
from upscale_onnx.pruning.hybrid import _settled, candidates, hybrid_masks
from upscale_onnx.pruning.judging import outputs_judge
from upscale_onnx.pruning.measuring import measured_share
from upscale_onnx.repair.repair import repair as repaired_by
from upscale_onnx.results import Race, Timing
from upscale_onnx.runtime.bench import race
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.runtime.samples import load_calibration
from upscale_onnx.timing.target_costs import chosen_target

OPTIONS = Options.of(amount=0.5, method="hybrid", race=False, provider="cpu")


def opposed(size: int = 128) -> onnx.ModelProto:
    """A stem that two wide layers read, each in a half of its own: where they agree, both lose half of theirs."""
    rng = np.random.default_rng(0)
    left, right = (rng.normal(size=(2 * size, size, 3, 3)).astype(np.float32) for _ in range(2))
    left[:, : size // 2] *= 0.01
    right[:, size // 2 :] *= 0.01
    return parse(
        f"""(float[1, 3, 28, 28] x) => (float[1, {2 * size}, 28, 28] y, float[1, {2 * size}, 28, 28] z) {{
            s = Conv<pads=[1, 1, 1, 1]>(x, stem)
            r = Relu(s)
            y = Conv<pads=[1, 1, 1, 1]>(r, left)
            z = Conv<pads=[1, 1, 1, 1]>(r, right)
        }}""",
        stem=rng.normal(size=(size, 3, 3, 3)).astype(np.float32),
        left=left,
        right=right,
    )


def alike(one: Masks, other: Masks) -> bool:
    return all((one[weight] == other[weight]).all() for weight in one.keys() | other.keys())


def test_layers_that_want_other_channels_are_free_where_a_selection_is_cheap() -> None:
    found = candidates(task(opposed(), OPTIONS))
    assert alike(found.constrained, {"left": found.constrained["left"], "right": found.constrained["left"]})
    masks = hybrid_masks(task(opposed(), OPTIONS))
    assert not (masks["left"] & masks["right"]).any()
    assert not masks["left"][:64].any()
    assert found.predictor.importance(masks) < 0.7 * found.predictor.importance(found.constrained)


def test_layers_that_want_the_same_stay_constrained() -> None:
    model = opposed()
    arrays = {tensor.name: tensor for tensor in model.graph.initializer}
    arrays["right"].CopyFrom(numpy_helper.from_array(numpy_helper.to_array(arrays["left"]) * 3, "right"))
    assert alike(hybrid_masks(task(model, OPTIONS)), candidates(task(model, OPTIONS)).constrained)


@pytest.mark.parametrize("amount", [0.2, 0.4, 0.6])
def test_nothing_offered_is_predicted_slower_and_the_mixture_loses_no_more(amount: float) -> None:
    found = candidates(task(network(), Options.of(amount=amount, method="hybrid", race=False, provider="cpu")))
    allowed = found.predictor.latency_ms(found.constrained)
    offered = {name: choose(1.0) for name, choose in found.others.items()}
    for masks in offered.values():
        assert masks is None or found.predictor.latency_ms(masks) <= allowed + 1e-6
    mixed = offered["mixed"]
    assert mixed is not None
    assert found.predictor.importance(mixed) <= found.predictor.importance(found.constrained)


def test_the_judge_has_the_last_word() -> None:
    model = opposed()
    seen: list[int] = []

    def judge(masked: onnx.ModelProto) -> float:
        """Likes constrained masks: those under which both layers read the same."""
        arrays = {t.name: numpy_helper.to_array(t).any((0, 2, 3)) for t in masked.graph.initializer}
        seen.append(1)
        return float((arrays["left"] != arrays["right"]).sum())

    masks = hybrid_masks(task(model, OPTIONS, judge))
    assert len(seen) == 3
    assert alike(masks, candidates(task(model, OPTIONS)).constrained)


def test_ignored_layers_and_least_channels_hold() -> None:
    options = Options.of(amount=0.7, method="hybrid", race=False, provider="cpu", ignore=("third",), min_channels=6)
    masked, count = pruned(network(), options)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in masked.graph.initializer}
    assert arrays["third"].any((0, 2, 3)).all()
    assert count > 0
    assert min(arrays[name].any((0, 2, 3)).sum() for name in ("first", "second", "fourth")) >= 6


def test_the_least_amount_that_is_as_fast() -> None:
    def free(amount: float) -> Mapping[str, np.ndarray]:
        return {"w": np.arange(100) >= 100 * amount}

    def latency_ms(masks: Masks) -> float:
        return float(masks["w"].sum())

    found = as_fast(free, latency_ms, 0.2, 60.0)
    assert found is not None
    assert 58 <= latency_ms(found) <= 60
    assert as_fast(free, latency_ms, 0.2, 90.0) is not None
    assert as_fast(free, lambda masks: 100.0, 0.2, 60.0) is None


@pytest.mark.parametrize("repair", [None, "stats"])
def test_with_calibration_data_outputs_decide(tmp_path: Path, repair: Repair | None) -> None:
    path, model = tmp_path / "data.npz", network()
    np.savez(path, x=np.random.default_rng(1).normal(size=(24, 3, 8, 8)).astype(np.float32))
    options = Options.of(
        amount=0.5, method="hybrid", calibration=str(path), repair=repair, race=False, provider="cpu", align=1
    )
    batches = load_calibration(str(path), model)

    def made_up_for(masked: onnx.ModelProto, fit: Sequence[Inputs]) -> onnx.ModelProto:
        return masked if repair is None else repaired_by(model, masked, fit, repair)[0]

    judge = outputs_judge(model, batches, None if repair is None else made_up_for)
    found = candidates(task(model, options))
    offered = [found.constrained, *(choose(1.0) for choose in found.others.values())]
    best = min((masks for masks in offered if masks is not None), key=lambda m: judge(write_masks(model, m)[0]))
    expected = made_up_for(write_masks(model, best)[0], batches)
    done, count = pruned(model, options)
    assert done == expected
    assert count == sum(int((~kept).sum()) for kept in best.values())


def test_latency_is_measured_at_the_batch_that_is_asked_for() -> None:
    model = opposed(32)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    masks = candidates(task(model, OPTIONS)).constrained
    seen: list[int | None] = []

    def observed(*given: object, **named: Any) -> Race:
        seen.append(named["batch"])
        return race(*given, **named)  # type: ignore[arg-type]  # handed on as it came

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("upscale_onnx.runtime.bench.race", observed)
        share = measured_share(model, masks, chosen_target(OPTIONS.target), OPTIONS.replaced(race=True, batch=16))
    assert seen == [16]
    assert 0 < share < 1


def test_no_masks_are_slower_than_the_input_unless_the_export_is_given() -> None:
    model, target = opposed(32), chosen_target(OPTIONS.target)
    masks = hybrid_masks(task(model, OPTIONS))
    timings = tuple(Timing(name, 1.0, ratio, ratio, ratio) for name, ratio in (("input", 1.0), ("keep", 1.5)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("upscale_onnx.runtime.bench.race", lambda *_, **__: Race(timings, "input", "cpu", 1, 7))
        raced = OPTIONS.replaced(race=True)
        assert measured_share(model, masks, target, raced) == 1.0
        assert measured_share(model, masks, target, raced.replaced(export="keep")) == 1.5


def test_where_the_smallest_is_asked_for_it_is_what_is_measured() -> None:
    model, target = opposed(32), chosen_target(OPTIONS.target)
    raced: list[str] = []

    def race(models: dict[str, onnx.ModelProto], **_: object) -> Race:
        raced.extend(models)
        return Race(tuple(Timing(name, 1.0, 1.25, 1.25, 1.25) for name in models), "input", "cpu", 1, 7)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("upscale_onnx.runtime.bench.race", race)
        wanted = OPTIONS.replaced(race=True, prefer="size")
        assert measured_share(model, hybrid_masks(task(model, OPTIONS)), target, wanted) == 1.25
    assert len(raced) == 2
    assert raced[1] in ("upscale", "gather", "keep")


@pytest.mark.parametrize("pessimism", [0.5, 1.0, 2.0])
def test_of_masks_in_the_same_step_of_time_those_that_prune_least(pessimism: float) -> None:
    """Time falls in steps of 25 of 100 channels; predictions are off by `pessimism`."""
    constrained = {"w": np.arange(100) < 60}

    def choose(allowed: float) -> Masks:
        return {"w": np.arange(100)[::-1] < min(100, round(60 * allowed / pessimism))}

    def measured(_: object, masks: Masks, *__: object) -> float:
        return float(-(-int(masks["w"].sum()) // 25)) / 4

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("upscale_onnx.pruning.hybrid.measured_share", measured)
        options = OPTIONS.replaced(race=True)
        found = _settled(task(onnx.ModelProto(), options), constrained, choose)
    assert found is not None
    assert 70 <= found["w"].sum() <= 75
