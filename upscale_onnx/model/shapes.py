"""The shape of every value, found by ONNX's own inference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from google.protobuf.message import EncodeError
from onnx import GraphProto, ModelProto, TypeProto, ValueInfoProto

from upscale_onnx.model.loop_states import LoopStates
from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.model.protos import inner_graphs, skeleton
from upscale_onnx.model.reader_sizes import sizes_from_readers
from upscale_onnx.model.runtime_operators import default_opset, only_runtime_knows, shaped_alike
from upscale_onnx.model.shape_folding import computed_shapes, fold_known, known_values, merged_dims
from upscale_onnx.model.size_names import MADE_UP, with_equal_names
from upscale_onnx.model.size_products import renamed
from upscale_onnx.model.taken_branches import take_branches
from upscale_onnx.types import Dim
from upscale_onnx.worker.checks import infer

# Operators that ONNX's inference does not know. Their result has the shape of their first input.
_SHAPE_PRESERVING = frozenset({"GroupNormalization"})
_UNPOOLED = 2  # the input of a MaxUnpool that is the shape of its result
# The most rounds of inference. Each may make more of the computed shapes known.
_MOST_ROUNDS = 64


@dataclass(frozen=True)
class Shape:
    """Element type and dimensions of a tensor.

    dtype: an `onnx.TensorProto` data type, 0 if it is not known.
    dims: for each dimension its size, the name of a dynamic size, or None if nothing is known. Inference makes up
        names such as unk__0 for unknown sizes that are the same.
    """

    dtype: int
    dims: tuple[Dim, ...]

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.dims)

    @property
    def sizes(self) -> tuple[int, ...] | None:
        """The dimensions if all of them are known sizes, else None."""
        sizes = tuple([dim for dim in self.dims if isinstance(dim, int)])
        return sizes if len(sizes) == len(self.dims) else None

    @property
    def is_static(self) -> bool:
        """Whether every dimension is a known size."""
        return self.sizes is not None

    def with_size(self, axis: int, size: int) -> Shape:
        """This shape with another size along `axis`, which is not negative."""
        return Shape(self.dtype, (*self.dims[:axis], size, *self.dims[axis + 1 :]))


def infer_shapes(model: ModelProto) -> dict[str, Shape]:
    """The shape of every named tensor whose rank is known; `model` is left as it is. Where a body and the main graph
    have values of the same name, the shape is that in the main graph.

    For values that inference does not know, the model's own declarations are used. If inference fails as a whole, only
    these declarations are returned.
    """
    bare = skeleton(model)
    _simplify(bare)
    declared, states, weights = _take_declared(bare.graph), LoopStates(bare.graph), initializer_shapes(model.graph)
    for number in range(_MOST_ROUNDS):
        graph, inferred = _inferred(bare)
        shapes = initializer_shapes(bare.graph) | weights
        # An output that is also an input has the shape of the input.
        for value in (*graph.value_info, *graph.input, *graph.output, *_of_bodies(graph)):
            shape = tensor_shape(value.type)
            if shape is not None and value.name not in shapes:
                shapes[value.name] = shape
        if not number and _declare(bare.graph, declared, shapes) and inferred:
            continue
        if states.settle(shapes, last=not inferred or number > _MOST_ROUNDS // 2):
            continue
        if inferred and _is_complete(bare.graph, shapes):
            return shapes
        if not inferred or not _state_what_is_known(bare, shapes, number, states):
            break
    return _with_equal_names(bare, shapes)


def _with_equal_names(bare: ModelProto, shapes: dict[str, Shape]) -> dict[str, Shape]:
    if not any(isinstance(dim, str) and dim.startswith(MADE_UP) for shape in shapes.values() for dim in shape.dims):
        return shapes
    found = with_equal_names(bare.graph, {name: shape.dims for name, shape in shapes.items()}, default_opset(bare))
    return {name: Shape(shape.dtype, found[name]) for name, shape in shapes.items()}


def _of_bodies(graph: GraphProto) -> Iterator[ValueInfoProto]:
    """What is declared, or was inferred, about the values in bodies of the nodes of `graph`."""
    for body in inner_graphs(graph):
        yield from (*body.value_info, *body.input, *body.output)
        for tensor in body.initializer:
            yield onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))


def _take_declared(graph: GraphProto) -> list[ValueInfoProto]:
    """Remove and return the declarations of computed values in `graph`, since they may be wrong."""
    made = {name for node in graph.node for name in node.output}
    declared = [ValueInfoProto.FromString(v.SerializeToString()) for v in (*graph.output, *graph.value_info)]
    for part in (graph, *inner_graphs(graph)):
        del part.value_info[:]
    known = made | {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    for value in graph.output:
        if value.name in known:
            value.ClearField("type")
    return [value for value in declared if value.name in made]


def _declare(graph: GraphProto, declared: list[ValueInfoProto], shapes: dict[str, Shape]) -> bool:
    """Add declarations that are new and contradict nothing to `graph` and `shapes`. Return whether there were any."""
    told = False
    for value in declared:
        known, stated = shapes.get(value.name), tensor_shape(value.type)
        if known is None and stated is None and value.type.ByteSize():
            graph.value_info.append(value)  # a sequence, a tensor of unknown rank
            continue
        if stated is None:
            continue
        dims = stated.dims if known is None else merged_dims(known.dims, stated.dims)
        if dims is not None:
            shapes[value.name] = Shape(known.dtype if known else stated.dtype, dims)
            graph.value_info.append(onnx.helper.make_tensor_value_info(value.name, shapes[value.name].dtype, dims))
            told = True
    return told


def _is_complete(graph: GraphProto, shapes: dict[str, Shape]) -> bool:
    """Whether every size is known."""
    named = all(name in shapes for node in graph.node for name in node.output)
    return named and all(shape.is_static for shape in shapes.values())


def _state_what_is_known(bare: ModelProto, shapes: dict[str, Shape], number: int, states: LoopStates) -> bool:
    """Add computed shapes that inference did not find to the graph. Return whether there were any."""
    opset = default_opset(bare)
    dims = {name: shape.dims for name, shape in shapes.items()}
    known = known_values(bare.graph, dims, opset)
    dtypes = {name: shape.dtype for name, shape in shapes.items()}
    found = [*computed_shapes(bare.graph, dims, dtypes, known), *states.results(shapes)]
    computed = {value.name for value in found}
    found += [value for value in sizes_from_readers(bare.graph, dims, dtypes) if value.name not in computed]
    for dim in (dim for value in found for dim in value.type.tensor_type.shape.dim):
        # In the next run of inference, the names that it made up stand for other sizes.
        if MADE_UP in dim.dim_param:
            dim.dim_param = renamed(dim.dim_param, lambda part: part + f"_{number}" * part.startswith(MADE_UP))
    names = {value.name for value in found}
    kept = [value for value in bare.graph.value_info if value.name not in names]
    del bare.graph.value_info[:]
    bare.graph.value_info.extend([*kept, *found])
    taken = take_branches(bare.graph, known)
    return fold_known(bare.graph, known) or taken or bool(found)


def _inferred(bare: ModelProto) -> tuple[GraphProto, bool]:
    """The graph with the shapes that inference finds, and whether inference succeeded."""
    try:
        found = infer(bare.SerializeToString())
    except (EncodeError, ValueError):
        return bare.graph, False
    return (bare.graph, False) if isinstance(found, str) else (found.graph, True)


def _simplify(bare: ModelProto) -> None:
    """Replace operators that are unknown to inference by standard ones whose results have the same shapes: by an
    Identity where the shape of the input is kept."""
    opset = default_opset(bare)
    dtypes = {tensor.name: tensor.data_type for tensor in bare.graph.initializer}
    dtypes |= {value.name: value.type.tensor_type.elem_type for value in bare.graph.input}
    alike = [(node, shaped_alike(node, dtypes)) for node in bare.graph.node]
    if any(standard for _, standard in alike):
        nodes = [made for node, standard in alike for made in standard or (node,)]
        del bare.graph.node[:]
        bare.graph.node.extend(nodes)
    for node in bare.graph.node:
        preserving = node.op_type in _SHAPE_PRESERVING and node.domain in STANDARD_DOMAINS
        if preserving or only_runtime_knows(node, opset):
            node.op_type = "Identity"
            del node.input[1:], node.output[1:], node.attribute[:]
        elif node.op_type == "MaxUnpool" and len(node.input) > _UNPOOLED:
            # Inference does not read the shape that is stated. Runtimes have this operator for float32 alone.
            node.op_type = "ConstantOfShape"
            del node.input[:_UNPOOLED], node.attribute[:]


def tensor_shape(value_type: TypeProto) -> Shape | None:
    """The shape that a type declares; None for sequences, maps and tensors of unknown rank."""
    if not value_type.HasField("tensor_type") or not value_type.tensor_type.HasField("shape"):
        return None
    tensor = value_type.tensor_type
    return Shape(tensor.elem_type, tuple([_dim(dim) for dim in tensor.shape.dim]))


def _dim(dim: onnx.TensorShapeProto.Dimension) -> Dim:
    if dim.HasField("dim_value"):
        return dim.dim_value if dim.dim_value >= 0 else None  # some exporters write -1 for "dynamic"
    return dim.dim_param or None


def initializer_shapes(graph: GraphProto) -> dict[str, Shape]:
    """The shapes of the weights of `graph`, by name."""
    shapes = {tensor.name: Shape(tensor.data_type, tuple(tensor.dims)) for tensor in graph.initializer}
    for sparse in graph.sparse_initializer:
        shapes[sparse.values.name] = Shape(sparse.values.data_type, tuple(sparse.dims))
    return shapes
