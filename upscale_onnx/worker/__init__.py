"""The worker: a child process for native code of onnx and onnxruntime, which may crash, hang or use up memory.

Models are untrusted, and native code that reads one can end its process. Functions decorated with `in_worker` run in
one persistent worker. If it ends, this process raises a ModelError.
"""

from __future__ import annotations

from upscale_onnx.worker.client import start
from upscale_onnx.worker.dispatch import beat, in_process, in_worker, is_isolated, on_runtime_thread
from upscale_onnx.worker.memory import rare_collections, release_memory

__all__ = [
    "beat",
    "in_process",
    "in_worker",
    "is_isolated",
    "on_runtime_thread",
    "rare_collections",
    "release_memory",
    "start",
]
