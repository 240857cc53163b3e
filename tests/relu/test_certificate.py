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
    with pytest.raises(dataclasses.FrozenInstanceError):
        certificate.tol = 1.0
