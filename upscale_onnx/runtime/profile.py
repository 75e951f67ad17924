"""The time that each operator of a model takes in onnxruntime."""

from __future__ import annotations

import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import onnx
from onnx import ModelProto

from upscale_onnx.errors import ModelError
from upscale_onnx.results import OperatorTotal
from upscale_onnx.runtime.inputs import feasible_inputs
from upscale_onnx.runtime.providers import Device
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.worker import in_worker

if TYPE_CHECKING:
    import onnxruntime as ort

_SUFFIX = "_kernel_time"


@dataclass(frozen=True)
class OperatorTime:
    """The time of one executed node. Node and operator names are those of onnxruntime's optimised graph.

    ms: the median time in ms.
    provider: the execution provider that ran the node, under onnxruntime's name.
    least_ms: the shortest time in ms; other work on the machine disturbs it least.
    """

    op_type: str
    node: str
    ms: float
    provider: str = ""
    least_ms: float = 0.0


@in_worker
def profile_operators(
    model: ModelProto | str | os.PathLike[str],
    *,
    provider: Device = "cpu",
    threads: int = 1,
    runs: int = 10,
    seed: int = 0,
    batch: int | None = None,
) -> tuple[OperatorTime, ...]:
    """The time of every node that onnxruntime executes, the slowest first. No files are left behind.

    The model is fed random inputs with `batch` for a dynamic first axis. On CUDA, the time of a node is
    that of its launch on the host, not the time for which the GPU is busy.

    Raises:
        ModelError: the model cannot be loaded or run.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        session = make_session(model, provider=provider, threads=threads, profile_prefix=str(Path(folder) / "profile"))
        proto = model if isinstance(model, ModelProto) else onnx.load(model, load_external_data=False)
        feed = feasible_inputs(lambda candidate: run(session, candidate), proto, seed=seed, batch=batch)
        for _ in range(runs):
            run(session, feed)
        events = node_events(session)
    return _operator_times(events, runs)


def node_events(session: ort.InferenceSession) -> list[tuple[str, dict[str, Any], float]]:
    """The nodes in the profile that `session` writes, in the order in which they ran: their name, details and ms."""
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    if not isinstance(events, list):
        raise ModelError("onnxruntime wrote a profile that cannot be read")
    nodes = [e for e in events if e.get("cat") == "Node" and str(e.get("name", "")).endswith(_SUFFIX)]
    return [(event["name"].removesuffix(_SUFFIX), event["args"], event["dur"] / 1e3) for event in nodes]


def operator_totals(times: Iterable[OperatorTime]) -> tuple[OperatorTotal, ...]:
    """The number of nodes and the total time of each operator type, the slowest first."""
    by_type: dict[str, list[float]] = defaultdict(list)
    for time in times:
        by_type[time.op_type].append(time.ms)
    totals = (OperatorTotal(op_type, len(ms), sum(ms)) for op_type, ms in by_type.items())
    return tuple(sorted(totals, key=lambda total: (-total.ms, total.op_type)))


def _operator_times(events: list[tuple[str, dict[str, Any], float]], runs: int) -> tuple[OperatorTime, ...]:
    durations: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for node, args, ms in events:
        durations[args["op_name"], node, args.get("provider", "")].append(ms)
    # Only the last runs count: the runs before them searched for inputs.
    times = [
        OperatorTime(op, node, median(ms[-runs:]), where, min(ms[-runs:]))
        for (op, node, where), ms in durations.items()
    ]
    return tuple(sorted(times, key=lambda time: -time.ms))
