"""BatchNormalization and InstanceNormalization carry channels; LayerNormalization, RMSNormalization and
GroupNormalization read all the channels that they normalise over."""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, IntArray, is_constant, is_wild
from upscale_onnx.channels.evaluate import evaluate
from upscale_onnx.channels.flow import Chooser, Emissions, Even, Flow, Fresh, Maps, Misaligned, Read, Refused, Resize
from upscale_onnx.channels.grid import is_full, take
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.carrier import only_first_output, pass_on, source
from upscale_onnx.errors import Reason


def _constant_vectors(op: Op, count: int) -> list[np.ndarray]:
    vectors = [op.constant(index) for index in range(1, 1 + count)]
    if any(vector is None for vector in vectors):
        raise Refused(Reason.DYNAMIC_PARAMETER, "statistics or affine parameters are computed at run time")
    return [vector for vector in vectors if vector is not None]


class BatchNormalization:
    """scale, B, mean, var: `(C,)`. A zero scale makes a channel constant, whatever it reads."""

    data_inputs: int | None = 1

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        only_first_output(op)
        found = source(maps)
        vectors = _constant_vectors(op, 4)
        if op.attrs.get("training_mode", 0) or not op.attrs.get("spatial", 1) or found.rank < 2:
            raise Refused(Reason.UNSUPPORTED_FORM, "training mode or input without a channel axis")
        channels = vectors[0].size
        if any(axis != 1 for axis in found.axes):
            raise Refused(Reason.MIXED_LAYOUT, "channels lie beside axis 1")
        if found.shape[1] not in (1, channels):
            raise Refused(Reason.MIXED_LAYOUT, "parameters and channels differ in number")
        _, state = found.along(1, channels)
        inputs = np.where(is_constant(state), state, 0.0)[None, :].astype(op.dtype(0))
        # Older versions mean the same at inference; onnx's reference misreads them.
        values = evaluate(op.op_type, max(op.opset, 15), {"epsilon": op.attrs.get("epsilon", 1e-5)}, [inputs, *vectors])
        if values is None:
            return Flow((found.with_state(np.full(found.shape, WILD)), *_nothing(op)))
        computed = values[0].ravel().astype(np.float64)
        finite = np.logical_and.reduce([np.isfinite(vector) for vector in (computed, *vectors)])
        fixed = is_constant(state) | (vectors[0] == 0)
        content = np.where(is_wild(state) | ~finite, WILD, np.where(fixed, computed, VARYING))
        if found.shape[1] == 1:
            wild = is_wild(content).any()
            return Flow((found.with_state(np.full(found.shape, WILD if wild else VARYING)), *_nothing(op)))
        return Flow((found.with_state(content.reshape(found.shape)), *_nothing(op)))

    def resize(self, op: Op, maps: Maps, emissions: Emissions, out: Maps, choose: Chooser) -> Resize:
        return pass_on(op, maps, emissions, {1: 1, 2: 1, 3: 1, 4: 1})


class InstanceNormalization:
    """scale, B: `(C,)`; a constant channel has no deviation and becomes B."""

    data_inputs: int | None = 1

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = source(maps)
        scale, bias = _constant_vectors(op, 2)
        if found.rank < 3:
            raise Refused(Reason.UNSUPPORTED_FORM, "input without spatial axes")
        wild = is_wild(found.state).any() or not (np.isfinite(scale).all() and np.isfinite(bias).all())
        behind = [axis for axis in found.axes if axis > 1]
        if behind:
            # Statistics are taken over channels: all of them are read, in any order.
            labels = found.labels.ravel()
            state = np.full(found.shape, WILD if wild else VARYING)
            return Flow((found.with_state(state),), reads=(Read(0, labels, labels),), fixed=(labels,))
        if 0 in found.axes or found.shape[1] not in (1, scale.size):
            raise Refused(Reason.MIXED_LAYOUT, "channels lie beside axis 1")
        if found.shape[1] == 1:
            return Flow((found.with_state(np.full(found.shape, WILD if wild else VARYING)),))
        state = found.state.ravel()
        known = np.where(is_constant(state) | (scale == 0), bias.astype(np.float64), VARYING)
        out = found.with_state(np.where(wild, WILD, known).reshape(found.shape))
        # Without an epsilon a constant channel is divided by zero.
        return Flow((out,), fragile=(found.labels,) if not op.attrs.get("epsilon", 1e-5) else ())

    def resize(self, op: Op, maps: Maps, emissions: Emissions, out: Maps, choose: Chooser) -> Resize:
        if any(axis > 1 for axis in source(maps).axes):
            return pass_on(op, maps, emissions)
        return pass_on(op, maps, emissions, {1: 1, 2: 1})


