"""Certificates in files: the claims of a compile, with checksums of its two models."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.arrays import archive_bytes
from upscale_onnx.model.stream import digest
from upscale_onnx.results import Certificate, Claim, Result
from upscale_onnx.types import Array

_VERSION = 1
_JSON = "certificate"
# No value has that many channels. A file that says so is damaged.
_MOST_CHANNELS = 1 << 24


def certify(result: Result) -> Certificate:
    """The certificate of a compile, with checksums of the compiled model and of the masked model that it equals."""
    return Certificate(result.claims, digest(result.masked), digest(result.model))


def certificate_bytes(certificate: Certificate) -> bytes:
    """The certificate as the bytes of an .npz file: one array of JSON text, and the arrays of all claims."""
    return archive_bytes(_arrays(certificate))


def _arrays(certificate: Certificate) -> dict[str, Array]:
    values: dict[str, Any] = {}
    arrays: dict[str, Array] = {}
    for number, (name, claim) in enumerate(certificate.claims.items()):
        values[name] = {"sizes": list(claim.sizes)}
        for field, array in (("held", claim.held), ("constants", claim.constants)):
            if array is not None:
                values[name][field] = key = f"{field}_{number}"
                arrays[key] = array
    content = {
        "version": _VERSION, "original": certificate.original, "compiled": certificate.compiled, "values": values,
    }  # fmt: skip
    text = json.dumps(content, indent=1).encode()
    return {_JSON: np.frombuffer(text, np.uint8), **arrays}


def certificate_of(arrays: Mapping[str, Array], where: str | os.PathLike[str]) -> Certificate:
    """The certificate in `arrays`. The message of an error starts with `where`.

    Raises:
        ArgumentError: there is no certificate, or it is damaged.
    """
    try:
        content = json.loads(bytes(np.asarray(arrays[_JSON], np.uint8)))
        if content["version"] != _VERSION:
            raise ArgumentError(f"{where}: the certificate is of version {content['version']}, not {_VERSION}")
        claims = {str(name): _claim(value, arrays) for name, value in content["values"].items()}
        return Certificate(claims, str(content["original"]), str(content["compiled"]))
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ArgumentError(f"{where}: is no certificate, or a damaged one; compile again for a new one") from error


def _claim(value: Mapping[str, Any], arrays: Mapping[str, Array]) -> Claim:
    sizes = tuple(int(size) for size in value["sizes"])
    held = np.asarray(arrays[value["held"]], np.int64) if "held" in value else None
    constants = np.asarray(arrays[value["constants"]], np.float64) if "constants" in value else None
    count = float(np.prod(np.asarray(sizes, np.float64)))
    if any(size < 0 for size in sizes) or count > _MOST_CHANNELS or len(sizes) > 32:
        raise ValueError("sizes")
    if held is not None and (held.ndim != len(sizes) or (held.size and not -1 <= held.min() <= held.max() < count)):
        raise ValueError("held")
    if constants is not None and not _fits(constants.shape, sizes):
        raise ValueError("constants")
    return Claim(sizes, held, constants)


def _fits(shape: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
    """Whether constants of this shape are constants of all channels, or of all channels at all places."""
    pairs = zip(shape, sizes, strict=True) if len(shape) == len(sizes) else ((0, 2),)
    return all(entries in (1, size) or size == 1 for entries, size in pairs)
