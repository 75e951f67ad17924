"""One report with something in every field."""

from __future__ import annotations

import pytest

from upscale_onnx.errors import Reason
from upscale_onnx.results import (
    Consumer,
    ModelStats,
    OutputError,
    Producer,
    Race,
    Refusal,
    Report,
    Segment,
    Timing,
    Verification,
)


@pytest.fixture
def report() -> Report:
    """Two segments, five refusals of two reasons, a verification, and a race."""
    softmax = tuple(Refusal(f"softmax{i}", "Softmax", Reason.WHOLE_AXIS) for i in range(4))
    custom = Refusal("my\nnode", "Foo", Reason.CUSTOM_DOMAIN, "com.example")
    segments = (
        Segment(
            0,
            (Producer("stem", "Conv", "a", 1, 64, 40, 4),),
            ("relu", "add"),
            (Consumer("left", "Conv", "r", 1, 64, 45), Consumer("right", "Conv", "r", 1, 64, 44)),
            ("r",),
            ("add",),
            64,
            40,
            (),
        ),
        Segment(
            1, (Producer("left", "Conv", "l", 1, 1280, 1280, 0),), (), (), (), (), 1280, 1280, (softmax[1], custom)
        ),
    )
    return Report(
        export="upscale",
        before=ModelStats(11_689_512, 1_814_073_344, 49, 0, 46_800_000),
        after=ModelStats(7_000_001, 1_100_000_000, 52, 802_816, 28_080_000),
        segments=segments,
        refusals=(*softmax, custom),
        verification=Verification(
            True,
            1e-5,
            (
                OutputError("logits", 1.1920929e-07, 1 / 3, 1.0, 1.0, 1e-5),
                OutputError("map", 0.0, 0.0, 1.0, None, 1e-6),
            ),
            4,
            ({"x": (1, 3, 224, 224)}, {"x": (2, 3, 224, 224)}),
            "cpu",
            activations=1000,
            asleep=125,
        ),
        race=Race(
            (Timing("input", 14.8, 14.1, 16.0, 1.0), Timing("upscale", 11.0, 10.5, 12.25, 11 / 14.8)),
            "upscale",
            "cpu",
            1,
            12,
        ),
        masked_channels=17,
        seconds={"load": 0.25, "analysis": 0.1},
    )
