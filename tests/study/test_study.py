"""The study of ReLU networks: its counts against networks that are built, its search, and what it writes."""

import json

import pytest
import torch

import hgm
from hgm.cli import main
from hgm.compiler.levels import by_levels as plan
from hgm.relu.maps import stage_maps
from hgm.relu.propagate import Flow
from hgm.study.relu import measure, naive_error, rows_of, sizes_of
from hgm.tree.possible import possible_states

pytestmark = pytest.mark.long

SMALL = hgm.random_ghm(3, 2, 2, bound=10.0, seed=0)


def test_the_naive_bound_doubles_at_every_normalisation():
    """A root with two leaves, every map off by 1: q = 1, h = 2 (1 + 1), u = 4 + 1, r = 1 + 5, b = 2 * 6, twice."""
    tree = hgm.random_ghm(1, 2, 2, seed=0)
    planned = plan(tree)
    flow = Flow.of(planned, stage_maps(planned, possible_states(tree)))
    assert naive_error(flow, torch.ones(len(flow.maps), dtype=torch.float64), 2) == 24


def test_counts_are_those_of_networks_that_are_built():
    sizes = list(sizes_of(SMALL, [0.5, 1e-3]))
    counted, weights = {tol: units for tol, units, _ in sizes}, {tol: mine for tol, _, mine in sizes}
    for tol, units in counted.items():
        assert units["optimal"] <= units["uniform"] * (1 + 1e-9) < units["A, sharp"] < units["A, naive"], tol
    tight = {how: hgm.compile(SMALL, activation="relu", tol=1e-3, allocation=how) for how in ("optimal", "uniform")}
    for how, net in tight.items():
        assert net.certificate.units == pytest.approx(counted[1e-3][how], rel=0.15), how
        assert net.certificate.parameters == pytest.approx(weights[1e-3][how], rel=0.3), how
    paper = hgm.compile(SMALL, activation="relu", tol=0.5, construction="A", allocation="uniform")
    assert paper.certificate.units == pytest.approx(counted[0.5]["A, sharp"], rel=0.3)
    assert paper.certificate.parameters == pytest.approx(weights[0.5]["A, sharp"], rel=0.3)


@pytest.mark.parametrize(("states", "bound"), [(4, 2.0), (8, 10.0)])
def test_parameters_are_those_of_tournaments_and_exponentials(states, bound):
    tree = hgm.random_ghm(1, states, 2, bound=bound, seed=0)
    ((_, units, weights),) = sizes_of(tree, [1e-4])
    net = hgm.compile(tree, activation="relu", tol=1e-4)
    assert {kind for level in net.certificate.levels for kind in level.kinds} == {"C" if states == 4 else "B"}
    assert net.certificate.units == pytest.approx(units["optimal"], rel=0.15)
    assert net.certificate.parameters == pytest.approx(weights["optimal"], rel=0.15)


def test_the_search_stays_below_the_proof_and_climbs():
    start, end = measure(SMALL, 1e-2, steps=1), measure(SMALL, 1e-2, steps=15)
    assert 0 < start["measured"] < end["measured"] <= end["certified"] <= 1e-2
    assert measure(SMALL, 1e-2, steps=1) == start
    assert end["certified"] <= 4 * end["measured"]


def test_large_models_are_counted_only():
    row = next(row for row in rows_of(3, 8, 2, 2.0) if row.tol == 1e-2)
    assert row.certified is None and "built" not in row.units
    assert row.saving == row.units["A, naive"] / row.units["optimal"] > 1e10


def test_the_command_writes_table_plots_and_data(tmp_path, capsys):
    assert main(["study", "relu", "--quick", "-o", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "2/2 " in out and "Of 2 random models at a tolerance of 0.01" in out and "2 of them were built" in out
    assert {p.name for p in tmp_path.iterdir()} == {"study.json", "study.md", "units.svg", "pieces.svg", "cells.jsonl"}
    rows = json.loads((tmp_path / "study.json").read_text())
    assert [(row["arity"], row["tol"]) for row in rows] == [(m, t) for m in (2, 3) for t in (0.1, 0.01, 0.001, 0.0001)]
    built = next(row for row in rows if row["arity"] == 2 and row["tol"] == 0.01)
    assert built["units"]["built"] == hgm.compile(SMALL, activation="relu").certificate.units
    text = (tmp_path / "study.md").read_text()
    assert text.count("\n| 2 ") == text.count("\n| 3 ") == 2 and "certified / measured" in text
    for name in ("units.svg", "pieces.svg"):
        text = (tmp_path / name).read_text()
        assert text.startswith("<?xml") and "nan" not in text
