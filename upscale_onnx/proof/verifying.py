"""The comparison of two models that are given by their paths or as they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import onnx

from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.arrays import read_arrays
from upscale_onnx.model import Model, load_model
from upscale_onnx.model.stream import digest
from upscale_onnx.options import Options
from upscale_onnx.options.calls import Verifying, options_of
from upscale_onnx.options.checking import check_value
from upscale_onnx.options.ranges import POSITIVE, POSITIVE_NUMBER
from upscale_onnx.proof import equivalence
from upscale_onnx.proof.certificate import certificate_of
from upscale_onnx.results import Claim, Verification
from upscale_onnx.runtime.providers import resolve_provider
from upscale_onnx.runtime.user_inputs import load_inputs

if TYPE_CHECKING:
    from typing_extensions import Unpack


def verify(
    original: Model,
    compiled: Model,
    options: Options | None = None,
    *,
    certificate: str | os.PathLike[str] | None = None,
    trials: int | None = None,
    dims: Mapping[str, int] | None = None,
    tolerance: float | None = None,
    **overrides: Unpack[Verifying],
) -> Verification:
    """Compare what two models compute. `equal` of the result is the verdict.

    certificate: the path of the certificate that the compile of `original` to `compiled` wrote; its claims are proven
        again. None cuts the models at values with the same name.
    trials: how many sets of random inputs; None goes by the model's size. dims: sizes of named open dimensions in them.
    tolerance: the largest error, relative to the largest magnitude of an output; None is what rounding explains.
    options, overrides: proofs, inputs, provider and seed.

    Raises:
        ArgumentError: an option cannot be used, or the certificate is about other models.
        ModelError: a model cannot be read, or the original does not run and the local proof is not complete either.
        ProviderError: there is no such device.

    >>> import upscale_onnx
    >>> model = "models/digits_cnet_masked.onnx"
    >>> smaller = upscale_onnx.compile(model, race=False, verify=False).model
    >>> upscale_onnx.verify(model, smaller, proofs=("global",)).equal
    True
    """
    check_value("trials", trials, Annotated[int, POSITIVE] | None)
    check_value("tolerance", tolerance, Annotated[float, POSITIVE_NUMBER] | None)
    wanted = options_of(Verifying, options, overrides)
    provider, proof = resolve_provider(wanted.target.provider), wanted.proof
    first, second = load_model(original), load_model(compiled)
    checks: dict[str, Any] = {"trials": trials, "tolerance": tolerance, "dims": dims}
    if proof.inputs is not None:
        checks["inputs"] = load_inputs(proof.inputs, first)
    return equivalence.compare_models(
        first,
        second,
        None if certificate is None else _claims(certificate, first, second),
        proofs=proof.proofs,
        provider=provider,
        seed=proof.seed,
        **{name: value for name, value in checks.items() if value is not None},
    )


def _claims(path: str | os.PathLike[str], original: onnx.ModelProto, compiled: onnx.ModelProto) -> Mapping[str, Claim]:
    """The claims of the certificate at `path`.

    Raises: ArgumentError if the certificate is about other models.
    """
    certificate = certificate_of(read_arrays(path), os.fspath(path))
    if certificate.original != digest(original):
        raise ArgumentError(
            f"{path}: is about another original; for a pruned model, give the file that --write-masked wrote"
        )
    if certificate.compiled != digest(compiled):
        raise ArgumentError(f"{path}: is about another compiled model; give the model that was written with it")
    return certificate.claims
