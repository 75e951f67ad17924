"""Each layer as much as it tolerates, in rounds of pruning and retraining."""

from __future__ import annotations

from collections.abc import Mapping

from upscale_onnx.training.schedules.schedule import Cut, Schedule, Setting

_ROUNDS = 3
_MOST = 0.95  # of a layer


def cuts(setting: Setting) -> Mapping[int, Cut]:
    """Cuts of all layers, each of which loses in proportion to the amount that it tolerates by itself.

    Source: Han et al., "Learning both Weights and Connections for Efficient Neural Networks", NIPS 2015: iterative
    pruning (section 3.4), sensitivity of layers (section 4.3), dropout ratios (section 3.2, equation 8). Here of
    channels.
    """
    rounds = min(setting.rounds or _ROUNDS, setting.steps)
    between = setting.updates or setting.steps // rounds
    tolerated = setting.tolerated()
    return {
        (round_ - 1) * between: Cut(amounts=shared_out(setting.amount * round_ / rounds, setting.layers, tolerated))
        for round_ in range(1, rounds + 1)
    }


def shared_out(
    amount: float, layers: Mapping[str, int], tolerated: Mapping[str, float]
) -> tuple[tuple[str, float], ...]:
    """The amount of each layer, in proportion to what it tolerates, so that `amount` of all channels go. If none
    tolerates anything, all lose the same share."""
    wanted = amount * sum(layers.values())
    shares = {weight: tolerated.get(weight, 0.0) for weight in layers}
    if not any(shares.values()):
        return tuple((weight, amount) for weight in layers)
    least = min(share for share in shares.values() if share) / 4
    shares = {weight: max(share, least) for weight, share in shares.items()}
    low, high = 0.0, 1 / least
    for _ in range(60):
        factor = (low + high) / 2
        gone = sum(count * min(factor * shares[weight], _MOST) for weight, count in layers.items())
        low, high = (factor, high) if gone < wanted else (low, factor)
    return tuple((weight, min(high * shares[weight], _MOST)) for weight in layers)


SCHEDULE = Schedule("han", cuts, scales_dropout=True)
