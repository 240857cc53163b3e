"""Which states can be: against enumeration, and against the reference with all positive entries set to one."""

import numpy as np
import pytest
from hypothesis import given, settings
from oracles.promises import joint
from oracles.trees import CASES, random_cases

import hgm
from hgm.tree.pool import Pool
from hgm.tree.possible import possible_states


def enumerated(model, tree):
    """``(S, V)`` from the joint: a state is possible if some joint state with it is."""
    want = np.zeros((int(tree.cardinality.max()), len(tree)), dtype=bool)
    for v, name in enumerate(tree.names):
        axis = model.names.index(name)
        want[: tree.cardinality[v], v] = (model.log > -np.inf).any(axis=tuple(i for i in range(len(tree)) if i != axis))
    return want


def as_rules(tree):
    """The tree with all its joint tables as rules."""
    pool = Pool()
    sparse = {
        id(p): hgm.Rules(p.shape, p.support(), np.exp(p.log_potential[tuple(p.support().T)]))
        for p in tree.potentials
        if p.axes > 1
    }
    ids = [pool.number(sparse.get(id(tree.potential_of(f)), tree.potential_of(f))) for f in range(tree.factors)]
    return hgm.Tree.build(
        tree.names, tree.cardinality, tree.scope_ptr, tree.scope, np.array(ids), pool.potentials, roots=tree.roots
    )


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_canonical_trees_as_by_enumeration(case):
    assert np.array_equal(possible_states(case.tree), enumerated(case.joint, case.tree))


@settings(max_examples=60)
@given(random_cases())
def test_random_cases_as_by_enumeration(case):
    assert np.array_equal(possible_states(case.tree), enumerated(case.joint, case.tree))


@pytest.mark.long
def test_random_trees_with_many_zeros_as_by_enumeration():
    limited = 0
    for seed in range(200):
        tree = hgm.random_tree(7, cardinality=(1, 4), joint=0.4, zeros=0.5, seed=seed)
        tree = tree.reroot(tree.names[seed % 7])
        want = enumerated(joint(tree), tree)
        assert np.array_equal(possible_states(tree), want), f"seed {seed}"
        assert np.array_equal(possible_states(as_rules(tree)), want), f"seed {seed}, as rules"
        limited += int(want.sum()) < int(tree.cardinality.sum())
    assert limited > 150, "most of these trees have impossible states"


@pytest.mark.parametrize("seed", range(20))
def test_tied_factors_in_any_order_as_by_enumeration(seed):
    rng = np.random.default_rng(seed)

    def table(*shape):
        return (rng.random(shape) < 0.4) | (np.indices(shape) == 0).all(0)

    shared, order = hgm.Table(table(2, 3, 3)), {"r": 2, "a0": 2, "a1": 2}
    factors = [(("r", f"a{i}"), table(2, 2)) for i in range(2)]
    for i, k in rng.permutation([(0, 0), (0, 1), (1, 0), (1, 1)]).tolist():
        factors += [((f"a{i}", f"b{i}{k}", f"c{i}{k}"), shared), ((f"b{i}{k}",), rng.permutation([1, 1, 0]))]
        order |= {f"b{i}{k}": 3}
    tree = hgm.Tree.from_factors([factors[i] for i in rng.permutation(len(factors))], order)
    want = enumerated(joint(tree), tree)
    if want.any():
        assert np.array_equal(possible_states(tree), want)
    else:
        with pytest.raises(hgm.ImpossibleEvidence):
            possible_states(tree)


@pytest.mark.parametrize("seed", range(10))
def test_large_trees_as_by_belief_propagation(seed):
    tree = hgm.random_tree(300, cardinality=(1, 6), joint=0.3, zeros=0.45, bound=1e100, seed=seed)
    flat = [p.with_log(np.where(np.isneginf(p.log_potential), -np.inf, 0.0)) for p in tree.potentials]
    posterior = hgm.infer(tree.with_potentials(flat))
    assert np.array_equal(possible_states(tree), posterior.marginals.numpy() > 0)


def test_numbers_that_underflow_are_possible():
    tiny = hgm.Edge.from_log([[-1e300, -np.inf], [0.0, -1e300]])
    tree = hgm.Tree.from_edges([(f"x{i}", f"x{i + 1}", tiny) for i in range(50)])
    assert possible_states(tree).all()


def test_a_model_that_allows_nothing_is_refused():
    with pytest.raises(hgm.ImpossibleEvidence):
        possible_states(hgm.Tree.from_edges([("a", "b", [[1, 0], [1, 0]])], {"b": [0, 1]}))
