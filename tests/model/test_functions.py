"""Functions are measured before anybody writes them out."""

from __future__ import annotations

import time

import onnx
import pytest
from onnx import FunctionProto, NodeProto, helper

from upscale_onnx.errors import ModelError
from upscale_onnx.model.functions import check_functions


def function(name: str, *called: str, domain: str = "own") -> FunctionProto:
    nodes = [NodeProto(op_type=op, domain="own", input=["a"], output=[f"b{i}"]) for i, op in enumerate(called)]
    return FunctionProto(name=name, domain=domain, input=["a"], output=["b0"], node=nodes)


def model_of(functions: list[FunctionProto], *called: str) -> onnx.ModelProto:
    nodes = [NodeProto(op_type=op, domain="own", input=["x"], output=[f"y{i}"]) for i, op in enumerate(called)]
    return helper.make_model(helper.make_graph(nodes, "g", [], []), functions=functions)


def doubling(depth: int) -> list[FunctionProto]:
    return [function("f0", "Relu"), *(function(f"f{i}", f"f{i - 1}", f"f{i - 1}") for i in range(1, depth + 1))]


def test_what_is_written_out_to_a_million_nodes_passes_and_to_more_does_not() -> None:
    check_functions(model_of(doubling(20), "f20"), "it")
    check_functions(model_of(doubling(60), "f0"), "it")  # what nobody calls is not written out
    with pytest.raises(ModelError, match="it: has more than 1048576 nodes"):
        check_functions(model_of(doubling(20), "f20", "f0"), "it")
    with pytest.raises(ModelError, match="has more than"):
        check_functions(model_of(doubling(5000)[::-1], "f5000"), "it")


def test_calls_in_subgraphs_count() -> None:
    inner = helper.make_graph([NodeProto(op_type="f19", domain="own")] * 3, "inner", [], [])
    branch = NodeProto(op_type="If", attribute=[helper.make_attribute("then_branch", inner)])
    model = model_of(doubling(19))
    model.graph.node.append(branch)
    with pytest.raises(ModelError, match="has more than"):
        check_functions(model, "it")


@pytest.mark.parametrize("circle", [["f"], ["g", "f"]])
def test_a_circle_is_found(circle: list[str]) -> None:
    functions = [function("f", circle[0]), function("g", circle[-1])]
    with pytest.raises(ModelError, match="calls itself"):
        check_functions(model_of(functions), "it")


def test_an_operator_of_the_same_name_in_another_domain_is_none() -> None:
    check_functions(model_of([function("Relu", "Relu", domain="other")], "Relu"), "it")


def test_a_chain_of_functions_is_no_recursion_of_ours() -> None:
    start = time.perf_counter()
    chain = [function(f"f{i}", f"f{i + 1}") for i in range(5000)]
    check_functions(model_of(chain, "f0"), "it")
    assert time.perf_counter() - start < 5
