"""Typed errors with their exit codes, and the reasons for which a node is left alone."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Iterable


class UpscaleError(Exception):
    """Base class of every error raised on purpose. The message is one line: what is wrong, where, what to do.

    >>> import upscale_onnx
    >>> try:
    ...     upscale_onnx.compile("missing.onnx")
    ... except upscale_onnx.UpscaleError as error:
    ...     print(error, error.exit_code)
    missing.onnx: no such file 2
    """

    exit_code = 1

    def __str__(self) -> str:
        """The message on one line, even if it quotes names of the model with line breaks."""
        return r"\n".join(super().__str__().splitlines())


class ArgumentError(UpscaleError):
    """An option or argument cannot be used.

    >>> import upscale_onnx
    >>> upscale_onnx.compile("models/digits_cnet_masked.onnx", amount=2)
    Traceback (most recent call last):
        ...
    upscale_onnx.errors.ArgumentError: amount is 2: it takes a fraction from 0 up to, not including, 1 or None
    """

    exit_code = 2


class ModelError(UpscaleError):
    """A model cannot be read, is invalid, or cannot be written.

    >>> import onnx, upscale_onnx
    >>> upscale_onnx.inspect(onnx.ModelProto())
    Traceback (most recent call last):
        ...
    upscale_onnx.errors.ModelError: the given model: is not an ONNX model ...
    """

    exit_code = 2


class NotEquivalentError(UpscaleError):
    """The compiled model could not be shown equal to its input.

    >>> import upscale_onnx
    >>> upscale_onnx.NotEquivalentError("the models differ").exit_code
    3
    """

    exit_code = 3


class ProviderError(UpscaleError):
    """The execution provider asked for is not available.

    >>> import upscale_onnx
    >>> upscale_onnx.ProviderError("there is no GPU").exit_code
    4
    """

    exit_code = 4


class LossError(UpscaleError):
    """Pruning costs more accuracy than is allowed, or the cost could not be measured.

    >>> import upscale_onnx
    >>> upscale_onnx.compile("models/digits_cnet_masked.onnx", amount=0.9, max_loss=0.01, race=False)
    Traceback (most recent call last):
        ...
    upscale_onnx.errors.LossError: outputs moved by 1.1 of their size, ...
    """

    exit_code = 5


class UnchangedError(UpscaleError):
    """Nothing became smaller or faster, and the user asked for an error in this case.

    >>> import upscale_onnx
    >>> smaller = upscale_onnx.compile("models/digits_cnet_masked.onnx", race=False, verify=False).model
    >>> upscale_onnx.compile(smaller, race=False, verify=False, fail_if_unchanged=True)
    Traceback (most recent call last):
        ...
    upscale_onnx.errors.UnchangedError: the model would stay as it is, ...
    """

    exit_code = 6


class InternalError(UpscaleError):
    """An invariant of the compiler is broken. This is a bug of upscale_onnx.

    >>> import upscale_onnx
    >>> issubclass(upscale_onnx.InternalError, upscale_onnx.UpscaleError)
    True
    """

    exit_code = 1


class NotSettledError(InternalError):
    """What is repeated until it changes nothing goes on changing."""


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The end of a message about a name that is not in `known`: it suggests the nearest known name, or is empty."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


class Reason(enum.Enum):
    """Why the channels of a node are left alone. Reports count refusals by reason.

    >>> import upscale_onnx
    >>> upscale_onnx.Reason.UNKNOWN_OPERATOR.value
    'unknown operator'
    """

    UNKNOWN_OPERATOR = "unknown operator"
    CUSTOM_DOMAIN = "operator of another domain"
    CONTROL_FLOW = "control flow or captured by a subgraph"
    UNKNOWN_SHAPE = "shape not known"
    DYNAMIC_AXIS = "channel axis of dynamic size"
    DYNAMIC_PARAMETER = "parameter computed at run time"
    UNSUPPORTED_FORM = "form of the operator without a rule"
    WHOLE_AXIS = "reads the whole channel axis"
    MIXED_LAYOUT = "operands whose channels do not line up"
    NOT_SHOWN_EQUAL = "a smaller form was not shown equal"
    TOO_LARGE = "more channels than are worth tracking"
