"""RotaryEmbedding, the standard one and onnxruntime's: features of each head are rotated in pairs.

A pair goes as a whole, and is the same in all heads, since they share the tables of cosines and sines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild, known_map
from upscale_onnx.channels.flow import Even, Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Rule
from upscale_onnx.channels.grid import is_full
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.head_layout import Layout, Size, grids, held
from upscale_onnx.errors import Reason
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import Array, IntArray


@dataclass(frozen=True)
class _Form:
    """layout, size: of the input. rotated: how many features of a head, from the first on. partial: whether this is
    an attribute of the node. pairs: `(rotated/2, 2)`, which of them go together."""

    layout: Layout
    size: Size
    rotated: int
    partial: bool
    pairs: IntArray


class Rotary(Rule):
    """The rule of the input and two tables at inputs `tables`, whose last axis is of pairs."""

    data_inputs: int | None = None

    def __init__(self, *tables: int) -> None:
        self._tables = tables

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        form, found = self._form(op), known_map(maps[0])
        grid = grids(found, form.layout, [form.size])[0]
        first, second = grid.labels[:, form.pairs[:, 0]], grid.labels[:, form.pairs[:, 1]]
        state = np.where(is_wild(grid.state), WILD, VARYING)
        both = (grid.state[:, form.pairs] == 0).all(-1)
        for side in form.pairs.T:
            state[:, side] = np.where(both & ~is_wild(state[:, side]), 0.0, state[:, side])
            state[:, side] = np.where(is_wild(grid.state[:, form.pairs]).any(-1), WILD, state[:, side])
        state[:, form.rotated :] = grid.state[:, form.rotated :]
        behind = [(index, other) for index, other in enumerate(maps) if index and other is not None]
        wild = any(is_wild(other.state).any() for _, other in behind)
        finite = all(table is None or np.isfinite(table).all() for table in map(op.constant, self._tables))
        if wild or not finite:
            state[:] = WILD
        shape, _ = form.layout.places([form.size])
        return Flow(
            (ChannelMap(grid.labels.reshape(shape), state.reshape(shape)),),
            ((first, second),),
            tuple(Read(index, other.labels.ravel()) for index, other in behind),
            (Even((grid.labels,), aligned=True),),
            (grid.labels, *(other.labels for _, other in behind)),
        )

    def resize(self, op: Op, request: Request) -> Resize:
        form, (found, emission) = self._form(op), request.first_input()
        for other, given in zip(request.maps[1:], request.emissions[1:], strict=True):
            if other is not None and (given is None or not is_full(given, other.shape)):
                raise Misaligned(other.labels)
        kept = held(found, emission, form.layout, [form.size])[0]
        shape, _ = form.layout.places([kept.size])
        outputs = (kept.flat(form.size[1]).reshape(shape),)
        features = kept.features[0]
        if kept.size == form.size:
            return Resize(outputs)
        rotated = features[features < form.rotated]
        pairs = np.flatnonzero(np.isin(form.pairs[:, 0], rotated))
        wanted = np.concatenate((self._placed(form, pairs), np.arange(form.rotated, form.size[1])))
        wanted = wanted[np.isin(wanted, features) | (wanted < form.rotated)]
        if (kept.features != features).any() or not np.array_equal(features, wanted):
            raise Misaligned(found.labels)
        attrs: dict[str, Any] = {"num_heads": kept.size[0]} if op.attrs.get("num_heads", 0) else {}
        if form.partial:
            attrs["rotary_embedding_dim"] = int(rotated.size)
        if pairs.size == len(form.pairs):
            return Resize(outputs, attrs=attrs)
        if not pairs.size:
            raise Misaligned(found.labels)
        constants: dict[int, Array] = {}
        computed: dict[int, NewNode] = {}
        for index in self._tables:
            table = op.constant(index)
            if table is not None:
                constants[index] = table[..., pairs]
            else:
                computed[index] = NewNode("Gather", (index, pairs), attrs={"axis": (op.in_rank(index) or 1) - 1})
        return Resize(outputs, constants, attrs, computed=computed)

    def _placed(self, form: _Form, pairs: IntArray) -> IntArray:
        """The features of these pairs, in the order in which they stand."""
        return np.sort(form.pairs[pairs].ravel())

    def _form(self, op: Op) -> _Form:
        dims, table = op.in_dims[0], op.in_dims[self._tables[0]]
        if dims is None or table is None or not table or not isinstance(table[-1], int):
            raise Refused(Reason.UNKNOWN_SHAPE, "shape of the input or of the tables is not known")
        heads, rotated = int(op.attrs.get("num_heads", 0)), 2 * table[-1]
        if len(dims) == 4:
            layout, counts = Layout.APART, (dims[1], dims[3])
        elif len(dims) == 3 and isinstance(dims[2], int):
            # Without a number of heads, all features of a head are rotated.
            heads = heads or dims[2] // max(rotated, 1)
            layout, counts = Layout.MERGED, (heads, dims[2] // max(heads, 1))
        else:
            raise Refused(Reason.UNKNOWN_SHAPE, f"an input of shape {dims}")
        count, features = counts
        if not isinstance(count, int) or not isinstance(features, int):
            raise Refused(Reason.DYNAMIC_AXIS, "the size of an axis of heads or features is not known")
        partial = int(op.attrs.get("rotary_embedding_dim", 0))
        fits = rotated == (partial or features) and rotated <= features and count > 0
        if not fits or (layout is Layout.MERGED and count * features != dims[2]):
            raise Refused(Reason.UNSUPPORTED_FORM, f"{rotated} rotated features in {count} heads of {features}")
        numbers = np.arange(rotated).reshape(-1, 2) if op.attrs.get("interleaved", 0) else None
        pairs = np.arange(rotated).reshape(2, -1).T if numbers is None else numbers
        return _Form(layout, (count, features), rotated, bool(partial), pairs)


register(Rotary(1, 2), "RotaryEmbedding", since=23)
register(Rotary(2, 3), "RotaryEmbedding", domain=RUNTIME_DOMAIN)
