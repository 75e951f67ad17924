"""The global check: it runs two models on the same inputs in onnxruntime and uses no code of the compiler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from onnx import ModelProto

from upscale_onnx.errors import ModelError
from upscale_onnx.model import Shape, infer_shapes
from upscale_onnx.model.operators import DRAWS
from upscale_onnx.model.protos import iter_nodes
from upscale_onnx.model.stats import model_stats
from upscale_onnx.results import Verification
from upscale_onnx.runtime.activity import Activity, activity
from upscale_onnx.runtime.draws import Drawing
from upscale_onnx.runtime.evidence import DrawnTrial, Verdict, is_plain, trials_of, verdict
from upscale_onnx.runtime.inputs import Inputs, InputSource
from upscale_onnx.runtime.interface import interface_difference
from upscale_onnx.runtime.noise import noisy_runs
from upscale_onnx.runtime.providers import Device
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.runtime.tolerance import Tolerance, tolerances
from upscale_onnx.runtime.user_inputs import check_dims, check_inputs
from upscale_onnx.types import Array
from upscale_onnx.worker import in_worker

# By multiply-accumulates of the model: the number of trials, and in how many of them sleeping channels are looked for.
# Large models get fewer trials, so that the check takes no longer than the rest of a compile. The first trials differ
# most from each other.
_EFFORTS = ((5_000_000, (18, 18)), (30_000_000, (9, 9)), (150_000_000, (6, 6)), (300_000_000, (5, 5)))
_LEAST_EFFORT = (5, 2)
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
    """Check that `compiled` computes the same as `original`, on `inputs`, on each entry of `data` and on random inputs.

    `trials` sets of random inputs are drawn, each in another way; None means five to eighteen, by the model's size.
    Open dimensions get two sizes, or those in `dims`. Floating-point outputs must agree within a tolerance relative
    to their largest magnitude; all other outputs must be equal. The tolerance is the difference that rounding
    explains. It is derived from the depth and types of the model, and measured on the original if that is not enough.
    Each channel of an output has its own. If `tolerance` is given, it replaces all of this and holds for each output
    as a whole. If `feeds` is given, the inputs of all trials are appended to it.

    Raises:
        ArgumentError: `inputs`, `data` or `dims` do not fit the original.
        ModelError: the original does not run in onnxruntime.
    """
    given = [dict(feed) for feed in (*([inputs] if inputs is not None else []), *data)]
    for feed in given:
        check_inputs(feed, original)
    check_dims(dims or {}, original)
    if difference := interface_difference(original, compiled):
        return Verification(False, tolerance or 0.0, (), 0, (), provider, difference)
    reference = Reference(original, given, dims=dims, provider=provider, seed=seed, trials=trials, tolerance=tolerance)
    if feeds is not None:
        feeds.extend(reference.feeds)
    found = reference.compare(compiled)
    seen = reference.activity()
    return replace(found, activations=seen.channels, asleep=seen.asleep)


@dataclass(frozen=True)
class _Kept:
    feed: Inputs
    outputs: list[Any]


class Reference:
    """A model with inputs and its outputs on them. Any number of other models can be compared with it."""

    def __init__(
        self,
        model: ModelProto,
        given: Sequence[Inputs] = (),
        *,
        dims: Mapping[str, int] | None = None,
        provider: Device = "cpu",
        seed: int = 0,
        trials: int | None = None,
        tolerance: float | None = None,
    ) -> None:
        """Run `model` on the inputs in `given`, then on random ones.

        Raises:
            ModelError: the model cannot be run on the given inputs, or, without these, on random ones.
        """
        self._model, self._provider, self._seed = model, provider, seed
        self._shapes = infer_shapes(model)
        self._limits = tolerances(model, self._shapes)
        if tolerance is not None:
            self._limits = (Tolerance(tolerance, tolerance, whole=True),) * len(self._limits)
        self._session = make_session(model, provider=provider, exact=True)
        self._kept: list[_Kept] = []
        self._noise: list[list[list[Any]]] | None = None
        usual, self._watched = _effort(model, self._shapes, self._limits)
        self._collect(given, dims, usual if trials is None else trials)

    @property
    def feeds(self) -> list[Inputs]:
        """The inputs of every trial."""
        return [kept.feed for kept in self._kept]

    def activity(self) -> Activity:
        """How many channels enter activations that clip, and how many of them stayed asleep in all trials."""
        return activity(self._model, self._shapes, self.feeds[: self._watched], self._provider)

    def compare(self, compiled: ModelProto) -> Verification:
        """Whether `compiled`, which has the same inputs and outputs, computes the same in all trials."""
        feeds, largest = self.feeds, max((limit.limit for limit in self._limits), default=0.0)
        fed = tuple({name: array.shape for name, array in feed.items()} for feed in feeds)
        try:
            session = make_session(compiled, provider=self._provider, exact=True)
            actual = [run(session, feed) for feed in feeds]
        except ModelError as error:
            failure = f"the compiled model fails: {error}"
            return Verification(False, largest, (), len(feeds), fed, self._provider, failure)
        verdicts = self._judged(actual)
        errors = tuple(found.error for found in verdicts)
        silent = [found for found in verdicts if found.silent]
        loud = [found for found in verdicts if found.detail and not found.silent]
        detail = next((found.detail for found in (*loud, *silent)), "")
        most = max((error.tolerance for error in errors), default=largest)
        undecided = bool(silent) and not loud
        if undecided and (drawn := _drawn(self._model)):
            detail = f"output '{silent[0].error.output}' cannot be compared: '{drawn}' is drawn at random in each run"
        return Verification(not detail, most, errors, len(feeds), fed, self._provider, detail, undecided=undecided)

    def _collect(self, given: Sequence[Inputs], dims: Mapping[str, int] | None, trials: int) -> None:
        for feed in given:
            self._attempt(feed)
        draws = tuple(Drawing)
        try:
            source = InputSource(self._model, self._seed, dims, self._shapes)
            for trial in range(trials):
                if trial > 1 and self._bytes() > _MOST_KEPT_BYTES:
                    return
                source.feasible(self._attempt, trial, draw=draws[trial % len(draws)])
        except ModelError:
            if not self._kept:  # if random inputs do not fit, the given ones are enough
                raise

    def _judged(self, actual: Sequence[list[Any]]) -> tuple[Verdict, ...]:
        """One verdict per output; `actual` holds the outputs of the compiled model, trial by trial."""
        names = [value.name for value in self._model.graph.output]
        trials = [self._trials(name, i, actual) for i, name in enumerate(names)]
        pairs = list(zip(trials, self._limits, strict=True))
        if all(limit.whole or is_plain(found, limit) for found, limit in pairs):
            return tuple(verdict(found, (), limit) for found, limit in pairs)
        if self._noise is None:
            again = noisy_runs(self._model, self._session, self.feeds, self._provider, self._seed)
            self._noise = list(again)
        noise = [[self._trials(name, i, outputs) for outputs in self._noise] for i, name in enumerate(names)]
        return tuple(verdict(found, noise[i], limit) for i, (found, limit) in enumerate(pairs))

    def _trials(self, name: str, index: int, outputs: Sequence[list[Any]]) -> tuple[DrawnTrial, ...]:
        return trials_of(name, [kept.outputs[index] for kept in self._kept], [found[index] for found in outputs])

    def _attempt(self, feed: Inputs) -> None:
        self._kept.append(_Kept(feed, run(self._session, feed)))

    def _bytes(self) -> int:
        arrays = [*(a for kept in self._kept for a in kept.feed.values()), *(o for k in self._kept for o in k.outputs)]
        return sum(getattr(array, "nbytes", 0) for array in arrays)


def _drawn(model: ModelProto) -> str | None:
    """The first value that the model draws at random; None if it draws none."""
    return next((node.output[0] for node in iter_nodes(model.graph) if node.op_type in DRAWS), None)


def _effort(model: ModelProto, shapes: Mapping[str, Shape], limits: Sequence[Tolerance]) -> tuple[int, int]:
    """How many trials to run, and in how many of them to look for sleeping channels."""
    if any(limit.step for limit in limits):  # integer contractions are not counted below
        return _LEAST_EFFORT
    macs = model_stats(model, shapes).macs
    return next((effort for most, effort in _EFFORTS if macs <= most), _LEAST_EFFORT)
