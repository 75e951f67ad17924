"""Values that both models draw at random: two draws differ, so there are no numbers to compare."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import NodeProto

from upscale_onnx.model.operators import DRAWS, STANDARD_DOMAINS
from upscale_onnx.proof.regions import Network
from upscale_onnx.results import Claim


def drawn_at_random(original: Network, compiled: Network, claims: Mapping[str, Claim]) -> frozenset[str]:
    """The values that nodes with the same attributes draw in both models, and that are claimed to be held whole.

    Such nodes read no numbers. So the values are drawn from the same distribution if they have the same shape.
    """
    return frozenset(
        name
        for name, number in original.maker.items()
        if original.nodes[number].op_type in DRAWS
        and name in compiled.maker
        and _draw_alike(original.nodes[number], compiled.nodes[compiled.maker[name]])
        and name in claims
        and claims[name].held is None
        and claims[name].constants is None
    )


def _draw_alike(a: NodeProto, b: NodeProto) -> bool:
    if a.op_type != b.op_type or not {a.domain, b.domain} <= set(STANDARD_DOMAINS):
        return False
    first, second = ({item.name: item for item in node.attribute} for node in (a, b))
    return first == second
