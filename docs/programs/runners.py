"""What takes part in a race of latency.py: the input, what the package makes of it, and what others do."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import onnx

import upscale_onnx
from upscale_onnx.costs.costs import Costs, PresetCosts
from upscale_onnx.errors import ModelError, UpscaleError
from upscale_onnx.export.export import make
from upscale_onnx.export.recipes import Recipe, recipes
from upscale_onnx.model import Shape, infer_shapes, load_model
from upscale_onnx.model.batch import rebatch
from upscale_onnx.options import Method, Options
from upscale_onnx.pruning.prune import prune
from upscale_onnx.runtime import Device
from upscale_onnx.runtime.bench import Engine, Infer
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.runtime.providers import cpu_block
from upscale_onnx.runtime.verify import verify
from upscale_onnx.timing.calibration import measured_costs, resolve_target

INPUT = "input"
AUTO = "auto"
CONSTRAINED = "constrained"
REFERENCE = "apple-upscale"
ONNXSIM = "onnxsim"
PEERS = (REFERENCE, ONNXSIM)

_CUDA_BLOCK = 8
_PEER_SECONDS = 300
_SCRIPTS = Path(__file__).resolve().parent / "peers"


@dataclass(frozen=True)
class Wanted:
    """How candidates are made. verify: prove ours equal to the masked input; auto: let the package choose as well."""

    provider: Device
    threads: int
    fp16: bool = False
    verify: bool = False
    auto: bool = True
    reference_python: str | None = None
    onnxsim_python: str | None = None


@dataclass
class Field:
    """The models that take part by name, the input first, and why others do not."""

    models: dict[str, onnx.ModelProto] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, build: Callable[[], onnx.ModelProto]) -> None:
        """Take part with what `build` returns, unless it fails."""
        try:
            self.models[name] = build()
        except Exception as error:  # a bug on one network must not cost the hours spent on the others
            kind = "" if isinstance(error, UpscaleError) else f"{type(error).__name__}: "
            self.skipped[name] = kind + " ".join(str(error).split())[:200]


def line_up(
    network: str, original: onnx.ModelProto, amount: float | None, batch: int, wanted: Wanted, peers: Peers
) -> Field:
    """All candidates at `batch`, after pruning `amount` of every consumer's input channels by L2 norm.

    original: the network as its file has it, and as peers are given it; their results are then brought to `batch`.
    Raises: ModelError where the network has no form for `batch`.
    """
    half = _half if wanted.fp16 else _same
    model = rebatch(original, batch)
    masked = half(_masked(model, amount))
    found = Field({INPUT: masked})
    shapes = infer_shapes(masked)
    block = _CUDA_BLOCK if wanted.provider == "cuda" else cpu_block()
    costs = measured_costs(resolve_target(None, wanted.provider), wanted.provider, wanted.threads, batch)
    for name, recipe in recipes(block).items():
        found.add(name, partial(_made, recipe, masked, shapes, costs, wanted))
    if wanted.auto:
        found.add(AUTO, lambda: _auto(masked, wanted))
    if amount is not None:
        found.add(CONSTRAINED, lambda: _constrained(model, amount, block, wanted))
        if wanted.onnxsim_python:
            made = partial(peers.get, ONNXSIM, wanted.onnxsim_python, network, original, amount)
            found.add(ONNXSIM, lambda: half(rebatch(made(), batch)))
    if wanted.reference_python:
        exported = partial(peers.get, REFERENCE, wanted.reference_python, network, original, amount)
        found.add(REFERENCE, lambda: half(rebatch(exported(), batch)))
    return found


class Peers:
    """What other tools make of networks. The last network's results are kept: batch sizes do not change them."""

    def __init__(self) -> None:
        self._of: tuple[str, float | None] | None = None
        self._made: dict[str, onnx.ModelProto | ModelError] = {}

    def get(
        self, peer: str, python: str, network: str, original: onnx.ModelProto, amount: float | None
    ) -> onnx.ModelProto:
        """What `peer`, which runs in the interpreter `python`, makes of `original` at `amount`.

        Raises: ModelError where it fails, with the last line of what it said.
        """
        if self._of != (network, amount):
            self._of, self._made = (network, amount), {}
        if peer not in self._made:
            self._made[peer] = _run_peer(peer, python, network, original, amount)
        made = self._made[peer]
        if isinstance(made, ModelError):
            raise made
        return made


