"""Constructions of ReLU networks from outside: asked for by name, cheapest where they are, certified, kept in files."""

import math

import numpy as np
import pytest
import torch
from oracles.relu_checker import recomputed

import hgm
from hgm.errors import BadSpec, Uncertifiable
from hgm.relu.constructions.choose import CONSTRUCTIONS, cheapest, cost
from hgm.relu.constructions.difference import Difference
from hgm.relu.constructions.logmatrix import LogMatrix, checked, weight

TREE = hgm.random_ghm(2, 2, 2, bound=3.0, seed=1)


class Tropical(LogMatrix):
    """The largest of n terms stands for their sum: ``max_a log psi(s, a) + h_a``, from which 0 to log n are missing."""

    kind = "E"

    def __init__(self, log_potential, pieces=()):
        () = pieces
        table = checked(log_potential)
        super().__init__(table, pieces)
        self.units = table.shape[0] * (table.shape[1] - 1)
        self.error = math.log(table.shape[1]) if len(table) > 1 else 0.0
        self.log_psi = weight(np.maximum(table, -1e6)[:, :, None])

    @classmethod
    def build(cls, log_potential, tol):
        return cls(log_potential)

    def forward(self, h):
        first, *others = (self.log_psi + h.unsqueeze(-3)).unbind(-2)
        for x in others:
            first = first + torch.relu(x - first)
        return first

    def rounding_steps(self, magnitude):
        return 8 * self.shape[1] * (magnitude + float(self.log_psi.abs().max()))


class Cheap(Difference):
    """Construction D, which says of itself that it takes next to nothing."""

    kind = "E"

    @classmethod
    def cost(cls, log_potential):
        return super().cost(log_potential) / 10


def enter(monkeypatch, kind):
    monkeypatch.setitem(CONSTRUCTIONS, "E", kind)


def kinds_of(net):
    return {kind for level in net.certificate.levels for kind in level.kinds}


def log_error(net, **options):
    e = 3 * torch.randn(200, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return float((net(e).log() - hgm.compile(TREE, **options)(e).log()).abs().max())


@pytest.mark.parametrize("allocation", ["optimal", "uniform"])
def test_it_is_asked_for_by_name(monkeypatch, allocation):
    enter(monkeypatch, Tropical)
    net = hgm.compile(TREE, activation="relu", construction="E", tol=4.0, allocation=allocation)
    assert kinds_of(net) == {"E"}
    assert 0.1 < log_error(net) <= net.certificate.log_posterior <= 4.0
    assert "E 2" in str(net.certificate)


def test_a_tolerance_that_it_cannot_keep_is_refused(monkeypatch):
    enter(monkeypatch, Tropical)
    with pytest.raises(Uncertifiable, match=r"factor \(.*construction E reaches only 0\.69"):
        hgm.compile(TREE, activation="relu", construction="E", tol=0.01)


def test_it_competes_for_the_fewest_units(monkeypatch):
    table = np.array([[1.1, -0.4], [-2.0, 0.7]])
    before = cost(table)
    assert cheapest(table, 0.02).kind == "D"
    enter(monkeypatch, Cheap)
    assert cost(table) < before / 9
    net = hgm.compile(TREE, activation="relu", tol=0.02)
    assert cheapest(table, 0.02).kind == "E" and kinds_of(net) == {"E"}
    assert log_error(net) <= net.certificate.log_posterior <= 0.02


def test_the_checker_confirms_its_certificate(monkeypatch):
    enter(monkeypatch, Cheap)
    net = hgm.compile(TREE, activation="relu", query="all", tol=0.02)
    monkeypatch.setattr(Cheap, "kind", "D")  # as the checker, which reads weights only, knows them
    assert recomputed(net) == pytest.approx(net.certificate.log_posterior, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("kind", [Tropical, Cheap])
def test_a_file_keeps_it_while_it_is_registered(monkeypatch, tmp_path, kind):
    enter(monkeypatch, kind)
    net = hgm.compile(TREE, activation="relu", construction="E", tol=4.0)
    hgm.save_network(net, tmp_path / "net.safetensors")
    again = hgm.load_network(tmp_path / "net.safetensors")
    assert again.certificate == net.certificate
    e = torch.randn(5, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(again(e), net(e), rtol=0, atol=0)
    monkeypatch.delitem(CONSTRUCTIONS, "E")
    with pytest.raises(BadSpec, match="construction must be 'constant', 'A', 'B', 'C' or 'D'"):
        hgm.load_network(tmp_path / "net.safetensors")
