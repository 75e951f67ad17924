"""Store cut weights as the model stored the whole ones: equal ones once, under the same name, in the same type.

Other passes give every node whose weight they cut a constant of its own. This pass merges the equal constants of one
weight. Where the model stores a weight in half precision or transposed, with a Cast or a Transpose behind it, the
result does so too. What the model computes from constants, and repeats along an axis, is stored once, with an Expand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from upscale_onnx.model.constants import MadeConstant, Origin
from upscale_onnx.model.content import values_of
from upscale_onnx.model.quantiser import Quantiser
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import Names, replace_uses
from upscale_onnx.passes.properties import Property
from upscale_onnx.passes.remove_unread import ALL_READ
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.passes.scales import scales_beside, scales_of, weight_beside
from upscale_onnx.passes.steps_back import types_before, uncast, untransposed
from upscale_onnx.plan.growth import StoredWeight
from upscale_onnx.types import Array, IntArray

_NEW = Origin("")
_EXPANDS = 8  # the first opset with an Expand
_WORTH = 256  # bytes: about what an Expand and its shape take in a file


def _unstored(rewrite: Rewrite) -> str:
    return next(
        (
            f"'{constant.name}' is not stored as the model stores its weights"
            for constant in _made_constants(rewrite.graph)
        ),
        "",
    )


STORED = Property("every constant is stored as the model stores its weights", _unstored)


@dataclass(frozen=True)
class _Form:
    """How a constant will be stored, and the nodes that turn the stored constant into the one that is read."""

    constant: MadeConstant
    values: Array
    way: tuple[_Step, ...]


@dataclass(frozen=True)
class _Step:
    """A node behind a stored constant; a quantiser with its scales, an Expand with its shape."""

    node: gs.Node
    quantiser: Quantiser | None = None
    shape: tuple[int, ...] | None = None

    @property
    def key(self) -> str:
        """A text that is the same for steps that do the same."""
        parameters = [] if self.quantiser is None else [_content(array) for array in self.quantiser.parameters]
        return f"{self.node.op} {sorted(self.node.attrs.items())} {parameters} {self.shape}"


@dataclass(frozen=True)
class StoreWeights(Pass):
    """Merges equal constants. It must be the last pass, since it gives names that may belong to other values before
    it."""

    purpose: ClassVar = "equal cuts of a weight become one, stored as the model stores the weight"
    requires: ClassVar = (ALL_READ,)
    ensures: ClassVar = (ALL_READ, STORED)

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph. The changes hold the size of each weight before and after."""
        graph, stored = rewrite.graph, list[StoredWeight]()
        made = _made_constants(graph)
        names = Names(graph)
        names.release(constant.name for constant in made)
        groups: dict[str, list[MadeConstant]] = {}
        for constant in made:
            groups.setdefault((constant.origin or _NEW).name, []).append(constant)
        whole = {name for name in groups if name in names}
        names.reserve(groups)
        work = _Storing(names)
        forms = _forms(made, graph.opset)
        for name, constants in groups.items():
            readers = frozenset(node.outputs[0].name for constant in constants for node in constant.outputs)
            parts = work.store([forms[id(constant)] for constant in constants], None if name in whole else name)
            origin = constants[0].origin
            if origin is not None and origin.stored_bytes:
                after = sum(part.values.nbytes for part in parts) + (origin.stored_bytes if name in whole else 0)
                stored.append(StoredWeight(name, origin.stored_bytes, after, readers))
        graph.nodes = [*work.nodes, *graph.nodes]
        names_given = [*(constant.name for constant in work.written), *(node.outputs[0].name for node in work.nodes)]
        return Changes(len(made), dict.fromkeys(names_given), stored=tuple(stored))


