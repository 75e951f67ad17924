"""Which layers of a model lose channels together, and how their channels are scored."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx

from upscale_onnx.masks.pools import Groups, Pool, pools
from upscale_onnx.options import Options
from upscale_onnx.pruning.scoring import scores_of
from upscale_onnx.runtime.inputs import Inputs


@dataclass(frozen=True, eq=False)
class Pooling:
    """Which layers lose channels together, and which lose none."""

    groups: Groups
    ignored: Collection[str]

    def pools_of(
        self, model: onnx.ModelProto, options: Options, batches: Sequence[Inputs]
    ) -> dict[frozenset[str], Pool]:
        """Pools by the weights in them, with scores as `options` ask for them."""
        found = pools(scores_of(model, options, batches), self.groups, self.ignored)
        return {frozenset(pool.members): pool for pool in found}
