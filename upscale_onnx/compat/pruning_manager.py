"""Pruning a model by chained calls: compute what is pruned, inspect it, prune."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import onnx

from upscale_onnx.compat.arrays import named_inputs
from upscale_onnx.compat.closure import with_pruned
from upscale_onnx.compat.source import Model, Source, open_source
from upscale_onnx.compat.torch_export import is_module
from upscale_onnx.errors import ArgumentError
from upscale_onnx.results import Result

Pairs = Iterable[tuple[str, int]]


class PruningManager:
    """Makes a smaller, faster model of a masked one: `PruningManager(model).compute([x]).prune()`.

    model: a path, a ModelProto or a torch module. It is never changed.

    >>> from upscale_onnx.compat import PruningManager
    >>> result = PruningManager("models/digits_cnet_masked.onnx").compute().prune(race=False)
    >>> result.report.after.parameters < result.report.before.parameters
    True
    """

    def __init__(self, model: Model) -> None:
        self._given = model
        self._inputs: Mapping[str, Any] | None = None
        self._masked: onnx.ModelProto | None = None

    def compute(
        self,
        inputs: Sequence[Any] | Mapping[str, Any] | None = None,
        force: bool = False,
        pruned_inputs: Pairs | None = None,
        pruned_outputs: Pairs | None = None,
        constrained: bool = False,
    ) -> PruningManager:
        """Compute which channels are pruned. Return the manager.

        Further calls do nothing until `prune` was called, unless `force` is True.

        inputs: inputs of the model, in order or by name. A torch module is exported with them, and the pruned model is
            compared on them, besides random ones.
        pruned_inputs, pruned_outputs: (weight, channel) pairs to zero in addition to the zeros in the weights: channels
            that the layer reads, or channels that it creates, before any normalisation behind it.
        constrained: whether all layers that share these channels lose them.

        The export chooses the order of channels. So `reorder_producer` and `reorder_consumer` of the reference do not
        exist here. Weights have names, while in the reference they can be numbers of tensors.

        Raises:
            ArgumentError: there is no such weight or channel, or inputs do not fit.
            ModelError: the model cannot be read or exported.
        """
        if self._masked is not None and not force:
            return self
        if is_module(self._given) and inputs is None:
            raise ArgumentError("a torch module is exported with inputs: compute([x])")
        positional = tuple(inputs.values()) if isinstance(inputs, Mapping) else inputs
        source = open_source(self._given, positional)
        known = positional if is_module(self._given) else inputs
        self._inputs = None if known is None else named_inputs(source.model, known)
        reads, creates = _pairs(pruned_inputs, source), _pairs(pruned_outputs, source)
        self._masked = with_pruned(source.model, reads, creates, constrained)
        return self

    def get_mock_model(self) -> onnx.ModelProto:
        """The masked model, which has zeros for pruned channels. The pruned model must equal it.

        Raises: ArgumentError where `compute` was not called.
        """
        if self._masked is None:
            raise ArgumentError("nothing is computed: call compute([x]) first")
        return self._masked

    def prune(self, baseline: bool = False, **options: Any) -> Result:
        """The pruned model, shown to equal `get_mock_model()`, and its report. Call `compute` before each `prune`.

        baseline: whether each layer gathers its channels in their original order, as without UPSCALE.
        options: options of `upscale_onnx.compile`. By default, the exports are raced and the fastest is taken.

        Raises:
            ArgumentError: `compute` was not called, or an option cannot be used.
            ModelError: the model cannot be run.
            NotEquivalentError: the result could not be shown equal.
            ProviderError: there is no such device.
        """
        from upscale_onnx.pipeline import compile

        if baseline and options.setdefault("export", "gather") != "gather":
            raise ArgumentError("the baseline is the export 'gather': leave the export out")
        masked = self.get_mock_model()
        if "inputs" in options:
            raise ArgumentError("the inputs are those of compute([x])")
        result = compile(masked, inputs=self._inputs, **options)
        self._masked = None
        return result


def _pairs(given: Pairs | None, source: Source) -> list[tuple[str, int]]:
    """The pairs, with names of initializers.

    Raises: ArgumentError where an entry is not a pair of a name and a number.
    """
    pairs = []
    for entry in given or ():
        if not isinstance(entry, tuple | list) or len(entry) != 2 or not isinstance(entry[0], str):
            raise ArgumentError(f"{entry!r} is no (weight, channel) pair of a weight's name and a channel's number")
        pairs.append((source.initializer(entry[0]), int(entry[1])))
    return pairs
