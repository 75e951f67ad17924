"""Every operator of ONNX and of onnxruntime's own domain, and whether channels pass through it.

    python docs/programs/operators.py [--check]

Writes the table of docs/coverage.md anew, from the rules that are registered. With --check, nothing is written, and the
exit code is 1 if the table is not up to date.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from onnx import defs

from upscale_onnx.channels import rules
from upscale_onnx.channels.registry import registered, rule_for
from upscale_onnx.model.bodies import DOMAIN

DOCUMENT = Path(__file__).parents[1] / "coverage.md"
BEGIN, END = "<!-- operators -->\n", "<!-- end of operators -->\n"
_OPEN = "no rule yet"
_REASONS = {
    "control flow: what its bodies read is kept whole": "SequenceMap",
    "random": "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike",
    "sequences: tensors take their place where the elements are known": "ConcatFromSequence SequenceAt "
    "SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SplitToSequence",
    "the value in it takes its place": "Optional OptionalGetElement",
    "sequences and optional values": "OptionalHasElement SequenceLength",
    "text or files": "ImageDecoder RegexFullMatch StringConcat StringNormalizer StringSplit TfIdfVectorizer",
    "reads all elements": "DFT Det NegativeLogLikelihoodLoss NonMaxSuppression NonZero STFT SoftmaxCrossEntropyLoss "
    "Unique",
    "of an opset that onnxruntime does not load": "BitCast CausalConvWithState CumProd LinearAttention SwiGLU",
    "its input has no channels": "AffineGrid OneHot",
    "makes constants or ranges": "BlackmanWindow Constant EyeLike HammingWindow HannWindow MelWeightMatrix Range",
    "sizes: those of channel axes are stated as they were": "Shape",
    "sizes: followed where they are not those of channel axes": "Size",
    "deprecated, no rule": "Scatter Upsample",
}
_REASON_OF = {name: reason for reason, names in _REASONS.items() for name in names.split()}


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether the table is up to date")
    args = parser.parse_args(argv)
    text = DOCUMENT.read_text()
    before, rest = text.split(BEGIN)
    made = before + BEGIN + "\n".join(table()) + "\n" + END + rest.split(END)[1]
    if args.check:
        return int(made != text)
    DOCUMENT.write_text(made)
    return 0


def table() -> list[str]:
    """The lines of the table: operators with a rule, and those without one."""
    assert rules.__all__, "importing the rules registers them"
    ruled = {(domain, name) for domain, name, _, _ in registered() if domain != DOMAIN}
    names = sorted({("", name) for name in standard_operators()} | ruled)
    lines = ["| operator | channels |", "| --- | --- |"]
    return lines + [f"| {domain + ':' if domain else ''}{name} | {how(domain, name)} |" for domain, name in names]


def standard_operators() -> set[str]:
    """The names of all operators in ONNX's default domain, of any version."""
    return {schema.name for schema in defs.get_all_schemas_with_history() if schema.domain == ""}


def how(domain: str, name: str) -> str:
    """What happens to channels at an operator, in a few words."""
    if rule_for(DOMAIN, name, 1) and not domain:
        return (
            "bodies: what they return, and the state that they carry, hold the same channels in every branch and round"
        )
    spans = [(since, rule_for(domain, name, since)) for d, n, since, _ in registered() if (d, n) == (domain, name)]
    if not spans:
        return f"left alone: {_REASON_OF.get(name, _OPEN)}"
    rule = spans[-1][1]
    family = type(rule).__module__.rpartition(".")[2].replace("_", " ")
    first = min(start for start, _ in spans)
    return f"{family}" + (f", from opset {first}" if first > 1 else "")


if __name__ == "__main__":
    sys.exit(main())
