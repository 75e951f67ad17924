"""An Einsum with a constant weight as a MatMul, so that its weight is one that masks know: `(inputs, outputs)`, or one
such matrix for each index of an axis that weight, value and result have.

    bsd,dhk->bshk    MatMul by (d, h·k), then a Reshape
    bshk,hkd->bsd    a Reshape, then MatMul by (h·k, d)
    ecd,edf->ecf     MatMul by (e, d, f)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from upscale_onnx.channels.rules.equation import PRODUCT, written_equation
from upscale_onnx.masks.stored_weights import Tensors, replace_values
from upscale_onnx.masks.targets import FLOATS
from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.types import Array

# The dots of an equation as one letter: axes of any number.
_DOTS = "."


@dataclass(frozen=True)
class StoredAxes:
    """A weight whose axes, in this `order`, merge into those of the matrix. name: that of the weight."""

    name: str
    order: tuple[int, ...]

    def rounded(self, tensors: Tensors, values: Array) -> Array:
        """As in `StoredWeight`: any numbers can be stored."""
        return values

    def write(self, tensors: Tensors, values: Array) -> Array:
        """As in `StoredWeight`."""
        tensor = tensors[self.name]
        moved = values.reshape([tensor.dims[axis] for axis in self.order]).transpose(np.argsort(self.order))
        replace_values(tensor, moved.astype(helper.tensor_dtype_to_np_dtype(tensor.data_type)))
        return np.ones(0)

    def write_zeros(self, tensors: Tensors, gone: Array, exactly: bool) -> None:
        """As in `StoredWeight`: all can shrink."""
        there = gone.reshape([tensors[self.name].dims[axis] for axis in self.order]).transpose(np.argsort(self.order))
        replace_values(tensors[self.name], np.where(there, 0, numpy_helper.to_array(tensors[self.name])))


@dataclass(frozen=True)
class _Product:
    """The letters of an equation, by what their axes are to the product: those of the value alone, those of value,
    weight and result, those that are summed over, and those of the weight alone."""

    rows: str
    batch: str
    inner: str
    columns: str

    @property
    def read(self) -> str:
        """The axes of the value in the order that a MatMul asks for."""
        return self.made[: -len(self.columns)] + self.inner

    @property
    def made(self) -> str:
        """The axes of what the MatMul makes."""
        return self.rows[:-1] + self.batch + self.rows[-1:] + self.columns

    @property
    def weight(self) -> str:
        """The axes of the weight in the order in which they merge."""
        return self.batch + self.inner + self.columns


@dataclass(frozen=True, eq=False)
class EquationView:
    """nodes: those in place of the node. constants: what they read beside the weight. weight: the matrix."""

    nodes: tuple[NodeProto, ...]
    constants: Mapping[str, Array]
    weight: Array
    stored: StoredAxes


def equation_view(node: NodeProto, tensors: Mapping[str, TensorProto], uses: Mapping[str, int]) -> EquationView | None:
    """The view of an Einsum; None where it is no product with one weight that nothing else reads."""
    if node.op_type != "Einsum" or node.domain not in STANDARD_DOMAINS or len(node.input) != 2:
        return None
    operand = 0 if node.input[0] in tensors else 1
    value, name = node.input[1 - operand], node.input[operand]
    tensor = tensors.get(name)
    if tensor is None or value in tensors or uses[name] != 1 or tensor.data_type not in FLOATS:
        return None
    operands, result = _letters(node)
    read, own = operands[1 - operand], operands[operand]
    product = _product(read, own, result)
    if product is None or len(own) != len(tensor.dims):
        return None
    sizes = dict(zip(own, tensor.dims, strict=True))
    stored = StoredAxes(name, tuple(own.index(letter) for letter in product.weight))
    merged = [sizes[product.batch]] if product.batch else []
    merged += [math.prod(sizes[letter] for letter in letters) for letters in (product.inner, product.columns)]
    matrix = numpy_helper.to_array(tensor).transpose(stored.order).reshape(merged)
    constants: dict[str, Array] = {}
    nodes = tuple(_nodes(node, (value, name), (read, result), product, sizes, constants))
    return EquationView(nodes, constants, np.ascontiguousarray(matrix), stored)


def _letters(node: NodeProto) -> tuple[list[str], str]:
    """Letters of the axes of each operand and of the result."""
    operands, result = written_equation(next((a.s.decode() for a in node.attribute if a.name == "equation"), ""))
    return [letters.replace("...", _DOTS) for letters in operands], result.replace("...", _DOTS)


def _product(read: str, own: str, result: str) -> _Product | None:
    """What the axes are; None where this is no product of matrices, or dots would have to be moved or merged."""
    columns = "".join(letter for letter in own if letter not in read)
    inner = "".join(letter for letter in read if letter in own and letter not in result)
    batch = "".join(letter for letter in read if letter in own and letter in result)
    found = _Product("".join(letter for letter in read if letter not in own), batch, inner, columns)
    repeats = any(len(set(letters)) != len(letters) for letters in (read, own, result))
    if repeats or not (found.rows and inner and columns) or len(batch) > 1 or set(found.made) != set(result):
        return None
    if _DOTS in read + own and not (read == found.read and result == found.made and len(inner + columns) == 2):
        return None
    return found


def _nodes(
    node: NodeProto, inputs: tuple[str, str], letters: tuple[str, str], product: _Product,
    sizes: Mapping[str, int], constants: dict[str, Array],
) -> Iterator[NodeProto]:  # fmt: skip
    (value, weight), (read, result), target = inputs, letters, node.output[0]
    outer = len(product.read) - len(product.inner)

    def reshaped(source: str, made: str, entries: list[int]) -> NodeProto:
        constants[f"{made}__sizes"] = np.asarray([0] * outer + entries, np.int64)
        return helper.make_node("Reshape", [source, f"{made}__sizes"], [made])

    if read != product.read:
        moved = f"{target}__moved"
        yield helper.make_node("Transpose", [value], [moved], perm=[read.index(letter) for letter in product.read])
        value = moved
    if len(product.inner) > 1:
        yield reshaped(value, f"{target}__merged", [math.prod(sizes[letter] for letter in product.inner)])
        value = f"{target}__merged"
    splits, moves = len(product.columns) > 1, result != product.made
    multiplied = f"{target}{PRODUCT}" if splits or moves else target
    yield helper.make_node("MatMul", [value, weight], [multiplied], node.name)
    if splits:
        apart = f"{target}__apart" if moves else target
        yield reshaped(multiplied, apart, [sizes[letter] for letter in product.columns])
        multiplied = apart
    if moves:
        yield helper.make_node("Transpose", [multiplied], [target], perm=[product.made.index(a) for a in result])
