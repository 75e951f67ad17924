"""Prune a network by onnxsim: `python onnxsim_prune.py MODEL.onnx AMOUNT OUT.onnx`.

It needs onnxsim 0.8, so latency.py runs it in the interpreter that it is given by --onnxsim-python. onnxsim removes
output channels of its own choice, by L2 norm, where one layer feeds one other; it does not keep to given masks.
"""

from __future__ import annotations

import sys

import onnx
import onnxsim


def main(model: str, amount: str, out: str) -> None:
    """Load, prune and save."""
    onnx.save(onnxsim.apply_structured_pruning(onnx.load(model), sparsity=float(amount)), out)


if __name__ == "__main__":
    main(*sys.argv[1:])
