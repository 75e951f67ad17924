"""The oracle: two models side by side in onnxruntime, and nothing of the compiler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, ValueInfoProto

from upscale_onnx.errors import ModelError
from upscale_onnx.model import tensor_shape
from upscale_onnx.results import OutputError, Verification
from upscale_onnx.runtime.compare import compare_outputs, worst
from upscale_onnx.runtime.inputs import Array, Inputs, feasible_inputs, input_specs
from upscale_onnx.runtime.providers import Device
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.runtime.tolerance import tolerance as derived_tolerance
from upscale_onnx.runtime.user_inputs import check_inputs
from upscale_onnx.worker import in_worker

# A model may amplify rounding by itself (a sharp softmax, a quantiser, a threshold). What onnxruntime's own
# optimisations move its outputs by is then the yardstick, up to a limit beyond which nothing is called equal.
_NOISE_FACTOR = 4.0
_LARGEST_TOLERANCE = 1e-3


@in_worker
def verify(
    original: ModelProto,
    compiled: ModelProto,
    *,
    inputs: Mapping[str, Array] | None = None,
    provider: Device = "cpu",
    seed: int = 0,
    trials: int = 2,
    tolerance: float | None = None,
    feeds: list[Inputs] | None = None,
) -> Verification:
    """Whether `compiled` computes what `original` does, on `inputs` and on `trials` sets of random inputs.

    Dynamic dimensions get other sizes in each trial. Floating-point outputs must agree within a tolerance
    relative to their own scale (`tolerance`, or else derived from the original's depth and types, and
    raised to four times the noise of the original itself where that is larger); all others exactly.
    `feeds`, where given, is filled with the inputs that the original ran on.

    Raises:
        ArgumentError: `inputs` do not fit the original.
        ModelError: the original does not run in onnxruntime.
    """
    if inputs is not None:
        check_inputs(inputs, original)
    limit = derived_tolerance(original) if tolerance is None else tolerance
    difference = interface_difference(original, compiled)
    if difference:
        return Verification(False, limit, (), 0, (), provider, difference)
    feeds = [] if feeds is None else feeds
    expected = _reference(original, inputs, provider, seed, trials, feeds)
    names = tuple(value.name for value in original.graph.output)
    shapes = tuple({name: np.shape(array) for name, array in feed.items()} for feed in feeds)
    try:
        actual = _outputs(compiled, feeds, provider)
    except ModelError as error:
        return Verification(False, limit, (), len(feeds), shapes, provider, f"the compiled model fails: {error}")
    errors = _compare(names, expected, actual)
    detail = ""
    if tolerance is None and not _within(errors, limit):
        limit, detail = _above_noise(original, names, feeds, expected, provider, limit)
    failed = [error for error in errors if not error.relative <= limit]
    if failed:
        first = failed[0]
        detail = f"output '{first.output}' differs by {first.relative:.3g} of its scale; " + (
            detail or f"{limit:.3g} is allowed"
        )
    return Verification(not failed, limit, errors, len(feeds), shapes, provider, detail)


def interface_difference(original: ModelProto, compiled: ModelProto) -> str:
    """What callers would notice: names, types and shapes of inputs and outputs, in order."""
    fed = {spec.name for spec in input_specs(original)}
    for kind, before, after in (
        ("input", [v for v in original.graph.input if v.name in fed], _fed_inputs(compiled)),
        ("output", list(original.graph.output), list(compiled.graph.output)),
    ):
        if [value.name for value in before] != [value.name for value in after]:
            return f"the {kind}s are {_names(after)} instead of {_names(before)}"
        for a, b in zip(before, after, strict=True):
            if not _same_type(a, b):
                return f"{kind} '{a.name}' is declared as {_declared(b)} instead of {_declared(a)}"
    return ""


def _fed_inputs(model: ModelProto) -> list[ValueInfoProto]:
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _same_type(a: ValueInfoProto, b: ValueInfoProto) -> bool:
    first, second = tensor_shape(a.type), tensor_shape(b.type)
    if first is None or second is None:
        return a.type.WhichOneof("value") == b.type.WhichOneof("value") and (
            a.type.tensor_type.elem_type == b.type.tensor_type.elem_type
        )
    sizes = zip(first.dims, second.dims, strict=False)
    return (
        first.dtype == second.dtype
        and first.rank == second.rank
        and not any(isinstance(x, int) and isinstance(y, int) and x != y for x, y in sizes)
    )


def _names(values: Sequence[ValueInfoProto]) -> str:
    return ", ".join(value.name for value in values) or "none"


def _declared(value: ValueInfoProto) -> str:
    shape = tensor_shape(value.type)
    if shape is None:
        return str(value.type.WhichOneof("value"))
    dims = ", ".join("?" if dim is None else str(dim) for dim in shape.dims)
    return f"{onnx.TensorProto.DataType.Name(shape.dtype).lower()}({dims})"


def _reference(
    original: ModelProto,
    inputs: Mapping[str, Array] | None,
    provider: Device,
    seed: int,
    trials: int,
    feeds: list[Inputs],
) -> list[list[Any]]:
    """What the original makes of the inputs of every trial, which are added to `feeds`."""
    session = make_session(original, provider=provider, exact=True)
    expected: list[list[Any]] = []

    def attempt(feed: Inputs) -> None:
        expected.append(run(session, feed))
        feeds.append(feed)

    if inputs is not None:
        attempt(dict(inputs))
    try:
        for trial in range(trials):
            feasible_inputs(attempt, original, seed=seed, trial=trial)
    except ModelError:
        if not feeds:  # the user's own inputs are enough where random ones do not fit
            raise
    return expected


def _outputs(model: ModelProto, feeds: list[Inputs], provider: Device, optimize: bool = True) -> Iterator[list[Any]]:
    session = make_session(model, provider=provider, exact=True, optimize=optimize)
    return iter([run(session, feed) for feed in feeds])


def _compare(
    names: Sequence[str], expected: Sequence[list[Any]], actual: Iterator[list[Any]]
) -> tuple[OutputError, ...]:
    trials = [
        [compare_outputs(name, a, b) for name, a, b in zip(names, first, second, strict=True)]
        for first, second in zip(expected, actual, strict=True)
    ]
    return tuple(worst(name, errors) for name, errors in zip(names, zip(*trials, strict=True), strict=True))


def _within(errors: Sequence[OutputError], limit: float) -> bool:
    return all(error.relative <= limit for error in errors)


def _above_noise(
    original: ModelProto,
    names: Sequence[str],
    feeds: list[Inputs],
    expected: Sequence[list[Any]],
    provider: Device,
    limit: float,
) -> tuple[float, str]:
    """The tolerance raised to the original's own noise, and a sentence saying so."""
    plain = _compare(names, expected, _outputs(original, feeds, provider, optimize=False))
    noise = max((error.relative for error in plain), default=0.0)
    raised = max(limit, min(_NOISE_FACTOR * noise, _LARGEST_TOLERANCE))
    return raised, (
        f"{raised:.3g} is allowed: the original differs by {noise:.3g} from itself without onnxruntime's optimisations"
    )
