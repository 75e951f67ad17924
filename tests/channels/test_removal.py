"""Every form of every operator between a producer with silent channels and a consumer with dead ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.channels.case import FEATURES, Case, Plain, Producer, Tracked, finish, operator, produced, random_operand
from tests.channels.cases import ALL
from tests.channels.compiled import Compiled, compiled
from tests.channels.engine import Engine
from tests.thorough import THOROUGH
from upscale_onnx.channels.analysis import analyse
from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.types import Array

# Results of a consumer.
_WIDTH = 3
# Channel map and shape of the results of each case: weights change neither.
_RESULTS: dict[Case, list[tuple[ChannelMap, tuple[int, ...]]]] = {}


def case_model(case: Case, rng: np.random.Generator, silent: float, dead: float) -> onnx.ModelProto:
    """Producers, the operator, and behind every output a MatMul that reads only some of the channels."""
    producers = {i: Producer.random(t, rng, silent) for i, t in case.tracked.items()}
    nodes, inputs, constants = produced(case, producers)
    nodes.append(operator(case))
    feeds = feeds_of(case, rng)
    if case not in _RESULTS:
        open_ended = finish(case, nodes, inputs, constants, [(name, 0) for name in case.results])
        maps = analyse(import_graph(open_ended), infer_shapes(open_ended)).maps
        values = zip(case.results, Engine(open_ended).run(feeds), strict=True)
        _RESULTS[case] = [(maps[name], value.shape) for name, value in values]
    outputs = []
    for name, (found, shape) in zip(case.results, _RESULTS[case], strict=True):
        outputs.append((_consume(name, shape, found, case, rng, dead, nodes, constants), 0))
    return finish(case, nodes, inputs, constants, outputs)


def _consume(
    name: str, shape: tuple[int, ...], found: ChannelMap, case: Case, rng: np.random.Generator, dead: float,
    nodes: list[Any], constants: list[Any],
) -> str:  # fmt: skip
    """Read `name` by a MatMul over its channel axes, with rows of zeros for dead classes."""
    axes = list(found.axes)
    if not axes:
        return name
    others = [a for a in range(len(shape)) if a not in axes]
    width = int(np.prod([shape[a] for a in axes]))
    moving = any(t.dynamic for t in case.tracked.values())
    rows = [-1 if moving and a == others[0] else shape[a] for a in others] or [1]
    labels = found.labels.ravel()
    classes = np.unique(labels)
    weight = (rng.integers(1, 3, (width, _WIDTH)) * rng.choice([-1, 1], (width, _WIDTH))).astype(np.float32)
    gone = classes[rng.random(classes.size) < dead]
    weight[np.isin(labels, gone[gone != classes[0]])] = 0
    last = f"{name}_last"
    nodes.append(helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("Transpose", [f"{name}_float"], [last], perm=[*others, *axes]))
    if len(axes) > 1 or not others:
        constants.append(numpy_helper.from_array(np.asarray([*rows, width], np.int64), f"{name}_shape"))
        nodes.append(helper.make_node("Reshape", [last, f"{name}_shape"], [f"{name}_flat"]))
        last = f"{name}_flat"
    constants.append(numpy_helper.from_array(weight, f"{name}_weight"))
    nodes.append(helper.make_node("MatMul", [last, f"{name}_weight"], [f"{name}_read"], name=f"{name}_consumer"))
    return f"{name}_read"


def feeds_of(case: Case, rng: np.random.Generator) -> dict[str, Array]:
    """Random integers for the inputs of the model."""
    feeds: dict[str, Array] = {}
    for index, operand in enumerate(case.operands):
        if isinstance(operand, Tracked):
            rows = [operand.shape[a] for a in operand.others] or [1]
            feeds[f"x{index}"] = rng.integers(-2, 3, (*rows, FEATURES)).astype(np.float32)
        elif isinstance(operand, Plain):
            name = case.names[index]
            integers = operand.dtype == TensorProto.INT64
            feeds[name] = (
                np.full(operand.shape, 0 if index == 1 else 1, np.int64) if integers else random_operand(operand, rng)
            )
    return feeds


def assert_equal(case: Case, before: onnx.ModelProto, after: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Both models compute the same, NaN and infinity included."""
    left, right = Engine(before), Engine(after)
    for _ in range(2):
        feeds = feeds_of(case, rng)
        for expected, given in zip(left.run(feeds), right.run(feeds), strict=True):
            assert given.dtype == expected.dtype
            if case.exact:
                np.testing.assert_array_equal(given, expected)
                continue
            finite = np.abs(expected[np.isfinite(expected)])
            scale = float(finite.max()) if finite.size else 1.0
            np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5 * scale)


