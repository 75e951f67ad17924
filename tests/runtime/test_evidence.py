"""What trials say: noise excuses differences, each output's and each channel's own, and not without limit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from upscale_onnx.results import OutputError
from upscale_onnx.runtime.evidence import DrawnTrial, is_plain, verdict
from upscale_onnx.runtime.tolerance import Tolerance

LIMITS = Tolerance(1e-6, 1e-3)


def trial(relative: float, channels: dict[str, list[float]] | None = None, speaks: bool = True) -> DrawnTrial:
    """An error; `channels`: errors and scales along axis 1, over the scale of the whole."""
    slices = {1: (np.array(channels["errors"]), np.array(channels["scales"]))} if channels else {}
    return DrawnTrial(OutputError("y", relative, relative, 1.0, None), slices, speaks)


@pytest.mark.parametrize(
    ("error", "noise", "equal", "silent"),
    [
        (5e-7, 0.0, True, False),
        (5e-6, 0.0, False, False),
        (5e-6, 2e-6, True, False),  # within four times the noise
        (5e-5, 2e-6, False, False),
        (2e-3, 1e-2, False, True),  # beyond what may be called equal, and within the noise
        (math.inf, math.inf, False, True),
        (0.5, 1e-2, False, False),  # beyond the noise, too
    ],
)
def test_noise_excuses_what_it_explains(error: float, noise: float, equal: bool, silent: bool) -> None:
    found = verdict([trial(error)], [[trial(noise)]], LIMITS)
    assert (not found.detail, found.silent) == (equal, silent)


def test_a_noisy_trial_is_set_aside_where_others_speak() -> None:
    noise = [[trial(1e-2), trial(0.0)]]
    assert not verdict([trial(5e-3), trial(5e-7)], noise, LIMITS).detail
    assert verdict([trial(5e-3), trial(5e-6)], noise, LIMITS).detail


def test_noise_of_one_trial_is_little_excuse_in_a_quiet_one() -> None:
    noise = [[trial(2e-4), trial(1e-7)]]
    assert not verdict([trial(5e-4), trial(1e-6)], noise, LIMITS).detail
    assert verdict([trial(5e-4), trial(5e-4)], noise, LIMITS).detail


def test_a_small_channel_is_judged_at_its_own_scale() -> None:
    scales = [1.0, 1e-4]
    slight = trial(5e-7, {"errors": [5e-7, 9e-9], "scales": scales})
    wrong = trial(5e-7, {"errors": [5e-7, 5e-8], "scales": scales})
    assert is_plain([slight], LIMITS)
    assert not is_plain([wrong], LIMITS)
    quiet = [[trial(0.0, {"errors": [0.0, 0.0], "scales": scales})]]
    assert "at index 1 of axis 1" in verdict([wrong], quiet, LIMITS).detail
    noisy = [[trial(1e-7, {"errors": [0.0, 2e-8], "scales": scales})]]
    assert not verdict([wrong], noisy, LIMITS).detail


@pytest.mark.parametrize(
    ("error", "noise", "scale", "equal"),
    [
        (2e-7, 5e-8, 5e-5, True),  # another channel of its size shows that noise
        (3e-7, 5e-6, 5e-5, False),  # beyond what cancellation explains
        (2e-7, 5e-8, 5e-2, False),  # only a channel of another kind shows noise
        (2e-7, 5e-9, 5e-5, False),
    ],
)
def test_a_channel_in_which_large_terms_cancel(error: float, noise: float, scale: float, equal: bool) -> None:
    limits, scales = Tolerance(1e-6, 1e-3, cancelled=2.4e-7), [1.0, scale, 1e-5]
    runs = [[trial(5e-7, {"errors": [1e-7, noise, 0.0], "scales": scales})]]
    found = verdict([trial(5e-7, {"errors": [5e-7, 0.0, error], "scales": scales})], runs, limits)
    assert (not found.detail) == equal


def test_noise_that_raises_the_limit_of_an_output_raises_that_of_its_channels() -> None:
    scales = [1.0, 1e-2]
    found = [trial(5e-6, {"errors": [5e-6, 4e-7], "scales": scales})]
    lucky = [[trial(2e-6, {"errors": [2e-6, 0.0], "scales": scales})]]
    assert not verdict(found, lucky, LIMITS).detail


def test_steps_of_a_quantiser_are_excused_once() -> None:
    limits = Tolerance(1e-6, 0.06, step=0.008)
    still = [[trial(0.0)]]
    assert not verdict([trial(0.007)], still, limits).detail
    assert verdict([trial(0.02)], still, limits).detail
