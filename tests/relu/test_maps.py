"""The maps of a plan: the factor's table seen from each of its variables, whatever the kind of potential."""

import dataclasses

import numpy as np
import pytest
from kinds import Circulant
from oracles.trees import CASES

import hgm
from hgm.compiler.levels import by_levels as plan
from hgm.relu.maps import stage_maps
from hgm.tree.possible import possible_states


def maps_of(tree, planned=None):
    planned = plan(tree) if planned is None else planned
    stages = stage_maps(planned, possible_states(tree))
    return [spec for stage in stages for groups in stage.groups for group in groups for spec in group.maps]


@pytest.mark.parametrize("name", CASES)
def test_a_map_holds_every_entry_of_the_table_at_possible_states(name):
    """Messages that shout for one combination of the senders' states get that column of the factor's table."""
    tree = CASES[name].tree
    planned, possible = plan(tree), possible_states(tree)
    for stage in stage_maps(planned, possible):
        for op, groups in zip(stage.plan.ops, stage.groups, strict=True):
            for group in groups:
                f = int(op.factors[group.factors[0]])
                up = int(tree.up[f])
                scope = np.r_[tree.scope_of(f)[up], np.delete(tree.scope_of(f), up)]
                table = np.moveaxis(tree.potential_of(f).dense_log(), up, 0)
                assert group.potential == tree.potential_id[f] and len(group.maps) == len(scope)
                for receiver, spec in enumerate(group.maps):
                    mine = np.moveaxis(table, receiver, 0)
                    assert spec.rows.tolist() == np.flatnonzero(possible[:, scope[receiver]]).tolist()
                    np.testing.assert_allclose(spec.log_psi, mine[(spec.rows[:, None], *spec.takes)], rtol=1e-15)
                    senders = [np.flatnonzero(possible[:, v]) for i, v in enumerate(scope) if i != receiver]
                    live = np.isfinite(mine[np.ix_(spec.rows, *senders)]).any(0)
                    assert spec.log_psi.shape[1] == live.sum()
                    assert spec.complete == live.all()


def test_a_kind_of_potential_from_outside_gives_the_maps_of_its_table():
    own = Circulant([1.0, 0.4, 0.0])
    tables = [hgm.Tree.from_edges([("r", "a", p), ("r", "b", p)]) for p in (own, hgm.Edge.from_log(own.dense_log()))]
    planned = dataclasses.replace(plan(tables[1]), tree=tables[0])
    for mine, dense in zip(maps_of(tables[0], planned), maps_of(tables[1]), strict=True):
        np.testing.assert_array_equal(mine.log_psi, dense.log_psi)
        assert mine.tau == dense.tau and mine.complete == dense.complete
