"""A process beside ours that runs what may crash, hang or eat memory: onnx's and onnxruntime's native code.

Models are untrusted, and native code that is handed one can take its process with it. What is decorated with
`in_worker` is executed in one persistent child; its end is a ModelError here.
"""

from __future__ import annotations

from upscale_onnx.worker.client import start
from upscale_onnx.worker.dispatch import beat, in_process, in_worker, is_isolated, on_runtime_thread

__all__ = ["beat", "in_process", "in_worker", "is_isolated", "on_runtime_thread", "start"]
