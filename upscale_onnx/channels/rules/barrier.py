"""What happens at a node that no rule looks through: it reads every channel in its original order."""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Role, Rule
from upscale_onnx.channels.grid import full_emission, is_full
from upscale_onnx.channels.op import Op
from upscale_onnx.types import Array


class Barrier(Rule):
    """Demands its inputs whole and in order. Its outputs have no channel axes."""

    data_inputs: int | None = None

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        known = [(index, found) for index, found in enumerate(maps) if found is not None]
        wild = any(is_wild(found.state).any() for _, found in known) or any(map(_is_wild, op.constants))
        outputs: list[ChannelMap | None] = []
        for dims in op.out_dims:
            if dims is None:
                outputs.append(None)
                continue
            shape = (1,) * len(dims)
            outputs.append(ChannelMap(fresh(1).reshape(shape), np.full(shape, WILD if wild else VARYING)))
        reads = tuple(Read(index, found.labels.ravel()) for index, found in known)
        fixed = tuple(found.labels for _, found in known)
        return Flow(tuple(outputs), reads=reads, fixed=fixed, role=Role.BARRIER)

    def resize(self, op: Op, request: Request) -> Resize:
        for found, emission in zip(request.maps, request.emissions, strict=True):
            if found is not None and emission is not None and not is_full(emission, found.shape):
                raise Misaligned(found.labels)
        return Resize(tuple(full_emission((1,) * len(dims) if dims else ()) for dims in op.out_dims))


def _is_wild(constant: Array | None) -> bool:
    """Whether a constant holds NaN or infinity."""
    if constant is None or constant.dtype.kind != "f":
        return False
    return not np.isfinite(constant.sum(dtype=np.float64)) and not np.isfinite(constant).all()


BARRIER = Barrier()
