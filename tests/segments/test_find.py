"""Segments of small networks of well-known shapes."""

from __future__ import annotations

import numpy as np
import onnx

from tests.graphs import bias, indices, parse, weight
from upscale_onnx.channels.analysis import analyse
from upscale_onnx.errors import Reason
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.results import Segment
from upscale_onnx.segments import find_segments


def segments(model: onnx.ModelProto) -> tuple[Segment, ...]:
    return find_segments(analyse(import_graph(model), infer_shapes(model)))


def producers(segment: Segment) -> list[str]:
    return [producer.node for producer in segment.producers]


def consumers(segment: Segment) -> dict[str, tuple[int, int]]:
    return {consumer.node: (consumer.demanded, consumer.channels) for consumer in segment.consumers}


def test_a_chain_has_a_segment_per_value() -> None:
    found = segments(
        parse(
            """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
                a = Conv(x, w1, b1)
                b = Relu(a)
                y = Conv(b, w2)
            }""",
            w1=weight(4, 3, 1, 1, rows=[3]),
            b1=bias(1, 2, 3, 4),
            w2=weight(2, 4, 1, 1, columns=[0]),
        )
    )
    assert [producers(segment) for segment in found] == [["a"], ["y"]]
    first, last = found
    assert (first.index, last.index) == (0, 1)
    producer = first.producers[0]
    assert (producer.op_type, producer.value, producer.axis) == ("Conv", "a", 1)
    assert (producer.channels, producer.live, producer.constant) == (4, 2, 1)
    assert first.carriers == ("b",)
    assert consumers(first) == {"y": (2, 4)}
    assert (first.classes, first.live) == (4, 2)
    assert (first.forks, first.joins) == ((), ())
    # The graph's output is whole: it has no consumer, and everything lives.
    assert (last.consumers, last.classes, last.live) == ((), 2, 2)


def test_residual_blocks_share_one_segment() -> None:
    found = segments(
        parse(
            """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
                stem = Conv(x, w0)
                a = Conv(stem, w1)
                b = Relu(a)
                c = Conv(b, w2)
                sum1 = Add(stem, c)
                d = Conv(sum1, w1)
                e = Conv(d, w2)
                sum2 = Add(sum1, e)
                y = Conv(sum2, w3)
            }""",
            w0=weight(4, 3, 1, 1),
            w1=weight(6, 4, 1, 1, columns=[0]),
            w2=weight(4, 6, 1, 1, columns=[5]),
            w3=weight(2, 4, 1, 1, columns=[0, 1]),
        )
    )
    stream = next(segment for segment in found if "stem" in producers(segment))
    assert producers(stream) == ["stem", "c", "e"]
    assert consumers(stream) == {"a": (3, 4), "d": (3, 4), "y": (2, 4)}
    assert stream.joins == ("sum1", "sum2")
    assert set(stream.forks) == {"stem", "sum1"}
    assert (stream.classes, stream.live) == (4, 3)
    inner = [segment for segment in found if producers(segment) in (["a"], ["d"])]
    assert [consumers(segment) for segment in inner] == [{"c": (5, 6)}, {"e": (5, 6)}]
    assert [segment.carriers for segment in inner] == [("b",), ()]
    assert [segment.live for segment in inner] == [5, 5]


def test_a_dense_block_is_one_segment() -> None:
    found = segments(
        parse(
            """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
                a = Conv(x, w0)
                b = Conv(a, w1)
                ab = Concat<axis=1>(a, b)
                c = Conv(ab, w2)
                abc = Concat<axis=1>(a, b, c)
                y = Conv(abc, w3)
            }""",
            w0=weight(4, 3, 1, 1),
            w1=weight(2, 4, 1, 1, columns=[0]),
            w2=weight(2, 6, 1, 1, columns=[0, 4]),
            w3=weight(2, 8, 1, 1, columns=[0, 1, 5, 6]),
        )
    )
    dense = found[0]
    assert producers(dense) == ["a", "b", "c"]
    assert consumers(dense) == {"b": (3, 4), "c": (4, 6), "y": (4, 8)}
    assert dense.joins == dense.carriers == ("ab", "abc")
    assert set(dense.forks) == {"a", "b"}
    # Channel 0 of a: read by none; channels 4 and 5 of the whole are b's: each is read by one consumer.
    assert [(producer.channels, producer.live) for producer in dense.producers] == [(4, 3), (2, 2), (2, 1)]
    assert (dense.classes, dense.live) == (8, 6)


def test_branches_of_an_inception_block_meet_in_one_segment() -> None:
    found = segments(
        parse(
            """(float[1,3,4,4] x) => (float[1,2] y) {
                stem = Conv(x, w0)
                a = Conv(stem, w1)
                b1 = Conv(stem, w1)
                b2 = Conv(b1, w2)
                p = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(stem)
                c = Conv(p, w1)
                joined = Concat<axis=1>(a, b2, c)
                pooled = GlobalAveragePool(joined)
                flat = Flatten<axis=1>(pooled)
                y = Gemm<transB=1>(flat, w3)
            }""",
            w0=weight(4, 3, 1, 1),
            w1=weight(2, 4, 1, 1, columns=[3]),
            w2=weight(3, 2, 1, 1),
            w3=weight(2, 7, columns=[0, 6]),
        )
    )
    assert [producers(segment) for segment in found] == [["stem"], ["a", "b2", "c"], ["b1"], ["y"]]
    stem, joined, *_ = found
    assert consumers(stem) == {"a": (3, 4), "b1": (3, 4), "c": (3, 4)}
    assert (stem.carriers, stem.forks, stem.joins) == (("p",), ("stem",), ())
    assert consumers(joined) == {"y": (5, 7)}
    assert joined.joins == ("joined",)
    assert joined.carriers == ("joined", "pooled", "flat")
    assert [producer.live for producer in joined.producers] == [1, 3, 1]


def test_a_refusal_belongs_to_the_segment_it_reads() -> None:
    found = segments(
        parse(
            """(float[1,4,4,4] x, int64[1] start) => (float[M,N,P,Q] y) {
                a = Conv(x, w1)
                y = Slice(a, start, end, axis)
            }""",
            w1=weight(4, 4, 1, 1),
            end=indices(4),
            axis=indices(1),
        )
    )
    (segment,) = found
    (refusal,) = segment.refusals
    assert (refusal.node, refusal.op_type, refusal.reason) == ("y", "Slice", Reason.DYNAMIC_PARAMETER)
    assert segment.live == segment.classes == 4


def test_a_graph_without_weights_has_no_segments() -> None:
    assert segments(parse("(float[1,4] x) => (float[1,4] y) { y = Relu(x) }")) == ()


def test_a_producer_whose_first_output_has_no_name_is_in_the_segment_of_the_others() -> None:
    lstm = onnx.helper.make_node("LSTM", ["x", "w", "r"], ["", "y"], name="l", hidden_size=4)
    given, made = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", (5, 2, 3)), ("y", (1, 2, 4)))
    )
    weights = [
        onnx.numpy_helper.from_array(np.ones(shape, np.float32), name)
        for name, shape in (("w", (1, 16, 3)), ("r", (1, 16, 4)))
    ]
    graph = onnx.helper.make_graph([lstm], "g", [given], [made], weights)
    found = segments(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]))
    assert [producers(segment) for segment in found] == [["l"]]