FORMS = [case for case in ALL if not case.refused]
# Those whose dead channels all leave.
LEAVE = [case for case in FORMS if case.tracked and not case.whole]


# align, shuffled, silent (a share of the producers' channels), dead (of the classes, which the consumer does not read).
WAYS = ((1, False, 0.0, 0.5), (4, True, 0.3, 0.5), (1, True, 0.6, 0.2), (1, True, 0.2, 0.9))


def ways(case: Case) -> tuple[tuple[int, bool, float, float], ...]:
    """All of them where there is time; else each form of an operator leaves out one of the last two, in turn, and the
    first one if the test of what leaves goes it."""
    if THOROUGH:
        return WAYS
    return (*WAYS[case in LEAVE : 2], WAYS[2 + FORMS.index(case) % 2])


@pytest.mark.parametrize("case", FORMS, ids=str)
def test_outputs_stay_the_same(case: Case) -> None:
    for way in ways(case):  # in one test: with a test for each, as much time would go into the tests' own machinery
        print(way)
        align, shuffled, silent, dead = way
        # Of a seed that rounds no operand of a logarithm or division to zero. Infinities are tested elsewhere.
        rng = np.random.default_rng(9)
        model = case_model(case, rng, silent, dead)
        result = compiled(model, align, rng if shuffled else None)
        assert_equal(case, model, result.model, rng)


@pytest.mark.parametrize("results", [1, 2])
def test_zeros_over_channels_read_what_they_need(results: int) -> None:
    """A convolution that makes nothing but zeros still runs, on channels along an axis that it slides over."""
    case = Case("Conv", (Tracked((2, 1, 8), (2,)), np.zeros((results, 1, 3), np.float32)), {"pads": [1, 1]})
    rng = np.random.default_rng(9)
    model = case_model(case, rng, 0.0, 0.5)
    assert_equal(case, model, compiled(model).model, rng)


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("dead", [0.3, 0.9])
@pytest.mark.parametrize("scale", [0, 1])
def test_a_convolution_slides_over_rows_of_channels(kernel: int, dead: float, scale: int) -> None:
    """The places that it slides over have channels of their own, of which it reads the same everywhere."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        weight = scale * rng.integers(-4, 5, size=(3, 4, kernel)).astype(np.float32)
        case = Case("Conv", (Tracked((2, 4, 6), (1, 2)), weight), {"pads": [kernel // 2] * 2})
        model = case_model(case, rng, 0.0, dead)
        assert_equal(case, model, compiled(model).model, rng)


def silent_by_experiment(case: Case, model: onnx.ModelProto, index: int, rng: np.random.Generator) -> Array:
    """Which channels of a producer change no output when another amount is added to them."""
    name = f"b{index}"
    original = next(numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == name)
    # An initializer that is listed as an input as well can be given another value: one session is enough.
    model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, original.shape))
    engine = Engine(model)
    del model.graph.input[-1]
    feeds = [feeds_of(case, rng) for _ in range(4)]
    expected = [engine.run(feed) for feed in feeds]
    quiet = np.ones(original.size, bool)
    for channel in range(original.size):
        for amount in (-4.0, 3.0):
            changed = original.copy()
            changed[channel] += amount
            for feed, outputs in zip(feeds, expected, strict=True):
                given = engine.run({**feed, name: changed})
                if any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(outputs, given, strict=True)):
                    quiet[channel] = False
    return quiet


def kept_channels(result: Compiled, index: int) -> Array:
    """Which channels of a producer are there afterwards."""
    found = result.analysis.maps[f"v{index}"]
    kept: Array = result.plan.emitted.kept[found.labels.ravel()]
    return kept


@pytest.mark.parametrize("case", LEAVE, ids=str)
def test_what_changes_no_output_is_gone(case: Case) -> None:
    """And nothing else: outputs stay the same."""
    align, shuffled, silent, dead = WAYS[0]
    assert not shuffled
    rng = np.random.default_rng(3)
    model = case_model(case, rng, silent, dead)
    result = compiled(model, align)
    # Of a seed that rounds no operand of a logarithm or division to zero.
    assert_equal(case, model, result.model, np.random.default_rng(4))
    sizes = result.weight_sizes()
    for index in case.tracked:
        quiet = silent_by_experiment(case, model, index, rng)
        kept = kept_channels(result, index)
        if quiet.all():
            continue
        assert not (kept & quiet).any()
        assert FEATURES * int(kept.sum()) in sizes.values()
