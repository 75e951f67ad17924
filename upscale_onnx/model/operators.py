"""The operators of ONNX by what they have in common: the lists that several parts of the package go by.

A list that is about one runtime, or for one purpose, stands where it is used.
"""

from __future__ import annotations

# Of ONNX's own operators; graphsurgeon has None for the first.
STANDARD_DOMAINS = (None, "", "ai.onnx")


def _named(names: str) -> frozenset[str]:
    return frozenset(names.split())


CONVOLUTIONS = _named("Conv ConvTranspose")
MATRIX_PRODUCTS = _named("Gemm MatMul")
CONTRACTIONS = CONVOLUTIONS | MATRIX_PRODUCTS
"""What sums products of a weight and channels."""

ACTIVATIONS = _named(
    "Celu Clip Elu Gelu HardSigmoid HardSwish LeakyRelu Mish Relu Selu Shrink Sigmoid Softplus Softsign Swish Tanh "
    "ThresholdedRelu"
)
"""Functions of one operand that stand behind the layers of a network."""
UNARY = ACTIVATIONS | _named(
    "Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Cast Ceil Cos Cosh Erf Exp Floor Identity IsInf IsNaN Log Neg Not "
    "Reciprocal Round Sign Sin Sinh Sqrt Tan"
)
"""What makes each element of one element, in its place; further inputs are bounds, if any."""
BROADCASTING = _named(
    "Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min "
    "Mod Mul Or PRelu Pow Sub Sum Where Xor"
)
"""What makes each element of those of all operands in its place, which are broadcast."""
ELEMENTWISE = UNARY | BROADCASTING
FRAGILE = _named("Acos Acosh Asin Atanh Cosh Div Exp Log Mod Pow Reciprocal Sinh Sqrt Tan")
"""What leaves the reals for some finite arguments, zero among them or close to what padding may hold."""

VIEWS = _named("Flatten Identity Reshape Squeeze Unsqueeze")
"""What gives the same elements another shape, or another name alone."""
SELECTIONS = _named("Gather Slice")
COPIES = SELECTIONS | _named("Concat Split")
"""What moves elements, and runtimes do by copying them."""
SIZES = _named("Shape Size")
"""What reads how large a value is, and none of its elements."""
