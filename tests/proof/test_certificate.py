"""Certificates: written the same each time, read back as they were, and refused in one line where they are damaged."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from tests.graphs import parse
from upscale_onnx.errors import ArgumentError
from upscale_onnx.model.stream import digest
from upscale_onnx.proof.certificate import certificate_bytes, certificate_of
from upscale_onnx.results import Certificate, Claim

CLAIMS = {
    "whole": Claim((1, 4, 1, 1)),
    "narrowed": Claim(
        (1, 4, 1),
        np.asarray([3, -1, 0]).reshape(1, 3, 1),
        np.asarray([np.nan, 2, np.nan, 0.5]).reshape(1, 4, 1),
    ),
    "other constants at other places": Claim((1, 2, 1), None, np.arange(6.0).reshape(1, 2, 3)),
}
CERTIFICATE = Certificate(CLAIMS, "a", "b")


def arrays(certificate: Certificate) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(certificate_bytes(certificate)), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def test_a_certificate_is_read_back_as_it_was() -> None:
    found = certificate_of(arrays(CERTIFICATE), "c.npz")
    assert (found.original, found.compiled, found.claims.keys()) == ("a", "b", CLAIMS.keys())
    for name, claim in CLAIMS.items():
        assert found.claims[name].sizes == claim.sizes
        np.testing.assert_array_equal(found.claims[name].held, claim.held)
        np.testing.assert_array_equal(found.claims[name].constants, claim.constants)


def test_the_same_certificate_is_the_same_bytes() -> None:
    assert certificate_bytes(CERTIFICATE) == certificate_bytes(CERTIFICATE)


def altered(**changes: object) -> dict[str, np.ndarray]:
    found = arrays(CERTIFICATE)
    content = json.loads(bytes(found["certificate"]))
    content.update(changes)
    return {**found, "certificate": np.frombuffer(json.dumps(content).encode(), np.uint8)}


DAMAGED = {
    "no text": {"x": np.zeros(1)},
    "no JSON": {"certificate": np.frombuffer(b"{", np.uint8)},
    "another version": altered(version=2),
    "no object": {"certificate": np.frombuffer(b"[1]", np.uint8)},
    "a list of channels that is missing": altered(values={"v": {"sizes": [4], "held": "held_7"}}),
    "a channel that there is not": altered(values={"v": {"sizes": [1, 2, 1], "held": "held_1"}}),
    "a list of another rank": altered(values={"v": {"sizes": [4], "held": "held_1"}}),
    "constants of another shape": altered(values={"v": {"sizes": [1, 5, 1], "constants": "constants_1"}}),
    "sizes beyond all bounds": altered(values={"v": {"sizes": [1 << 62, 1 << 62]}}),
    "negative sizes": altered(values={"v": {"sizes": [-1]}}),
    "values that are no object": altered(values=[1]),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_is_no_certificate_is_refused(kind: str) -> None:
    with pytest.raises(ArgumentError, match=r"^c\.npz: "):
        certificate_of(DAMAGED[kind], "c.npz")


def test_digests_tell_models_apart() -> None:
    first = parse("(float[1] x) => (float[1] y) { y = Neg(x) }")
    second = parse("(float[1] x) => (float[1] y) { y = Abs(x) }")
    assert digest(first) == digest(first) != digest(second)
