"""Every registered rule against onnxruntime: perturb one channel of an operand and see which outputs change."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from tests.channels.case import Case, Plain, Producer, Tracked, bare_model, finish, operator, produced, random_operand
from tests.channels.cases import ALL
from tests.channels.engine import Engine
from tests.channels.test_channels_last import CASES as LAST
from tests.channels.test_channels_last import NO_KERNEL
from tests.channels.test_diffusion_nodes import STANDARD
from tests.channels.test_qlinear import CARRIERS, CONTRACTIONS
from tests.thorough import THOROUGH
from upscale_onnx.channels import rules
from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.registry import registered
from upscale_onnx.channels.step import Step
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.model.bodies import DOMAIN
from upscale_onnx.types import Array

assert rules.__all__

_MOST_POSITIONS = 12
# Shares of silent channels. Where all are constant, none is left to chance.
SILENT = (0.5, 0.5, 0.5, 1.0) if THOROUGH else (0.5, 1.0)
# Tested in traps: behind a MaxPool, and with tables in place of producers. Bodies and others have tests of their own.
_IN_NETWORKS = ("MaxUnpool", "EmbedLayerNormalization", "GatherBlockQuantized", "QMoE", "MatMulBnb4")


def test_every_registration_has_a_case() -> None:
    probed = {(case.op, case.opset) for case in ALL if not case.refused}
    for domain, op, since, until in registered():
        if domain and op in (
            *CARRIERS,
            *CONTRACTIONS,
            "QAttention",
            "QuantizeLinear",
            "DequantizeLinear",
            *LAST,
            *NO_KERNEL,
            *STANDARD,
        ):  # tested beside others of their kinds
            continue
        if domain == DOMAIN or op in _IN_NETWORKS:
            continue
        forms = [opset for name, opset in probed if name == op and since <= opset < until]
        assert forms, f"{domain}:{op} from opset {since} is registered but never probed"


def analysed(case: Case, producers: dict[int, Producer]) -> tuple[Analysis, Step]:
    """The analysis of the operator behind its producers, and its step."""
    nodes, inputs, constants = produced(case, producers)
    model = finish(case, [*nodes, operator(case)], inputs, constants, [(name, 0) for name in case.results])
    found = analyse(import_graph(model), infer_shapes(model))
    return found, next(step for step in found.steps if step.op.name == "probed")


def operands(case: Case, rng: np.random.Generator) -> dict[str, Array]:
    """Random values for every input of the bare model."""
    feeds = {}
    for name, operand in zip(case.names, case.operands, strict=True):
        if isinstance(operand, Plain) and operand.dtype == TensorProto.INT64:
            # Bounds and indices: the first is a start.
            feeds[name] = np.full(operand.shape, 0 if name == "a1" else 1, np.int64)
        elif isinstance(operand, Tracked | Plain):
            feeds[name] = random_operand(operand, rng)
    return feeds


def touched(before: Array, after: Array, shape: tuple[int, ...]) -> Array:
    """Which entries of a map of `shape` differ between two outputs."""
    same = np.asarray(before == after)
    if before.dtype.kind == "f":
        same |= np.isnan(before) & np.isnan(after)
    along = tuple(axis for axis, size in enumerate(shape) if size == 1)
    changed: Array = np.any(~same, axis=along, keepdims=True)
    return changed


def announced(step: Step, index: int, label: int, out: ChannelMap) -> Array:
    """Entries of the output that may change when the channel `label` of input `index` does."""
    reached, wanted = {label}, [label]
    while wanted:
        one = wanted.pop()
        for read in step.flow.reads:
            columns = np.flatnonzero(read.sources == one)
            # Behind the first read, classes are those of a value within the node.
            if columns.size == 0 or (read.input != index and step.flow.inner is None):
                continue
            if read.targets is None:
                return np.ones(out.shape, bool)
            reading = np.ones(read.targets.size, bool)
            if read.known is not None:
                reading = read.known.entries()[:, columns].any(1)
            found = set(read.targets[reading].tolist()) - reached
            reached |= found
            wanted += found if step.flow.inner is not None else ()
    may: Array = np.isin(out.labels, sorted(reached))
    return may


def region(found: ChannelMap, entry: int) -> tuple[slice, ...]:
    """The elements of a value that one entry of its map speaks for."""
    where = np.unravel_index(entry, found.shape)
    return tuple(slice(int(w), int(w) + 1) if s > 1 else slice(None) for w, s in zip(where, found.shape, strict=True))


@pytest.mark.parametrize("case", ALL, ids=str)
def test_what_changes_is_announced(case: Case) -> None:
    rng = np.random.default_rng(0)
    found, step = analysed(case, {i: Producer.random(t, rng) for i, t in case.tracked.items()})
    assert step.barrier == case.refused, found.refusals
    if case.refused:
        return
    engine = Engine(bare_model(case))
    changes = 0
    for index, operand in enumerate(case.operands):
        if not isinstance(operand, Tracked | Plain) or operand.dtype == TensorProto.INT64:
            continue
        channels = step.maps[index]
        assert channels is not None
        entries = rng.permutation(channels.labels.size)[:_MOST_POSITIONS]
        for entry in entries:
            feeds = operands(case, rng)
            before = engine.run(feeds)
            changed = feeds[case.names[index]].copy()
            fresh = random_operand(operand, rng)
            if not (isinstance(operand, Tracked) and operand.through) and fresh.dtype == np.float32:
                fresh = fresh * 2  # beyond the range of the others, or no maximum would move
            changed[region(channels, entry)] = fresh[region(channels, entry)]
            after = engine.run({**feeds, case.names[index]: changed})
            label = int(channels.labels.ravel()[entry])
            for out, left, right in zip(step.flow.outputs, before, after, strict=True):
                assert out is not None
                hit = touched(left, right, out.shape)
                assert not (hit & ~announced(step, index, label, out)).any(), f"operand {index}, entry {entry}"
                changes += int(hit.sum())
    assert changes or case.op in ("IsNaN", "IsInf", "CastLike") or not case.tracked


@pytest.mark.parametrize("case", [case for case in ALL if case.tracked and not case.refused], ids=str)
def test_predicted_constants_are_what_is_computed(case: Case) -> None:
    rng = np.random.default_rng(1)
    engine = Engine(bare_model(case))
    for silent in SILENT:
        print(silent)
        _, step = analysed(case, {i: Producer.random(t, rng, silent) for i, t in case.tracked.items()})
        for _ in range(2):
            feeds = operands(case, rng)
            for index in case.tracked:
                channels, values = step.maps[index], feeds[case.names[index]]
                assert channels is not None
                known = np.isfinite(channels.state)
                fill = np.broadcast_to(np.where(known, channels.state, 0).astype(values.dtype), values.shape)
                feeds[case.names[index]] = np.where(known, fill, values)
            for out, value in zip(step.flow.outputs, engine.run(feeds), strict=True):
                assert out is not None
                expected = np.broadcast_to(out.state, value.shape)
                fixed = np.isfinite(expected)
                np.testing.assert_allclose(value[fixed].astype(np.float64), expected[fixed], rtol=1e-5, atol=1e-5)
                free = np.isnan(expected)
                if step.op.op_type not in MAY_BE_INFINITE:
                    assert np.isfinite(value[free].astype(np.float64)).all()


# Operators that leave the reals for some finite inputs: their channels are trusted not to.
MAY_BE_INFINITE = frozenset("Log Sqrt Reciprocal Div Pow ReduceLogSum ReduceLogSumExp Mod Acosh".split())  # noqa: SIM905
