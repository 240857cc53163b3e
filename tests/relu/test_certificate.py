"""The record of a certificate: as text, and as JSON and back."""

import dataclasses

import pytest
from relu.nets import TREES

import hgm
from hgm.errors import BadSpec


def test_a_certificate_prints_and_survives_json():
    certificate = hgm.compile(TREES["mixed"], activation="relu").certificate
    text = str(certificate)
    for word in ("tolerance 0.01 on log_posterior", "units", "contraction", "floating point", "assuming"):
        assert word in text
    assert hgm.Certificate.from_json(certificate.to_json()) == certificate
    assert sum(level.units for level in certificate.levels) == certificate.units
    assert sum(level.parameters for level in certificate.levels) == certificate.parameters
    with pytest.raises(BadSpec):
        hgm.Certificate.from_json('{"tol": 1}')
    for name in ("x", 1, True, 2.5, ("A", (0, True))):
        again = hgm.Certificate.from_json(dataclasses.replace(certificate, worst=name).to_json())
        assert repr(again.worst) == repr(name)
    for name in (frozenset("a"), float("inf")):
        with pytest.raises(BadSpec, match="the name of a variable cannot be written to a file: is "):
            dataclasses.replace(certificate, worst=name).to_json()
    with pytest.raises(BadSpec, match="got null"):
        hgm.Certificate.from_json(certificate.to_json().replace(f'"worst": "{certificate.worst}"', '"worst": null'))
    with pytest.raises(dataclasses.FrozenInstanceError):
        certificate.tol = 1.0
