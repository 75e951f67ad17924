"""The local proof: every region between values that both models hold is shown equal on dense inputs of its own.

By induction over the graph, the models are equal on all inputs: if the inputs of a region are as claimed, its target
is as claimed, too. Channels of the original that the compiled model does not hold are drawn at random, so a region
that still needs one of them fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from onnx import TypeProto, helper

from upscale_onnx.errors import ModelError
from upscale_onnx.model.protos import element_count, nodes_within
from upscale_onnx.proof.at_random import drawn_at_random
from upscale_onnx.proof.compare import FEW_ENTRIES, fits, has_few_entries, held_of, is_float
from upscale_onnx.proof.corner import IMAGE_RANK, corner_of, corner_size, works_on_a_corner
from upscale_onnx.proof.draws import Draw
from upscale_onnx.proof.inputs import graph_input
from upscale_onnx.proof.outcome import RegionOutcome, Watch
from upscale_onnx.proof.regions import Network, Region, cut_model, cut_regions
from upscale_onnx.proof.replaced import replaced
from upscale_onnx.proof.run import Regions
from upscale_onnx.proof.values import conditions, fed_shapes, floating_values, open_type
from upscale_onnx.results import Claim, LocalProof, Unproven
from upscale_onnx.runtime.groups import groups
from upscale_onnx.runtime.roles import InputRole, input_roles
from upscale_onnx.worker import beat, release_memory

# A target with few entries per channel is drawn several times, at other scales; one with many entries holds all scales
# at once. Its inputs are moved in several ways. A region with an input of few entries, such as a threshold, is drawn at
# least this often, too.
_FEW_DRAWS = 5
_DECIDED_DRAWS = 5
_MOVES = 2
# How often a region whose results were all NaN or infinite is drawn without negative numbers.
_POSITIVE_DRAWS = 3
# The most bytes of values and weights in one session, unless a single region needs more, and the most regions: the time
# in which onnxruntime prepares a session grows faster than the number of its nodes.
_CHUNK_BYTES = 1 << 26
_CHUNK_REGIONS = 256

Values = dict[str, Any]


@dataclass
class Proof:
    """A local proof in progress."""

    original: Network
    compiled: Network
    claims: Mapping[str, Claim]
    feed: Mapping[str, Any]
    seed: int
    watch: Watch | None = None
    refuted: dict[str, Unproven] = field(default_factory=dict)
    unrunnable: dict[str, Unproven] = field(default_factory=dict)
    proven: set[str] = field(default_factory=set)
    awake: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        shapes = fed_shapes(self.original.model, self.feed)
        kinds = floating_values(shapes) | conditions(self.original.model, shapes)
        self.roles = input_roles(self.original.model, frozenset(self.original.inputs), shapes)
        shared = self.original.maker.keys() & self.compiled.maker.keys() & kinds.keys() - self.original.divisors
        cuts = {name for name in shared if name in self.claims and len(self.claims[name].sizes) == kinds[name].rank}
        self.regions = cut_regions(self.original, self.compiled, cuts)
        self.types: dict[str, TypeProto] = {name: open_type(kinds[name]) for name in cuts}
        self.dtypes = {name: np.dtype(helper.tensor_dtype_to_np_dtype(kinds[name].dtype)) for name in cuts}
        self.shapes = {name: np.shape(value) for name, value in self.feed.items()}
        self.shapes |= {name: sizes for name in cuts if (sizes := kinds[name].sizes) is not None}
        self.corner = corner_size(self.original)
        self.replaced = replaced(self.original)
        self.at_random = drawn_at_random(self.original, self.compiled, self.claims)
        self._ready: dict[tuple[bool, tuple[str, ...]], Regions] = {}

    def run(self) -> None:
        """Prove all regions, several in one session, each as soon as the shapes of all its inputs are known."""
        pending = self.regions
        while ready := [region for region in pending if region.sources <= self.shapes.keys()]:
            alike = [replace(region, on_corner=True) for region in ready if self._is_alike(region)]
            done = {region.target for region in alike}
            rest = [region for region in ready if region.target not in done]
            for kind in (alike, rest):
                for chunk in groups(kind, self._bytes, _CHUNK_BYTES, _CHUNK_REGIONS):
                    self.prove(chunk)
            done = {region.target for region in ready}
            pending = [region for region in pending if region.target not in done]
        for region in pending:
            self._give_up(region, "it reads values of unknown shape")

    def join(self, names: Set[str]) -> None:
        """No longer cut the models at `names`."""
        for name in names:
            del self.types[name]
        cuts = set(self.types)
        self.regions = cut_regions(self.original, self.compiled, cuts)
        self.types = {name: self.types[name] for name in cuts}

    def draw_again(self, region: Region, times: int) -> None:
        """Draw values for the inputs of a region `times` more times, and judge the results."""
        for number in range(1, times + 1):
            self._draw([region], Draw(self.seed, number))

    def outcome(self) -> LocalProof:
        """What was proven, and what was not."""
        proven = self.proven & {region.target for region in self.regions}
        return LocalProof(len(self.regions), len(proven), tuple(self.refuted.values()), tuple(self.unrunnable.values()))

    def _is_alike(self, region: Region) -> bool:
        """Whether the region reads images and treats all their places alike, so that a corner is enough."""
        names = (*region.sources, region.target)
        claims = [self.claims[name] for name in names if name in self.types]
        images = len(names) > 1 and all(len(self.shapes.get(name, ())) == IMAGE_RANK for name in names)
        told = [claim.sizes if claim.constants is None else claim.constants.shape for claim in claims]
        images &= all(size == 1 for sizes in told for size in sizes[2:])
        return (
            images
            and works_on_a_corner(self.original, region.original)
            and works_on_a_corner(self.compiled, region.compiled)
        )

    def _shape(self, name: str, on_corner: bool) -> tuple[int, ...]:
        shape = self.shapes.get(name, ())
        return corner_of(shape, self.corner) if on_corner else shape

    def _bytes(self, region: Region) -> int:
        """About how much the values and weights of a region take, in bytes."""
        values = (*region.sources, region.target)
        size = sum(4 * element_count(self._shape(name, region.on_corner)) for name in values)
        return size + self.original.weight_bytes(region.original) + self.compiled.weight_bytes(region.compiled)

    def prove(self, chunk: Sequence[Region]) -> None:
        """Prove regions, in one session of each model if they can be run."""
        beat()
        self._ready.clear()
        release_memory()
        decided = [region for region in chunk if self._is_decided(region)]
        few = [region for region in chunk if self._is_decided(region) or self._is_small(region)]
        many = [region for region in chunk if not self._is_decided(region) and not self._is_small(region)]
        self._draw(many, Draw(self.seed, 0))
        for number in range(_DECIDED_DRAWS):
            self._draw(few if number < _FEW_DRAWS else decided, Draw(self.seed, number), _MOVES)
        for number in range(_DECIDED_DRAWS, _DECIDED_DRAWS + _POSITIVE_DRAWS):
            self._draw(self._asleep(chunk), Draw(self.seed, number, positive=True), _MOVES)
        for region in self._asleep(chunk):
            self._give_up(region, "no values were found for which it is a number")
        self.proven |= {region.target for region in chunk} - self.refuted.keys() - self.unrunnable.keys()

    def _is_small(self, region: Region) -> bool:
        """Whether one draw gives few numbers per channel of the target."""
        return has_few_entries(self.shapes.get(region.target, ()), self.claims.get(region.target))

    def _is_decided(self, region: Region) -> bool:
        """Whether the region reads a value of few entries, such as a threshold, that may decide about the target."""
        return any(element_count(self.shapes[name]) < FEW_ENTRIES for name in region.sources)

    def _asleep(self, chunk: Sequence[Region]) -> list[Region]:
        """The regions whose target held no finite number so far."""
        known = self.awake | self.refuted.keys() | self.unrunnable.keys()
        return [region for region in chunk if region.target not in known]

    def _give_up(self, region: Region, why: str) -> None:
        self.unrunnable[region.target] = Unproven(region.target, why, self._inside(region))

    def _inside(self, region: Region) -> tuple[str, ...]:
        """The values that the original computes in a region, those in bodies included."""
        nodes = nodes_within(self.original.nodes[number] for number in sorted(region.original))
        return tuple(name for node in nodes for name in node.output if name)

    def _draw(self, chunk: Sequence[Region], draw: Draw, moves: int = 1) -> None:
        chunk = [region for region in chunk if region.target not in self.unrunnable]
        if not chunk:
            return
        fed, held = self.drawn(chunk, draw)
        moved = [
            {name: draw.moved(name, value, number) if is_float(value) else value for name, value in fed.items()}
            for number in range(moves)
        ]
        self._run(chunk, draw, [fed, *moved], held)

    def drawn(self, chunk: Sequence[Region], draw: Draw) -> tuple[Values, Values]:
        """Values for the inputs of regions: those of the original, and those of the compiled model."""
        on_corner = chunk[0].on_corner
        fed, held = dict[str, Any](), dict[str, Any]()
        for name in sorted(frozenset[str]().union(*(region.sources for region in chunk))):
            shape = self._shape(name, on_corner)
            if name in self.original.inputs:
                fed[name] = held[name] = graph_input(
                    name, self.feed[name], shape, self.roles.get(name, InputRole()), draw
                )
                continue
            claim, dtype = self.claims[name], self.dtypes[name]
            if not fits(self.shapes[name], claim):  # the region that makes this value fails for it
                claim = Claim((1,) * len(shape))
            fed[name] = draw.value(name, shape, dtype, claim)
            held[name] = held_of(fed[name], claim)
            if claim.held is not None and (claim.held < 0).any():
                held[name] = np.where(claim.held < 0, draw.junk(name, held[name].shape, dtype), held[name])
        return fed, held

    def _run(self, chunk: Sequence[Region], draw: Draw, feeds: Sequence[Values], held: Values) -> None:
        """Run regions of both models. If the original fails, run them alone, then on whole images, then give up."""
        try:
            expected, *moved = self._outputs(self.original, chunk, feeds)
        except ModelError as error:
            if len(chunk) > 1:
                for half in (chunk[: len(chunk) // 2], chunk[len(chunk) // 2 :]):
                    self._run(half, draw, feeds, held)
            elif chunk[0].on_corner:
                self._draw([replace(chunk[0], on_corner=False)], draw, len(feeds) - 1)
            else:
                self._give_up(chunk[0], str(error))
            return
        actual = self._compiled_outputs(chunk, held)
        for number, region in enumerate(chunk):
            shifted = [outputs[number] for outputs in moved]
            self._judge(RegionOutcome(region, draw, expected[number], shifted, actual[number]))

    def _outputs(self, network: Network, chunk: Sequence[Region], feeds: Sequence[Values]) -> list[list[Any]]:
        key = (network is self.original, tuple(region.target for region in chunk))
        if key not in self._ready:
            parts = (region.original if network is self.original else region.compiled for region in chunk)
            self._ready[key] = Regions(cut_model(network, frozenset[int]().union(*parts), key[1], self.types))
        return self._ready[key].outputs(feeds)

    def _compiled_outputs(self, chunk: Sequence[Region], held: Values) -> list[Any]:
        """The targets of the regions in the compiled model; the error in place of a target whose region fails."""
        try:
            return self._outputs(self.compiled, chunk, [held])[0]
        except ModelError as error:
            if len(chunk) == 1:
                return [error]
            return [output for region in chunk for output in self._compiled_outputs([region], held)]

    def _judge(self, outcome: RegionOutcome) -> None:
        target, expected = outcome.region.target, outcome.expected
        is_replaced, at_random = target in self.replaced, target in self.at_random
        if fault := outcome.fault(self.claims.get(target), replaced=is_replaced, at_random=at_random):
            self.refuted.setdefault(target, Unproven(target, fault, self._inside(outcome.region)))
            if self.watch is not None:
                self.watch(outcome)
        if isinstance(expected, np.ndarray) and not outcome.region.on_corner:
            self.shapes[target] = expected.shape
        if not is_float(expected) or not expected.size or np.isfinite(expected).any():
            self.awake.add(target)
