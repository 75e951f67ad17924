"""The results of all that the package does: frozen values that reports read."""

from __future__ import annotations

from upscale_onnx.results.accuracy import Accuracy
from upscale_onnx.results.calibration import Calibration, Prediction
from upscale_onnx.results.claims import Certificate, Claim
from upscale_onnx.results.effect import PruningEffect
from upscale_onnx.results.front import Front
from upscale_onnx.results.inspection import Inspection
from upscale_onnx.results.models import Consumer, ModelStats, Producer, Refusal, Segment
from upscale_onnx.results.origin import Origin
from upscale_onnx.results.picture import Demand, Picture, Reading, Track
from upscale_onnx.results.proofs import LocalProof, OutputError, Unproven, Verification
from upscale_onnx.results.races import Bench, OperatorTotal, Race, TimeProfile, Timing
from upscale_onnx.results.report import Decision, KeptChannels, Report, Result
from upscale_onnx.results.sensitivity import LayerSensitivity, Sensitivity, Together
from upscale_onnx.results.sparsity import Sparsified, Sparsity, TensorSparsity
from upscale_onnx.results.training import Course, Epoch, Finetuned, PrunedInTraining

__all__ = [
    "Accuracy",
    "Bench",
    "Calibration",
    "Certificate",
    "Claim",
    "Consumer",
    "Course",
    "Decision",
    "Demand",
    "Epoch",
    "Finetuned",
    "Front",
    "Inspection",
    "KeptChannels",
    "LayerSensitivity",
    "LocalProof",
    "ModelStats",
    "OperatorTotal",
    "Origin",
    "OutputError",
    "Picture",
    "Prediction",
    "Producer",
    "PrunedInTraining",
    "PruningEffect",
    "Race",
    "Reading",
    "Refusal",
    "Report",
    "Result",
    "Segment",
    "Sensitivity",
    "Sparsified",
    "Sparsity",
    "TensorSparsity",
    "TimeProfile",
    "Timing",
    "Together",
    "Track",
    "Unproven",
    "Verification",
]
