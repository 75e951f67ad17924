"""Values of which a reader puts numbers in place of NaN or infinities."""

from __future__ import annotations

from upscale_onnx.model.operators import CONTRACTIONS, RECURRENT
from upscale_onnx.proof.regions import Network

_REPLACES = frozenset(("IsInf", "IsNaN", "Max", "Min", "Where"))
# These make a number of many channels, so that one that is none leaves no number.
_SUMS = CONTRACTIONS | RECURRENT | {"Einsum", "LayerNormalization", "ReduceMean", "ReduceSum", "Softmax"}


def replaced(network: Network) -> frozenset[str]:
    """The values that such a node reads, or that pass through others on the way to it, none of which sums channels."""
    found = set[str]()
    for node, reads in zip(reversed(network.nodes), reversed(network.reads), strict=True):
        if node.op_type in _REPLACES or (node.op_type not in _SUMS and not found.isdisjoint(node.output)):
            found.update(reads)
    return frozenset(found)
