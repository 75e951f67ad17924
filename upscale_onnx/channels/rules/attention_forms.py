"""The forms of attention operators: which input holds queries, keys and values, and how.

The standard Attention, and onnxruntime's MultiHeadAttention and GroupQueryAttention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.rules.head_layout import Layout, Size
from upscale_onnx.errors import Reason

Parts = str
"""Some of "q", "k" and "v": queries, keys and values."""


@dataclass(frozen=True)
class Form:
    """How a node attends.

    sizes: heads and features of queries, keys and values. sources: per input with heads, its layout and its parts.
    made: the layout of the result. past: the input that holds former keys; the next one holds former values. bias: of
    all parts, one behind the other. mask: what is added to the scores. sinks: one number for each head. -1 where the
    operator has none. whole: whether heads keep all of their features. counts: the attributes that hold numbers of
    heads, and of which part. scaled: whether the attribute for the scale is given. alike: whether values must keep as
    many features as keys.
    """

    sizes: Mapping[str, Size]
    sources: Mapping[int, tuple[Layout, Parts]]
    made: Layout
    past: int
    mask: int
    scaled: bool
    counts: Mapping[str, str]
    bias: int = -1
    sinks: int = -1
    whole: bool = False
    alike: bool = False

    def parts(self, index: int) -> list[Size]:
        """The sizes of the parts that input `index` holds."""
        return [self.sizes[part] for part in self.sources[index][1]]

    def source(self, part: str) -> int:
        """The input that holds `part`."""
        return next(index for index, (_, parts) in self.sources.items() if part in parts)


def standard(op: Op) -> Form:
    """The form of an Attention. Raises `Refused`."""
    ranks = {op.in_rank(index) for index in range(3)}
    if ranks == {4}:
        sizes = {part: (_size(op, index, 1), _size(op, index, 3)) for index, part in enumerate("qkv")}
        layout = Layout.APART
    elif ranks == {3}:
        heads, groups = int(op.attrs.get("q_num_heads", 0)), int(op.attrs.get("kv_num_heads", 0))
        sizes = {part: _merged(op, index, heads if part == "q" else groups) for index, part in enumerate("qkv")}
        layout = Layout.MERGED
    else:
        raise Refused(Reason.UNKNOWN_SHAPE, "rank of queries, keys or values is not known")
    named = {"q_num_heads": "q", "kv_num_heads": "k"}
    counts = {name: part for name, part in named.items() if name in op.attrs}
    sources = {index: (layout, part) for index, part in enumerate("qkv")}
    return _checked(Form(sizes, sources, layout, 4, 3, "scale" in op.attrs, counts))


def multi_head(op: Op) -> Form:
    """The form of a MultiHeadAttention. Raises `Refused`."""
    heads = int(op.attrs.get("num_heads", 0))
    sources: dict[int, tuple[Layout, Parts]]
    if not op.has(1):
        sources = {0: (Layout.STACKED, "qkv")}
    elif not op.has(2):
        sources = {0: (Layout.MERGED, "q"), 1: (Layout.STACKED, "kv")}
    else:
        layouts = {index: Layout.APART if op.in_rank(index) == 4 else Layout.MERGED for index in (1, 2)}
        sources = {0: (Layout.MERGED, "q"), 1: (layouts[1], "k"), 2: (layouts[2], "v")}
    if op.has(3) and any(layout is Layout.APART for layout, _ in sources.values()):
        raise Refused(Reason.UNSUPPORTED_FORM, "a bias for keys that are apart")
    sizes: dict[str, Size] = {}
    for index, (layout, parts) in sources.items():
        size = _merged(op, index, heads) if layout is Layout.MERGED else (heads, _last(op, index, layout, heads))
        sizes.update(dict.fromkeys(parts, size))
    scaled = bool(op.attrs.get("scale", 0.0))
    # Keys and values are checked to have one shape where heads have an axis.
    alike = any(layout is not Layout.MERGED for layout, _ in sources.values())
    return _checked(Form(sizes, sources, Layout.MERGED, 6, 5, scaled, {"num_heads": "q"}, bias=3, alike=alike))


def grouped(op: Op) -> Form:
    """The form of a GroupQueryAttention, which has one number of features for all parts, a multiple of eight. Raises
    `Refused`."""
    if any(op.attrs.get(name, "NONE") not in ("NONE", b"NONE") for name in ("k_quant_type", "v_quant_type")):
        raise Refused(Reason.UNSUPPORTED_FORM, "a quantised cache")
    heads, groups = int(op.attrs.get("num_heads", 0)), int(op.attrs.get("kv_num_heads", 0))
    counts = {"num_heads": "q", "kv_num_heads": "k"}
    sources: dict[int, tuple[Layout, Parts]]
    if op.has(1):
        sources = {index: (Layout.MERGED, part) for index, part in enumerate("qkv")}
        sizes = {part: _merged(op, index, heads if part == "q" else groups) for index, part in enumerate("qkv")}
    else:
        sources = {0: (Layout.MERGED, "qkv")}
        _, features = _merged(op, 0, heads + 2 * groups)
        sizes = {"q": (heads, features), "k": (groups, features), "v": (groups, features)}
    scaled = bool(op.attrs.get("scale", 0.0))
    return _checked(Form(sizes, sources, Layout.MERGED, 3, 10, scaled, counts, sinks=11, whole=True))


def _checked(form: Form) -> Form:
    (heads, features), (groups, same), (again, _) = (form.sizes[part] for part in "qkv")
    if groups < 1 or heads < 1 or heads % groups or features != same or groups != again:
        raise Refused(Reason.UNSUPPORTED_FORM, f"heads of queries, keys and values are {dict(form.sizes)}")
    return form


def _last(op: Op, index: int, layout: Layout, heads: int) -> int:
    """The features of a head where heads have an axis. Raises `Refused` where that does not have `heads` entries."""
    rank, axis = (4, 1) if layout is Layout.APART else (5, 2)
    if op.in_rank(index) != rank or _size(op, index, axis) != heads:
        raise Refused(Reason.UNSUPPORTED_FORM, f"input {index} does not hold {heads} heads")
    return _size(op, index, rank - 1)


def _merged(op: Op, index: int, heads: int) -> Size:
    if op.in_rank(index) != 3:
        raise Refused(Reason.UNKNOWN_SHAPE, f"input {index} is not known to have three axes")
    width = _size(op, index, 2)
    if heads < 1 or width % heads:
        raise Refused(Reason.UNSUPPORTED_FORM, f"{heads} heads of {width} features together")
    return heads, width // heads


def _size(op: Op, index: int, axis: int) -> int:
    dims = op.in_dims[index]
    size = None if dims is None else dims[axis]
    if not isinstance(size, int):
        raise Refused(Reason.DYNAMIC_AXIS, f"the size of axis {axis} of input {index} is not known")
    return size
