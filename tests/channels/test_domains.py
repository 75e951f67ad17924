"""Operators of other domains: rules speak for those that they are registered for."""

from __future__ import annotations

import pytest
from onnx import helper

from tests.plan.models import Net
from upscale_onnx.channels import registry
from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.channels.rules.elementwise import Elementwise
from upscale_onnx.errors import Reason
from upscale_onnx.model import import_graph, infer_shapes


def analysed() -> Analysis:
    net = Net()
    made = net.conv("x", "made", net.matrix(8, 3, 1, 1))
    net.conv(net.op("Relu", made, "twice"), "y", net.matrix(4, 8, 1, 1, reads=range(3)))
    model = net.model(["y"], x=(1, 3, 5, 5))
    model.graph.node[1].op_type, model.graph.node[1].domain = "Twice", "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return analyse(import_graph(model), infer_shapes(model))


def test_an_operator_of_another_domain_is_a_barrier() -> None:
    found = analysed()
    assert [(refusal.op_type, refusal.reason) for refusal in found.refusals] == [("Twice", Reason.CUSTOM_DOMAIN)]
    assert found.live[found.maps["made"].labels].all()


def test_a_rule_for_another_domain_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))
    registry.register(Elementwise(1), "Twice", domain="com.example")
    found = analysed()
    assert found.refusals == ()
    assert found.live[found.maps["made"].labels.ravel()].tolist() == [True] * 3 + [False] * 5
