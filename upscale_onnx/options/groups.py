"""The options in groups: what export is written, what it is for, what is pruned first, and how it is shown equal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from upscale_onnx.options.ranges import FACTOR, FRACTION, LOSS, NATURAL, POSITIVE, SECONDS, SHARE
from upscale_onnx.options.values import DataOption, ProfileOption, settled_data, settled_profile

Export = Literal["auto", "planned", "upscale", "gather", "keep"]
Prefer = Literal["speed", "size"]
Provider = Literal["auto", "cpu", "cuda"]
Side = Literal["input", "output"]
Method = Literal["unconstrained", "constrained", "hybrid"]
Scope = Literal["local", "global", "isomorphic"]
Schedule = Literal["geometric", "linear"]
Repair = Literal["stats", "lsq", "joint"]
Proof = Literal["local", "global"]

# Where a field has another name than its option: as a keyword, on the command line, and in messages.
OPTION = "option"


@dataclass(frozen=True)
class ExportOptions:
    """Which export is written.

    recipe (option "export"): how layers get the channels that they read: see `export.recipes`. "auto" races all
        recipes and takes the fastest export.
    prefer: what "auto" looks for. "size" takes the smallest file and runs no race.
    align: emitted channel counts are rounded up to a multiple of this. None is the block of the target for "keep" and
        "planned", and 1 (no rounding) for "upscale" and "gather".
    fail_if_unchanged: whether a compile that would write the model as it was is an error.
    """

    recipe: Export = field(default="auto", metadata={OPTION: "export"})
    prefer: Prefer = "speed"
    align: Annotated[int, POSITIVE] | None = None
    fail_if_unchanged: bool = False


@dataclass(frozen=True)
class TargetOptions:
    """What a compile is for, and how it is timed.

    name (option "target"): name of the target (cpu, cuda, tensorrt, openvino, generic, …) or path of a file that
        describes one; None is what the provider is.
    provider: what onnxruntime runs models on.
    threads: intra-op threads of the sessions that are timed.
    batch: the batch size at which models are timed, if the model leaves its first axis open (None: 1). The result takes
        any batch size.
    race: whether anything is timed: exports in races, and the times by which masks and plans are chosen.
    tune: seconds to calibrate the target on this model's operators first.
    seed: of the inputs on which models are timed.
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
    """What is pruned first, and what makes up for it. Nothing is, where nothing says how much.

    amount: fraction of each consumer's (or producer's) channels to prune, 0 <= amount < 1.
    latency: share of the input's latency to prune down to, 0 < latency < 1, instead of `amount`.
    params, macs: share of the input's parameters or multiply-accumulates to prune down to, above 0 and below 1,
        instead of `amount`.
    compression: parameters of the input over those that stay, above 1, instead of `amount`.
    mask: path of a mask file (.npz or .json: weight name -> bool per channel), instead of `amount`.
    amounts: (pattern, amount) pairs; the first shell-style pattern that a layer's node or weight name matches gives
        its amount in place of `amount`, which is 0 where it is left out.
    profile: share of its channels that each layer keeps, or all together that must agree: "equal", "increasing:SLOPE"
        (less towards the end) or "decreasing:SLOPE" around what `amount` leaves, "random", the path of a .json file, or
        a mapping of names of weights to shares.
    side: whether channels are chosen that layers read ("input") or create ("output").
    method: whether each layer chooses for itself what it loses ("unconstrained"), all that share channels agree
        ("constrained"), or whichever of both loses less at the same latency, group by group ("hybrid").
    scope: which channels are ranked together: those of one layer ("local"), of all layers ("global"), or of layers
        of the same structure ("isomorphic").
    masks: "flat" takes the amount of every layer. "filled" does the same, but channels that would be emitted anyway
        keep their weights. "aware" takes the amount of all layers together, first where it saves the most time for the
        importance that is lost. "auto" is "aware" if speed is preferred and each layer may choose for itself, else
        "filled".
    ignore: shell-style patterns of node or weight names; the layers they match are not pruned.
    min_channels: the fewest channels that a layer keeps, where it has as many.
    mask_align: what kept channel counts are rounded up to a multiple of.
    steps: in how many rounds to prune; the channels that are left are scored anew in each.
    schedule: whether every round prunes the same share of what is left ("geometric") or of all ("linear").
    criterion: the name of a criterion, or a function of (weight, axis, generator) that returns one score per channel
        along `axis`. The channels of the lowest scores are pruned.
    calibration: unlabelled inputs (name -> array, samples along the first axis) or the path of an .npz with them, for
        criteria and repairs that need them; one array for a model of one input.
    repair: how the weights that survive make up for those that are pruned, without labels: "stats" matches each
        output channel's mean and variance, "lsq" re-fits each layer by least squares, "joint" then all layers
        together (by gradients: it needs PyTorch).
    max_loss: the largest loss of pruning that is not an error: of top-1 accuracy, a share of 1, where the calibration
        data has labels, else the distance of the outputs relative to their own size; None is any.
    seed: of random criteria and profiles.
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
        """Whether anything says what or how much to prune."""
        return self.mask is not None or self.scores_channels

    @property
    def scores_channels(self) -> bool:
        """Whether channels are chosen by their scores, rather than by a mask file."""
        goals = (self.amount, self.latency, self.profile)
        return bool(self.amounts) or self.has_size_goal or any(goal is not None for goal in goals)

    @property
    def has_size_goal(self) -> bool:
        """Whether a size is given to prune down to."""
        return any(goal is not None for goal in (self.params, self.macs, self.compression))

    @property
    def is_exact(self) -> bool:
        """Whether just those channels are zeroed that are named, whatever comes of it."""
        return self.mask is not None or self.masks == "flat"


@dataclass(frozen=True)
class ProofOptions:
    """How the result is shown equal to the input.

    verify: whether it is.
    proofs: "local" proves it region by region, whatever the model is fed, "global" compares whole models on inputs.
    save_reproducer: folder for what shows that a region differs, where one does: it is left alone then.
    inputs: the user's own inputs (name -> array) or the path of an .npz with them, used beside random ones.
    seed: of random inputs.
    """

    verify: bool = True
    proofs: tuple[Proof, ...] = ("local", "global")
    save_reproducer: str | None = None
    inputs: DataOption | None = None
    seed: Annotated[int, NATURAL] = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", settled_data(self.inputs))
