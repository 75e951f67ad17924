"""The moves that pruning can make next: whole blocks of channels, with what they cost and save."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from upscale_onnx.masks.aware.network import NEARLY_NOTHING
from upscale_onnx.masks.aware.state import Move, PruningState
from upscale_onnx.types import FloatArray, IntArray

_LEAST_MS = 1e-7


@dataclass(frozen=True, eq=False)
class _Ties:
    """Layers that a bundle touches, and how: per layer and atom of the bundle, channels read and created."""

    atoms: IntArray
    readers: tuple[int, ...]
    where: tuple[IntArray, ...]  # per reader, index of its own atom for each atom of the bundle, -1 for none
    creators: tuple[int, ...]
    created: IntArray  # (creators, atoms)


class Moves:
    """Finds the best next move of every bundle and of every layer alone.

    least: per layer, the fewest channels it keeps. align: channels per block.
    """

    def __init__(self, pruning: PruningState, least: IntArray, align: int) -> None:
        self._pruning, self._least, self._align = pruning, least, align
        self._ties = [self._tie(atoms) for atoms in pruning.network.bundles]

    @property
    def bundles(self) -> int:
        """How many bundles there are."""
        return len(self._ties)

    def layers_of(self, bundle: int) -> frozenset[int]:
        """Layers whose state the moves of a bundle depend on."""
        ties = self._ties[bundle]
        return frozenset(ties.readers) | frozenset(ties.creators)

    def _tie(self, atoms: IntArray) -> _Ties:
        readers, where, creators, created = [], [], [], []
        for number, layer in enumerate(self._pruning.network.layers):
            slot = np.searchsorted(layer.atoms, atoms)
            found = np.zeros(atoms.size, bool)
            inside = slot < layer.atoms.size
            found[inside] = layer.atoms[slot[inside]] == atoms[inside]
            if found.any():
                readers.append(number)
                where.append(np.where(found, slot, -1))
            if np.isin(atoms, layer.created).any():
                creators.append(number)
                order = np.bincount(
                    np.searchsorted(atoms, layer.created[np.isin(layer.created, atoms)]), minlength=atoms.size
                )
                created.append(order)
        return _Ties(
            atoms,
            tuple(readers),
            tuple(where),
            tuple(creators),
            np.asarray(created, np.int64).reshape(len(creators), atoms.size),
        )

    def shared(self, bundle: int) -> Move | None:
        """The best way to drop more of a bundle everywhere, None where nothing is saved."""
        ties, state = self._ties[bundle], self._pruning
        there = np.flatnonzero(state.alive[ties.atoms])
        if there.size == 0 or not ties.creators:
            return None
        energy, sizes, scores = self._of_readers(ties, there)
        ranked = np.argsort(scores, kind="stable")
        made = ties.created[:, there][:, ranked].cumsum(1)
        read = sizes[:, ranked].cumsum(1)
        lost = energy[:, ranked].cumsum(1)
        best: Move | None = None
        for count in self._counts(ties, made, read):
            move = self._evaluate(
                ties, there[ranked[:count]], made[:, count - 1], read[:, count - 1], lost[:, count - 1]
            )
            if move is not None and (best is None or move.price < best.price):
                best = move
        return best

    def _of_readers(self, ties: _Ties, there: IntArray) -> tuple[FloatArray, IntArray, FloatArray]:
        """Per reader and atom still there: its importance, the channels that the reader is handed of it; per
        atom the importance lost to all readers together."""
        state = self._pruning
        energy = np.zeros((len(ties.readers), there.size))
        sizes = np.zeros((len(ties.readers), there.size), np.int64)
        scores = np.zeros(there.size)
        for row, (number, where) in enumerate(zip(ties.readers, ties.where, strict=True)):
            layer, slot = state.network.layers[number], where[there]
            inside = slot >= 0
            open_ = inside.copy()
            open_[inside] = ~state.dropped[number][slot[inside]]
            energy[row, open_] = layer.energy[slot[open_]]
            handed = open_ if state.selects[number] else inside
            sizes[row, handed] = layer.sizes[slot[handed]]
            kept = state.kept_energy[number]
            scores += layer.losses(kept - energy[row]) - layer.loss(kept)
        return energy, sizes, scores

    def _counts(self, ties: _Ties, made: IntArray, read: IntArray) -> list[int]:
        """How many atoms to drop: so many that some layer's count falls to whole blocks."""
        state, counts = self._pruning, set()
        pairs = [(state.outputs[n], made[row]) for row, n in enumerate(ties.creators)]
        pairs += [(state.inputs[n], read[row]) for row, n in enumerate(ties.readers)]
        for total, gone in pairs:
            for surplus in {(total - 1) % self._align + 1, self._align}:
                count = int(np.searchsorted(gone, surplus)) + 1
                if count <= gone.size:
                    counts.add(count)
        return sorted(counts)

    def _evaluate(self, ties: _Ties, chosen: IntArray, made: IntArray, read: IntArray, lost: FloatArray) -> Move | None:
        state = self._pruning
        inputs, outputs = {}, {}
        importance = 0.0
        for row, number in enumerate(ties.readers):
            inputs[number] = state.inputs[number] - int(read[row])
            if inputs[number] < self._least[number] and read[row]:
                return None
            if lost[row] > 0:
                left = state.kept_energy[number] - lost[row]
                if left <= NEARLY_NOTHING:
                    return None
                layer = state.network.layers[number]
                importance += layer.loss(left) - layer.loss(state.kept_energy[number])
        for row, number in enumerate(ties.creators):
            outputs[number] = state.outputs[number] - int(made[row])
            if outputs[number] < 1:
                return None
        saved = 0.0
        for number in sorted(inputs.keys() | outputs.keys()):
            now = state.inputs[number], state.outputs[number]
            then = inputs.get(number, now[0]), outputs.get(number, now[1])
            saved += state.time_ms(number, *now) - state.time_ms(number, *then)
            if state.selects[number] and now[0] != then[0]:
                saved += state.selection_ms(number, now[0]) - state.selection_ms(number, then[0])
        return Move(ties.atoms[chosen], None, importance, saved) if saved > _LEAST_MS else None

    def own(self, number: int) -> Move | None:
        """The best way for one layer to drop more for itself, None where a selection costs more than it saves."""
        state, layer = self._pruning, self._pruning.network.layers[number]
        if layer.weight is None:
            return None
        open_ = np.flatnonzero(~state.dropped[number] & np.isfinite(layer.energy))
        kept = int(layer.sizes[~state.dropped[number]].sum())
        ranked = open_[np.argsort(layer.energy[open_], kind="stable")]
        gone, lost = layer.sizes[ranked].cumsum(), layer.energy[ranked].cumsum()
        now = state.time_ms(number, state.inputs[number], state.outputs[number])
        if state.selects[number]:
            now += state.selection_ms(number, state.inputs[number])
        best: Move | None = None
        target = (kept - 1) // self._align * self._align
        while target >= max(self._least[number], 1):
            count = int(np.searchsorted(gone, kept - target)) + 1
            if count > gone.size or state.kept_energy[number] - lost[count - 1] <= NEARLY_NOTHING:
                break
            inputs = kept - int(gone[count - 1])
            saved = now - state.time_ms(number, inputs, state.outputs[number]) - state.selection_ms(number, inputs)
            importance = layer.loss(state.kept_energy[number] - lost[count - 1]) - layer.loss(state.kept_energy[number])
            if saved > _LEAST_MS and (best is None or importance / saved < best.price):
                best = Move(layer.atoms[ranked[:count]], number, importance, saved)
            target -= self._align
        return best
