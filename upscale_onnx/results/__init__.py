"""The results of a compile, a verification and a race: frozen values that reports read."""

from __future__ import annotations

from upscale_onnx.results.claims import Certificate, Claim
from upscale_onnx.results.effect import PruningEffect
from upscale_onnx.results.front import Front
from upscale_onnx.results.models import Consumer, ModelStats, Producer, Refusal, Segment
from upscale_onnx.results.origin import Origin
from upscale_onnx.results.picture import Demand, Picture, Reading, Track
from upscale_onnx.results.proofs import LocalProof, OutputError, Unproven, Verification
from upscale_onnx.results.races import Bench, OperatorTotal, Race, TimeProfile, Timing
from upscale_onnx.results.report import Decision, KeptChannels, Report, Result

__all__ = [
    "Bench",
    "Certificate",
    "Claim",
    "Consumer",
    "Decision",
    "Demand",
    "Front",
    "KeptChannels",
    "LocalProof",
    "ModelStats",
    "OperatorTotal",
    "Origin",
    "OutputError",
    "Picture",
    "Producer",
    "PruningEffect",
    "Race",
    "Reading",
    "Refusal",
    "Report",
    "Result",
    "Segment",
    "TimeProfile",
    "Timing",
    "Track",
    "Unproven",
    "Verification",
]
