"""The oracle: two models side by side in onnxruntime, and nothing of the compiler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto

from upscale_onnx.errors import ModelError
from upscale_onnx.model import Shape, infer_shapes
from upscale_onnx.model.stats import model_stats
from upscale_onnx.results import Verification
from upscale_onnx.runtime.activity import activity
from upscale_onnx.runtime.draws import Draw
from upscale_onnx.runtime.evidence import Verdict, is_plain, trials_of, verdict
from upscale_onnx.runtime.inputs import Array, Inputs, InputSource
from upscale_onnx.runtime.interface import interface_difference
from upscale_onnx.runtime.noise import noisy_runs
from upscale_onnx.runtime.providers import Device
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.runtime.tolerance import Tolerance, tolerances
from upscale_onnx.runtime.user_inputs import check_dims, check_inputs
from upscale_onnx.worker import in_worker

# Large models get fewer trials, so that the check stays as fast as the rest of a compile; in how many of them sleeping
# channels are looked for comes second. The first trials differ most.
_EFFORTS = ((30_000_000, (8, 8)), (150_000_000, (6, 6)), (300_000_000, (4, 4)))
_LEAST_EFFORT = (4, 2)
_MOST_KEPT_BYTES = 2**30


@in_worker
def verify(
    original: ModelProto,
    compiled: ModelProto,
    *,
    inputs: Mapping[str, Array] | None = None,
    data: Sequence[Mapping[str, Array]] = (),
    dims: Mapping[str, int] | None = None,
    provider: Device = "cpu",
    seed: int = 0,
    trials: int | None = None,
    tolerance: float | None = None,
    feeds: list[Inputs] | None = None,
) -> Verification:
    """Whether `compiled` computes what `original` does, on `inputs`, on each of `data` and on random inputs.

    `trials` sets of random inputs are drawn, each in another way (None: four to eight, by the model's size); open
    dimensions get two sizes, or those in `dims`. Floating-point outputs must agree within a tolerance relative to
    their own scale, all others exactly. The tolerance is what rounding explains: derived from depth and types, and
    measured on the original where that is not enough; each channel of an output has its own. With `tolerance`,
    that alone counts, for each output as a whole. `feeds`, where given, is filled with the inputs of all trials.

    Raises:
        ArgumentError: `inputs`, `data` or `dims` do not fit the original.
        ModelError: the original does not run in onnxruntime.
    """
    given = [dict(feed) for feed in (*([inputs] if inputs is not None else []), *data)]
    for feed in given:
        check_inputs(feed, original)
    check_dims(dims or {}, original)
    shapes = infer_shapes(original)
    limits = tolerances(original, shapes)
    largest = max((limit.limit for limit in limits), default=0.0) if tolerance is None else tolerance
    if difference := interface_difference(original, compiled):
        return Verification(False, largest, (), 0, (), provider, difference)
    reference = _Reference(original, shapes, provider, seed)
    usual, watched = _effort(original, shapes, limits)
    reference.collect(given, dims, usual if trials is None else trials)
    if feeds is not None:
        feeds.extend(reference.feeds)
    fed = tuple({name: array.shape for name, array in feed.items()} for feed in reference.feeds)
    try:
        session = make_session(compiled, provider=provider, exact=True)
        actual = [run(session, feed) for feed in reference.feeds]
    except ModelError as error:
        return Verification(False, largest, (), len(fed), fed, provider, f"the compiled model fails: {error}")
    verdicts = reference.judged(actual, limits, tolerance)
    errors = tuple(found.error for found in verdicts)
    silent = [found for found in verdicts if found.silent]
    loud = [found for found in verdicts if found.detail and not found.silent]
    detail = next((found.detail for found in (*loud, *silent)), "")
    seen = activity(original, shapes, reference.feeds[:watched], provider)
    most = max((error.tolerance for error in errors), default=largest)
    return Verification(
        not detail,
        most,
        errors,
        len(fed),
        fed,
        provider,
        detail,
        activations=seen.channels,
        asleep=seen.asleep,
        undecided=bool(silent) and not loud,
    )


def _effort(model: ModelProto, shapes: Mapping[str, Shape], limits: Sequence[Tolerance]) -> tuple[int, int]:
    """How many trials to run, and in how many of them to look for channels that sleep."""
    if any(limit.step for limit in limits):  # integer contractions are not counted below
        return _LEAST_EFFORT
    macs = model_stats(model, shapes).macs
    return next((effort for most, effort in _EFFORTS if macs <= most), _LEAST_EFFORT)


@dataclass(frozen=True)
class _Kept:
    feed: Inputs
    outputs: list[Any]


class _Reference:
    """The original, the inputs of every trial, and what it makes of them."""

    def __init__(self, model: ModelProto, shapes: Mapping[str, Shape], provider: Device, seed: int) -> None:
        self._model, self._shapes, self._provider, self._seed = model, shapes, provider, seed
        self._session = make_session(model, provider=provider, exact=True)
        self._kept: list[_Kept] = []

    @property
    def feeds(self) -> list[Inputs]:
        """The inputs of every trial."""
        return [kept.feed for kept in self._kept]

    def collect(self, given: Sequence[Inputs], dims: Mapping[str, int] | None, trials: int) -> None:
        """Run the original on the inputs that are `given`, then on random ones.

        Raises:
            ModelError: it runs on none.
        """
        for feed in given:
            self._attempt(feed)
        draws = tuple(Draw)
        try:
            source = InputSource(self._model, self._seed, dims, self._shapes)
            for trial in range(trials):
                if trial > 1 and self._bytes() > _MOST_KEPT_BYTES:
                    return
                source.feasible(self._attempt, trial, draw=draws[trial % len(draws)])
        except ModelError:
            if not self._kept:  # other inputs are enough where random ones do not fit
                raise

    def judged(
        self, actual: Sequence[list[Any]], limits: Sequence[Tolerance], fixed: float | None
    ) -> tuple[Verdict, ...]:
        """What all trials say of each output, where `actual` holds the compiled model's outputs by trial."""
        names = [value.name for value in self._model.graph.output]
        trials = [self._trials(name, i, actual) for i, name in enumerate(names)]
        if fixed is not None:
            exact = [Tolerance(fixed, fixed, whole=True)] * len(names)
            return tuple(verdict(found, (), limit) for found, limit in zip(trials, exact, strict=True))
        pairs = list(zip(trials, limits, strict=True))
        if all(is_plain(found, limit) for found, limit in pairs):
            return tuple(verdict(found, (), limit) for found, limit in pairs)
        runs = noisy_runs(self._model, lambda feed: run(self._session, feed), self.feeds, self._provider, self._seed)
        noise: list[list[Any]] = [[] for _ in names]
        for outputs in runs:
            for i, name in enumerate(names):
                noise[i].append(self._trials(name, i, outputs))
        return tuple(verdict(found, noise[i], limit) for i, (found, limit) in enumerate(pairs))

    def _trials(self, name: str, index: int, outputs: Sequence[list[Any]]) -> Any:
        return trials_of(name, [kept.outputs[index] for kept in self._kept], [found[index] for found in outputs])

    def _attempt(self, feed: Inputs) -> None:
        self._kept.append(_Kept(feed, run(self._session, feed)))

    def _bytes(self) -> int:
        arrays = [*(a for kept in self._kept for a in kept.feed.values()), *(o for k in self._kept for o in k.outputs)]
        return sum(getattr(array, "nbytes", 0) for array in arrays)
