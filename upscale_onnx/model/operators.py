"""Lists of ONNX operators that have something in common, as far as several parts of the package use them.

A list that is about one runtime, or for one purpose, stands where it is used.
"""

from __future__ import annotations

# The domain names of ONNX's own operators. graphsurgeon has None for the default domain.
STANDARD_DOMAINS = (None, "", "ai.onnx")


def _named(names: str) -> frozenset[str]:
    return frozenset(names.split())


CONVOLUTIONS = _named("Conv ConvTranspose")
MATRIX_PRODUCTS = _named("Gemm MatMul")
CONTRACTIONS = CONVOLUTIONS | MATRIX_PRODUCTS
"""Operators that sum products of a weight and channels."""
RECURRENT = _named("GRU LSTM RNN")
"""Operators that sum products over the steps of a sequence, of its channels and of their own hidden units."""

ACTIVATIONS = _named(
    "Celu Clip Elu Gelu HardSigmoid HardSwish LeakyRelu Mish Relu Selu Shrink Sigmoid Softplus Softsign Swish Tanh "
    "ThresholdedRelu"
)
"""Functions of one operand that follow the layers of a network."""
UNARY = ACTIVATIONS | _named(
    "Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Cast Ceil Cos Cosh Erf Exp Floor Identity IsInf IsNaN Log Neg Not "
    "Reciprocal Round Sign Sin Sinh Sqrt Tan"
)
"""Operators that compute each element of the output from the same element of the input. Further inputs are bounds."""
BROADCASTING = _named(
    "Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min "
    "Mod Mul Or PRelu Pow Sub Sum Where Xor"
)
"""Operators that compute each element of the output from the same element of all operands, which are broadcast."""
ELEMENTWISE = UNARY | BROADCASTING
NEVER_NEGATIVE = _named("Abs Exp HardSigmoid ReduceL1 ReduceL2 ReduceSumSquare Relu Sigmoid Softmax Softplus")
"""Operators that make no negative number, whatever they read."""
FRAGILE = _named("Acos Acosh Asin Atanh Cosh Div Exp Log Mod Pow Reciprocal Sinh Sqrt Tan")
"""Operators whose result is not finite for some finite arguments, such as zeros in padding."""

VIEWS = _named("Flatten Identity Reshape Squeeze Unsqueeze")
"""Operators that change only the shape or the name of a value."""
SELECTIONS = _named("Gather Slice")
COPIES = SELECTIONS | _named("Concat Split")
"""Operators that move elements. Runtimes copy them."""
SIZES = _named("Shape Size")
"""Operators that read the size of a value, and none of its elements."""
DRAWS = _named("RandomNormal RandomNormalLike RandomUniform RandomUniformLike")
"""Operators that draw random numbers. They read at most the size of a value."""