class LayerNormalization:
    """scale, B: broadcast to the normalised axes (from `axis` on). Any order of channels will do."""

    data_inputs: int | None = 1

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        only_first_output(op)
        found = source(maps)
        first = op.axis("axis", -1, found.rank)
        for index in range(1, len(op.present)):
            if op.is_dynamic(index):
                raise Refused(Reason.DYNAMIC_PARAMETER, "affine parameters are computed at run time")
        parameters = [op.constant(index) for index in (1, 2)]
        finite = all(p is None or np.isfinite(p).all() for p in parameters)
        wild = is_wild(found.state).any() or not finite
        content = found.with_state(np.full(found.shape, WILD if wild else VARYING))
        labels = found.labels.ravel()
        if all(axis < first for axis in found.axes):
            return Flow((content, *_nothing(op)))
        if any(axis < first for axis in found.axes):
            raise Refused(Reason.MIXED_LAYOUT, "channels on normalised and other axes at once")
        return Flow((content, *_nothing(op)), reads=(Read(0, labels, labels),))

    def resize(self, op: Op, maps: Maps, emissions: Emissions, out: Maps, choose: Chooser) -> Resize:
        found, emission = source(maps), emissions[0]
        if emission is None:
            raise Misaligned(found.labels)
        outputs = (emission, *[np.zeros(0, np.int64)] * (len(op.used) - 1))
        if is_full(emission, found.shape):
            return Resize(outputs)
        constants = {}
        for index in (1, 2):
            vector = op.constant(index)
            if vector is not None:
                constants[index] = take(vector, emission, found.shape)
        return Resize(outputs, {i: v for i, v in constants.items() if v is not op.constant(i)})


class GroupNormalization:
    """scale, B: `(C,)` (the form of opset 18 is deprecated). A group goes whole or stays whole."""

    data_inputs: int | None = 1

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = source(maps)
        scale, bias = _constant_vectors(op, 2)
        groups = int(op.attrs["num_groups"])
        if groups < 1:
            raise Refused(Reason.UNSUPPORTED_FORM, f"{groups} groups")
        if any(axis != 1 for axis in found.axes) or found.shape[1] != scale.size or found.shape[1] % groups:
            raise Refused(Reason.MIXED_LAYOUT, "channels do not fill the groups")
        grid = found.labels.reshape(groups, -1)
        wild = is_wild(found.state).any() or not (np.isfinite(scale).all() and np.isfinite(bias).all())
        state = np.full(found.shape, WILD if wild else VARYING)
        reads = tuple(Read(0, row, row) for row in grid)
        return Flow((found.with_state(state),), reads=reads, evens=(Even((grid,)),), fixed=(grid,))

    def resize(self, op: Op, maps: Maps, emissions: Emissions, out: Maps, choose: Chooser) -> Resize:
        found, emission = source(maps), emissions[0]
        if emission is None:
            raise Misaligned(found.labels)
        if is_full(emission, found.shape):
            return Resize((emission,))
        width = found.shape[1] // int(op.attrs["num_groups"])
        used: IntArray = np.unique(emission.ravel() // width)
        if not np.array_equal(emission.ravel(), (used[:, None] * width + np.arange(width)).ravel()):
            raise Misaligned(found.labels)
        constants = {}
        for index in (1, 2):
            vector = op.constant(index)
            if vector is not None:
                constants[index] = vector[emission.ravel()]
        return Resize((emission,), constants, {"num_groups": int(used.size)})


def _nothing(op: Op) -> tuple[ChannelMap | None, ...]:
    return (None,) * (len(op.used) - 1)


register(BatchNormalization(), "BatchNormalization", since=7)
register(InstanceNormalization(), "InstanceNormalization")
register(LayerNormalization(), "LayerNormalization", "RMSNormalization")
register(GroupNormalization(), "GroupNormalization", since=21)