@dataclass
class _Storing:
    """The constants stored so far, and the nodes that bring them into the form that is read."""

    names: Names
    written: list[gs.Constant] = field(default_factory=list)
    nodes: list[gs.Node] = field(default_factory=list)
    parameters: dict[object, gs.Constant] = field(default_factory=dict)

    def store(self, forms: Sequence[_Form], name: str | None) -> list[gs.Constant]:
        """The constants stored for one weight, equal ones once. A single one is called `name`."""
        alike: dict[object, list[_Form]] = {}
        for form in forms:
            alike.setdefault(_content(form.values) if len(forms) > 1 else None, []).append(form)
        parts: list[gs.Constant] = []
        for same in alike.values():
            origin = same[0].constant.origin
            alone = name if len(alike) == 1 and origin is not None else None
            fresh = alone or self.names.fresh(origin.name if origin is not None else same[0].constant.name)
            if len(same) == 1 and not same[0].way:
                stored = same[0].constant
                stored.name, stored.is_stored = fresh, True
            else:
                stored = gs.Constant(fresh, same[0].values)
                self._lead(stored, same)
            parts.append(stored)
        self.written += parts
        return parts

    def _lead(self, stored: gs.Constant, forms: Sequence[_Form]) -> None:
        """Make the readers of `forms` read `stored`, through one node per step between the two."""
        made: dict[tuple[str, ...], gs.Tensor] = {(): stored}
        for form in forms:
            way: tuple[str, ...] = ()
            for step in form.way:
                source, way = made[way], (*way, step.key)
                if way not in made:
                    made[way] = self._step(step, source)
            replace_uses(form.constant, made[way])

    def _step(self, step: _Step, source: gs.Tensor) -> gs.Variable:
        node, known = step.node, step.node.outputs[0].name
        out = gs.Variable(self.names.fresh(known))
        inputs = [source] if step.quantiser is None else [source, *self._parameters(step.quantiser)]
        if step.shape is not None:
            self.written.append(gs.Constant(self.names.fresh(f"{known}_shape"), np.asarray(step.shape, np.int64)))
            inputs.append(self.written[-1])
        name = node.name if out.name == known else out.name
        self.nodes.append(gs.Node(node.op, name, node.attrs, inputs, [out], node.domain))
        return out

    def _parameters(self, quantiser: Quantiser) -> list[gs.Constant]:
        """The scale and the zero point of a quantiser. Those that are equal and come from one constant are stored
        once, as that constant where it is the same."""
        found = []
        for name, array in zip(quantiser.names, quantiser.parameters, strict=True):
            key = (name, _content(array))
            if key not in self.parameters:
                old = self.names.tensors.get(name)
                whole = isinstance(old, gs.Constant) and _content(values_of(old)) == key[1]
                self.parameters[key] = old if whole else gs.Constant(self.names.fresh(name), array.copy())
                self.written += [] if whole else [self.parameters[key]]
            found.append(self.parameters[key])
        return found


def _made_constants(graph: gs.Graph) -> list[MadeConstant]:
    """The constants that passes made, that nodes read and that are not stored yet, in graph order."""
    read = (tensor for node in graph.nodes for tensor in node.inputs if isinstance(tensor, MadeConstant))
    return list({id(tensor): tensor for tensor in read if not tensor.is_stored}.values())


def _forms(made: Sequence[MadeConstant], opset: int) -> dict[int, _Form]:
    """The form of each constant, by its id; biases come last, since their scales are those of the weights."""
    found: dict[int, _Form] = {}
    quantisers: dict[int, list[Quantiser]] = {}

    def store(constant: MadeConstant, scales: IntArray | None) -> IntArray | None:
        form = found[id(constant)] = _form(constant, opset, scales)
        quantisers[id(constant)] = [step.quantiser for step in form.way if step.quantiser is not None]
        return scales_of(quantisers[id(constant)])

    for constant in sorted(made, key=lambda one: one.values.ndim < 2):
        wanted, weight = scales_beside(constant, quantisers), weight_beside(constant)
        given = store(constant, wanted)
        if isinstance(weight, MadeConstant) and wanted is not None and given is not None and (given != wanted).any():
            store(weight, given)  # zeros have any scale: that of the bias, which is no zero
    return found


def _form(constant: MadeConstant, opset: int, scales: IntArray | None) -> _Form:
    """The constant in the form in which its origin is stored, or in the nearest form to it that loses nothing."""
    origin = constant.origin or _NEW
    values: Array = constant.values
    if constant.origin is not None and not origin.stored_bytes and opset >= _EXPANDS:
        return _form_once(constant, values)
    way: list[_Step] = []
    types = types_before(origin)
    for place, node, dtype in zip(reversed(range(len(origin.way))), reversed(origin.way), reversed(types), strict=True):
        behind = way[0].quantiser if way else None
        found = _in_front(_Step(node, origin.quantisers.get(place)), values, dtype, behind, scales)
        if found is None:
            break
        values, step = found
        way.insert(0, step)
    return _Form(constant, np.asarray(values, order="C"), tuple(way))


def _form_once(constant: MadeConstant, values: Array) -> _Form:
    """The form of a constant that the model computes: without repetitions along axes, if that is worth a node."""
    once = values
    for axis in range(values.ndim):
        first = once.take([0], axis) if once.shape[axis] > 1 else once
        once = first if _content(np.broadcast_to(first, once.shape)) == _content(once) else once
    if values.nbytes - once.nbytes < _WORTH:
        return _Form(constant, np.asarray(values, order="C"), ())
    node = gs.Node("Expand", constant.name, {}, [], [gs.Variable(constant.name)])
    return _Form(constant, np.asarray(once, order="C"), (_Step(node, shape=values.shape),))


def _in_front(
    step: _Step, values: Array, dtype: np.dtype[np.generic] | None, behind: Quantiser | None, scales: IntArray | None
) -> tuple[Array, _Step] | None:
    """The values of type `dtype` from which a step makes `values`, and the step with the scales for them. behind: the
    quantiser that follows. scales: the indices of those to try first."""
    if step.quantiser is not None:
        found = None if dtype is None else step.quantiser.undone(values, dtype, behind, scales)
        return None if found is None else (found[0], _Step(step.node, found[1]))
    before = uncast(values, dtype) if step.node.op == "Cast" else untransposed(values, step.node)
    return None if before is None else (before, step)


def _content(values: Array) -> tuple[object, ...]:
    return values.dtype.name, values.shape, sha256(np.ascontiguousarray(values).view(np.uint8).data).digest()
