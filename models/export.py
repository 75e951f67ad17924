"""Write one of the networks as ONNX: `python -m models.export NAME out.onnx [--opset N] [--dynamic-batch]`."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from onnxscript import optimizer
from torch import nn

from models.networks import NETWORKS

OLDEST_OPSET = 18


def export(
    network: nn.Module,
    input_shape: tuple[int, ...],
    *,
    opset: int = OLDEST_OPSET,
    dynamic_batch: bool = False,
    fold_norms: bool = False,
) -> onnx.ModelProto:
    """The network in evaluation mode as ONNX: input "image" (N, *input_shape), output "scores".

    dynamic_batch: whether N is the dynamic dimension "batch" instead of 1.
    fold_norms: whether a BatchNorm behind a convolution is folded into it.

    Raises: ValueError when torch cannot write that opset.
    """
    if opset < OLDEST_OPSET:
        raise ValueError(f"opset {opset}: torch exports opset {OLDEST_OPSET} and newer; ask for one of these")
    # torch specialises a dimension of size 1, so a dynamic batch is traced with two images.
    image = torch.zeros(2 if dynamic_batch else 1, *input_shape)
    shapes = ({0: torch.export.Dim("batch")},) if dynamic_batch else None
    # The exporter prints progress and warns of its own deprecations; neither says anything about the network.
    chatter = logging.getLogger("torch.onnx")
    level = chatter.level
    chatter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network.eval(), (image,), dynamo=True, optimize=fold_norms, opset_version=opset,
                input_names=["image"], output_names=["scores"], dynamic_shapes=shapes, verbose=False,
            )  # fmt: skip
            assert program is not None  # torch's promise when dynamo=True
            optimizer.fold_constants(program.model)
            optimizer.remove_unused_nodes(program.model)
    finally:
        chatter.setLevel(level)
    model = program.model_proto
    strip(model)
    return model


def strip(model: onnx.ModelProto) -> None:
    """Remove what the exporter tells of the machine it ran on, such as stack traces with local paths."""
    del model.metadata_props[:], model.graph.metadata_props[:]
    for entry in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del entry.metadata_props[:]


def build(name: str, seed: int = 0) -> nn.Module:
    """The network of that name with weights, and BatchNorm statistics, drawn from the seed."""
    return drawn(NETWORKS[name].build, seed)


def drawn(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """The network that `make` returns, with weights, and BatchNorm statistics, drawn from the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = make()
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):  # fresh statistics (0 and 1) would make the norm an identity
                for tensor, low, high in [
                    (layer.running_mean, -0.2, 0.2), (layer.running_var, 0.5, 1.5),
                    (layer.weight.data, 0.5, 1.5), (layer.bias.data, -0.2, 0.2),
                ]:  # fmt: skip
                    assert tensor is not None
                    tensor.uniform_(low, high)
    return network.eval()


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and write the file."""
    parser = argparse.ArgumentParser(prog="python -m models.export", description=__doc__)
    parser.add_argument("name", choices=sorted(NETWORKS))
    parser.add_argument("output", type=Path)
    parser.add_argument("--opset", type=int, default=OLDEST_OPSET)
    parser.add_argument("--dynamic-batch", action="store_true")
    parser.add_argument("--fold-norms", action="store_true", help="fold each BatchNorm into the convolution before it")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random weights")
    args = parser.parse_args(arguments)
    if args.opset < OLDEST_OPSET:
        parser.error(f"--opset {args.opset}: torch exports opset {OLDEST_OPSET} and newer")
    network = build(args.name, args.seed)
    model = export(
        network,
        NETWORKS[args.name].input_shape,
        opset=args.opset,
        dynamic_batch=args.dynamic_batch,
        fold_norms=args.fold_norms,
    )
    onnx.save(model, args.output)


if __name__ == "__main__":
    main()
