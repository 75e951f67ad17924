"""Orders of channels: the consecutive-ones property, and the order that serves demands of the most weight."""

from upscale_onnx.order.consecutive import consecutive_ones
from upscale_onnx.order.ordering import Ordering, best_order
from upscale_onnx.order.paths import greedy_path
from upscale_onnx.order.pq_tree import PQTree

__all__ = [
    "Ordering",
    "PQTree",
    "best_order",
    "consecutive_ones",
    "greedy_path",
]