def _run_peer(
    peer: str, python: str, network: str, original: onnx.ModelProto, amount: float | None
) -> onnx.ModelProto | ModelError:
    if peer == REFERENCE:  # it finds zeroed channels; onnxsim chooses its own
        original = _masked(original, amount)
    script, word = {REFERENCE: ("apple_upscale.py", network), ONNXSIM: ("onnxsim_prune.py", str(amount))}[peer]
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.onnx"), Path(folder, "out.onnx")
        onnx.save(original, source)
        command = [python, str(_SCRIPTS / script), str(source), word, str(target)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PEER_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return ModelError(str(error).replace(folder, ""))
        if done.returncode:
            return ModelError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
        made = load_model(target)
    del made.graph.value_info[:]  # onnxsim leaves the shapes of before
    return made


def openvino_engine(model: onnx.ModelProto, threads: int) -> Engine:
    """`model` as a runner on OpenVINO's CPU device, in float32 as onnxruntime computes it.

    Raises: ModelError, when it is prepared, where OpenVINO is missing or cannot run the model.
    """

    def prepare(feed: Inputs) -> Infer:
        with _openvino_errors():
            import openvino  # type: ignore[import-not-found, unused-ignore]

            # On CPUs with bfloat16 units its default is to use them.
            config: dict[str, Any] = {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": threads,
                "INFERENCE_PRECISION_HINT": "f32",
            }
            core = openvino.Core()
            request = core.compile_model(core.read_model(model.SerializeToString()), "CPU", config)
            infer_request = request.create_infer_request()
            infer_request.infer(feed)
        return lambda: infer_request.infer(feed, share_inputs=True, share_outputs=True)

    return prepare


@contextlib.contextmanager
def _openvino_errors() -> Iterator[None]:
    try:
        yield
    except (ImportError, RuntimeError, ValueError) as error:
        raise ModelError(f"OpenVINO: {' '.join(str(error).split())[:200]}") from error


def _auto(masked: onnx.ModelProto, wanted: Wanted) -> onnx.ModelProto:
    """What the package chooses by a race of its own, which this one then judges."""
    options = Options.of(provider=wanted.provider, threads=wanted.threads, verify=wanted.verify)
    return upscale_onnx.compile(masked, options).model


def _masked(model: onnx.ModelProto, amount: float | None, method: Method = "unconstrained") -> onnx.ModelProto:
    options = Options.of(amount=amount, criterion="l2", side="input", method=method, masks="flat")
    return prune(model, options).model


def _constrained(model: onnx.ModelProto, amount: float, block: int, wanted: Wanted) -> onnx.ModelProto:
    """As much pruned, but the same channels for all consumers of a value, as other tools must choose them."""
    masked = _masked(model, amount, "constrained")
    masked = _half(masked) if wanted.fp16 else masked
    return _made(recipes(block)["keep"], masked, infer_shapes(masked), PresetCosts(block), wanted)


def _made(
    recipe: Recipe, masked: onnx.ModelProto, shapes: dict[str, Shape], costs: Costs, wanted: Wanted
) -> onnx.ModelProto:
    """The candidate that `recipe` describes. Raises: ModelError where it is wrong, and that was asked for."""
    made = make(recipe, masked, shapes, costs)
    if wanted.verify:
        outcome = verify(masked, made, provider=wanted.provider)
        if not outcome.equal:
            raise ModelError(f"is not equal to its input: {outcome.detail}")
    return made


def _same(model: onnx.ModelProto) -> onnx.ModelProto:
    return model


def _half(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` in float16, with float32 inputs and outputs."""
    from onnxconverter_common import float16  # type: ignore[import-not-found, unused-ignore]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one for every tensor with a value too small for float16
        converted: onnx.ModelProto = float16.convert_float_to_float16(model, keep_io_types=True)
    return converted
