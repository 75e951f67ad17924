"""The options in four groups: the export, the target, the pruning before it, and the proof."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from upscale_onnx.options.ranges import FACTOR, FRACTION, LOSS, NATURAL, POSITIVE, SECONDS, SHARE
from upscale_onnx.options.values import DataOption, ProfileOption, settled_data, settled_profile

Export = Literal["auto", "planned", "upscale", "gather", "keep", "restore"]
Prefer = Literal["speed", "size"]
Provider = Literal["auto", "cpu", "cuda"]
Side = Literal["input", "output"]
Method = Literal["unconstrained", "constrained", "hybrid"]
Scope = Literal["local", "global", "isomorphic"]
Schedule = Literal["geometric", "linear"]
Repair = Literal["stats", "lsq", "joint"]
Proof = Literal["local", "global"]

# The metadata of a field whose option has another name: as a keyword, on the command line, and in messages.
OPTION = "option"


@dataclass(frozen=True)
class ExportOptions:
    """Which export is written.

    recipe (option "export"): how layers get the channels that they read; `export.recipes` has the recipes. "auto"
        races all recipes and takes the fastest export.
    prefer: by what "auto" chooses. "size" takes the smallest file and runs no race.
    align: emitted channel counts are rounded up to a multiple of this. None is the block of the target for "keep" and
        "planned", and 1 (no rounding) for the others.
    fail_if_unchanged: whether a compile that would write the model as it was is an error.
    metadata: whether the result says in its metadata what each node was in the input, and how it was made.

    >>> from upscale_onnx import ExportOptions, Options
    >>> Options(export=ExportOptions(recipe="keep", align=8)) == Options.of(export="keep", align=8)
    True
    """

    recipe: Export = field(default="auto", metadata={OPTION: "export"})
    prefer: Prefer = "speed"
    align: Annotated[int, POSITIVE] | None = None
    fail_if_unchanged: bool = False
    metadata: bool = False


@dataclass(frozen=True)
class TargetOptions:
    """The target of a compile, and how models are timed on it.

    name (option "target"): name of the target (cpu, cuda, tensorrt, openvino, generic, …) or path of a file that
        describes one; None is the target that belongs to the provider.
    provider: what onnxruntime runs models on.
    threads: intra-op threads of the sessions that are timed.
    batch: the batch size at which models are timed, if the model leaves its first axis open (None: 1). The result takes
        any batch size.
    race: whether anything is timed: exports in races, and models for the choice of masks and plans.
    tune: for how many seconds to calibrate the target on this model's operators first.
    seed: the seed of the random inputs on which models are timed.

    >>> from upscale_onnx import Options, TargetOptions
    >>> Options(target=TargetOptions(name="cpu", batch=8)) == Options.of(target="cpu", batch=8)
    True
    """

    name: str | None = field(default=None, metadata={OPTION: "target"})
    provider: Provider = "auto"
    threads: Annotated[int, POSITIVE] = 1
    batch: Annotated[int, POSITIVE] | None = None
    race: bool = True
    tune: Annotated[float, SECONDS] = 0.0
    seed: Annotated[int, NATURAL] = 0


@dataclass(frozen=True)
class PruneOptions:
    """What is pruned before the compile, and how it is repaired. Nothing is pruned unless an option says how much.

    amount: fraction of each consumer's (or producer's) channels to prune, 0 <= amount < 1.
    latency: share of the input's latency to prune down to, 0 < latency < 1, instead of `amount`. With calibration data,
        whole branches that values have a way around may be left out.
    params, macs: share of the input's parameters or multiply-accumulates to prune down to, above 0 and below 1,
        instead of `amount`.
    compression: parameters of the input divided by those that stay, above 1, instead of `amount`.
    mask: path of a mask file (.npz or .json: weight name -> bool per channel), instead of `amount`.
    amounts: (pattern, amount) pairs. The first shell-style pattern that matches a layer's node or weight name gives
        the amount of this layer. Other layers have `amount`, or 0 if it is left out.
    profile: the share of its channels that each layer keeps. Layers that must agree have one share. "equal",
        "increasing:SLOPE" (keeps less towards the end) or "decreasing:SLOPE" around the share that `amount` leaves,
        "random", the path of a .json file, or a mapping of names of weights to shares.
    side: whether the channels that layers read ("input") or those that they create ("output") are pruned.
    method: "unconstrained" lets each layer choose for itself which channels it loses. "constrained" has all layers
        that share channels agree. "hybrid" takes, for each group of layers, the one that loses less at equal latency.
    scope: which channels are ranked together: those of one layer ("local"), of all layers ("global"), or of layers
        of the same structure ("isomorphic").
    masks: "flat" prunes the amount in every layer. "filled" does the same, but channels that would be emitted anyway
        keep their weights. "aware" prunes the amount in all layers together, first where it saves the most time for
        the importance that is lost. "auto" is "aware" if speed is preferred and each layer may choose for itself, else
        "filled".
    ignore: shell-style patterns of node or weight names; the layers they match are not pruned.
    min_channels: the fewest channels that a layer keeps, if it has as many.
    mask_align: the numbers of kept channels are rounded up to a multiple of this.
    steps: the number of rounds of pruning. Each scores the channels that are left anew.
    schedule: whether each round prunes the same share of the channels that are left ("geometric") or of all ("linear").
    criterion: the name of a criterion, or a function of (weight, axis, generator) that returns one score per channel
        along `axis`. The channels of the lowest scores are pruned.
    calibration: unlabelled inputs (name -> array, samples along the first axis) or the path of an .npz with them, for
        criteria and repairs that need them. For a model with one input, one array.
    repair: how the weights that survive are changed to make up for those that are pruned, without labels. "stats"
        matches the mean and variance of each output channel. "lsq" re-fits each layer by least squares. "joint" then
        fits all layers together by gradients (it needs PyTorch).
    max_loss: the largest allowed loss by pruning; more is an error. It is the loss of top-1 accuracy (0 to 1) if the
        calibration data has labels, else the distance of the outputs relative to their size. None allows any.
    seed: the seed of random criteria and profiles.

    >>> from upscale_onnx import PruneOptions
    >>> PruneOptions().prunes, PruneOptions(amount=0.3, side="output").prunes
    (False, True)
    """

    amount: Annotated[float, FRACTION] | None = None
    latency: Annotated[float, SHARE] | None = None
    params: Annotated[float, SHARE] | None = None
    macs: Annotated[float, SHARE] | None = None
    compression: Annotated[float, FACTOR] | None = None
    mask: str | None = None
    amounts: tuple[tuple[str, Annotated[float, FRACTION]], ...] = ()
    profile: ProfileOption | None = None
    side: Side = "input"
    method: Method = "unconstrained"
    scope: Scope = "local"
    masks: str = "auto"
    ignore: tuple[str, ...] = ()
    min_channels: Annotated[int, POSITIVE] = 1
    mask_align: Annotated[int, POSITIVE] = 1
    steps: Annotated[int, POSITIVE] = 1
    schedule: Schedule = "geometric"
    criterion: str | Callable[..., Any] = "l2"
    calibration: DataOption | None = None
    repair: Repair | None = None
    max_loss: Annotated[float, LOSS] | None = None
    seed: Annotated[int, NATURAL] = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "profile", settled_profile(self.profile))
        object.__setattr__(self, "calibration", settled_data(self.calibration))

    @property
    def prunes(self) -> bool:
        """Whether any option says what or how much to prune."""
        return self.mask is not None or self.scores_channels

    @property
    def scores_channels(self) -> bool:
        """Whether channels are chosen by their scores, rather than by a mask file."""
        goals = (self.amount, self.latency, self.profile)
        return bool(self.amounts) or self.has_size_goal or any(goal is not None for goal in goals)

    @property
    def has_size_goal(self) -> bool:
        """Whether an option gives a size to prune down to."""
        return any(goal is not None for goal in (self.params, self.macs, self.compression))

    @property
    def is_exact(self) -> bool:
        """Whether exactly the chosen channels are pruned, even those whose removal makes nothing smaller or faster."""
        return self.mask is not None or self.masks == "flat"


@dataclass(frozen=True)
class ProofOptions:
    """How the result is shown equal to the input.

    verify: whether it is shown at all.
    proofs: "local" proves it region by region, for any input of the model. "global" compares the whole models on
        inputs.
    save_reproducer: a folder. If a region differs, it is not compiled, and the models that show it are written there.
    inputs: the user's own inputs (name -> array) or the path of an .npz with them, used beside random ones.
    seed: the seed of random inputs.

    >>> from upscale_onnx import Options, ProofOptions
    >>> Options(proof=ProofOptions(proofs=("local",))) == Options.of(proofs=("local",))
    True
    """

    verify: bool = True
    proofs: tuple[Proof, ...] = ("local", "global")
    save_reproducer: str | None = None
    inputs: DataOption | None = None
    seed: Annotated[int, NATURAL] = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", settled_data(self.inputs))
