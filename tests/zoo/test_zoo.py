"""The named ensembles have the properties that their papers and docstrings say."""

import itertools

import numpy as np
import pytest
from oracles.promises import check_structure, joint

import hgm
from hgm import zoo

SMALL = {
    "random_ghm": lambda seed=0: hgm.random_ghm(2, 3, 2, seed=seed),
    "random_ghm grid": lambda seed=0: hgm.random_ghm(1, 3, (2, 2), joint=True, seed=seed),
    "rhm": lambda seed=0: hgm.rhm(3, 2, 2, 2, seed=seed),
    "filtered_hierarchy": lambda seed=0: hgm.filtered_hierarchy(3, 2, seed=seed),
    "broadcast": lambda seed=0: hgm.broadcast(2, 3, eps=0.1 + seed / 100),
    "star": lambda seed=0: hgm.star(4, seed=seed),
    "chain": lambda seed=0: hgm.chain(5, seed=seed),
    "hmm": lambda seed=0: hgm.hmm(3, seed=seed),
    "caterpillar": lambda seed=0: hgm.caterpillar(3, seed=seed),
    "hidden_markov_tree": lambda seed=0: hgm.hidden_markov_tree(1, seed=seed),
    "random_tree": lambda seed=0: hgm.random_tree(7, joint=0.5, zeros=0.3, seed=seed),
    "forest": lambda seed=0: hgm.forest((4, 2, 1), joint=0.5, seed=seed),
}

NORMALISED = {"rhm", "filtered_hierarchy", "broadcast", "star", "chain", "hmm", "caterpillar", "hidden_markov_tree"}


def conditional_entropy(model, target, given):
    """H(target | given) in nats, by enumeration."""

    def entropy(*names):
        p = model.marginal(*names)
        return -(p[p > 0] * np.log(p[p > 0])).sum()

    return entropy(target, *given) - entropy(*given)


# ---------------------------------------------------------------------- all of them


@pytest.mark.parametrize("make", SMALL.values(), ids=SMALL)
def test_every_ensemble_is_a_tree_with_positive_mass_and_a_seed(make):
    tree = make()
    check_structure(tree)
    assert np.isfinite(joint(tree).log_z)
    assert make(0) == tree and make(1) != tree


@pytest.mark.parametrize("name", sorted(NORMALISED))
def test_generative_ensembles_are_normalised(name):
    assert joint(SMALL[name]()).log_z == pytest.approx(0.0, abs=1e-12)


def test_every_ensemble_is_handed_on_and_tested():
    assert {name.split()[0] for name in SMALL} == set(zoo.__all__)
    assert all(getattr(hgm, name) is getattr(zoo, name) for name in zoo.__all__)


# ---------------------------------------------------------------------- layered


@pytest.mark.parametrize(("joint_tables", "tie", "count"), [
    (False, "position", 2 + 2), (False, "level", 1 + 1), (False, "none", 2 + 4),
    (True, "position", 1 + 1), (True, "level", 1 + 1), (True, "none", 1 + 2),
])  # fmt: skip
def test_random_ghm_is_bounded_by_k_and_tied_as_told(joint_tables, tie, count):
    tree = hgm.random_ghm(2, [3, 4], 2, root=5, bound=7.0, joint=joint_tables, tie=tie)
    assert len(tree.potentials) == 1 + count and tree.cardinality[[0, 1, -1]].tolist() == [5, 3, 4]
    logs = np.concatenate([p.log_potential.ravel() for p in tree.potentials])
    assert np.abs(logs).max() <= np.log(7.0) and np.abs(logs).max() > 0.8 * np.log(7.0)
    if joint_tables:
        assert all(p.axes in (1, 3) for p in tree.potentials)


def test_random_ghm_takes_lists_labels_and_grids():
    tree = hgm.random_ghm(2, [3, ("on", "off")], [(2, 2), (1, 3)], root=2)
    assert tree.grid == ((), (2, 2), (2, 6)) and tree.labels(len(tree) - 1) == ("on", "off")
    assert hgm.random_ghm(2, bound=1.0).potentials[1].values.tolist() == [[1.0] * 4] * 4
    assert len(hgm.random_ghm(0)) == 1


@pytest.mark.parametrize(
    ("states", "rules", "arity", "classes"), [(3, 2, 2, None), (4, 4, 2, 3), (2, 2, (2, 1), 1), (2, 1, 3, 5)]
)
def test_rhm_rules_are_unambiguous(states, rules, arity, classes):
    tree = hgm.rhm(states, rules, arity, 2, classes=classes)
    width = arity if isinstance(arity, int) else arity[0] * arity[1]
    for level, potential in enumerate(tree.potentials[1:]):
        assert isinstance(potential, hgm.Rules)
        left, right = potential.states[:, 0], potential.states[:, 1:]
        assert np.bincount(left).tolist() == [rules] * ((classes or states) if level == 0 else states)
        assert len(np.unique(right, axis=0)) == len(right), "a right-hand side belongs to one symbol"
        assert right.shape[1] == width and set(potential.values.tolist()) == {1.0 / rules}
    assert len(tree.potentials) == 1 + 2 and tree.potentials[1] != tree.potentials[2], "one grammar for each level"


def test_rhm_leaves_tell_every_symbol_above():
    tree = hgm.rhm(3, 2, 2, 2)
    model, leaves = joint(tree), [f"x{i}" for i in range(4)]
    for name in ("label", "h1_0", "h1_1"):
        assert conditional_entropy(model, name, leaves) == pytest.approx(0.0, abs=1e-12)
    # sabotage: half of the leaves do not tell, so the entropy is able to be positive
    assert conditional_entropy(model, "label", leaves[:2]) > 0.01


def test_rhm_draws_from_more_words_than_memory_holds():
    potential = hgm.rhm(64, 4, 16, 1).potentials[1]
    assert potential.states.shape == (256, 17) and potential.states[:, 1:].max() > 50


def test_filtered_hierarchy_deals_out_all_words_to_one_grammar():
    tree = hgm.filtered_hierarchy(4, 3, sigma=2.0)
    assert len(tree.potentials) == 2, "one grammar for all levels"
    grammar = tree.potentials[1]
    assert sorted(map(tuple, grammar.states[:, 1:].tolist())) == list(itertools.product(range(4), repeat=2))
    assert np.bincount(grammar.states[:, 0]).tolist() == [4] * 4
    assert np.bincount(grammar.states[:, 0], grammar.values) == pytest.approx(np.ones(4))
    assert hgm.filtered_hierarchy(4, sigma=0.0).potentials[1].values == pytest.approx(np.full(16, 0.25))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_filter_makes_level_k_independent_given_the_root_and_keeps_its_laws(k):
    whole, filtered = (hgm.filtered_hierarchy(2, 3, k=j, sigma=1.5, seed=2) for j in (0, k))
    before, after = joint(whole), joint(filtered)
    prefix = "x" if k == 3 else f"h{k}_"
    nodes = [f"{prefix}{i}" for i in range(2**k)]
    leaves = [f"x{i}" for i in range(8)]
    assert set(filtered.names) == {n for n in whole.names if n[0] != "h" or int(n[1]) >= k}
    for node in nodes:  # each has the law it had
        assert after.marginal("label", node) == pytest.approx(before.marginal("label", node), abs=1e-12)
    # independent given the root: the joint is the product of the conditionals
    together = after.marginal("label", *nodes)
    root = after.marginal("label")
    product = root.reshape(-1, *[1] * len(nodes))
    for i, node in enumerate(nodes):
        shape = [2] + [1] * len(nodes)
        shape[1 + i] = 2
        product = product * (after.marginal("label", node) / root[:, None]).reshape(shape)
    assert together == pytest.approx(product, abs=1e-12)
    assert np.abs(before.marginal("label", *nodes) - product).max() > 1e-3, "and before it was not"
    # below level k nothing changes
    below = leaves[: 8 // 2**k]
    if k < 3:
        a, b = (
            m.marginal(nodes[0], *below) / m.marginal(nodes[0]).reshape(-1, *[1] * len(below)) for m in (before, after)
        )
        assert a == pytest.approx(b, abs=1e-12)


def test_filtered_hierarchy_takes_a_grammar():
    grammar = hgm.Rules((2, 2, 2), [[0, 0, 1], [0, 1, 1], [1, 0, 0]], [0.25, 0.75, 1.0])
    tree = hgm.filtered_hierarchy(depth=2, k=1, rules=grammar)
    assert tree.potentials[3] is grammar and tree.cardinality[0] == 2
    assert tree.potentials[1].values.tolist() == [[0.25, 0.75], [1.0, 0.0]], "to the first child"
    assert tree.potentials[2].values.tolist() == [[0.0, 1.0], [1.0, 0.0]], "to the second"


def test_broadcast_is_one_symmetric_channel_on_all_edges():
    tree = hgm.broadcast(2, 4, (2, 2), eps=0.3)
    assert len(tree.potentials) == 2 and tree.factors == 1 + 4 + 16
    assert tree.potentials[1].values == pytest.approx(np.full((4, 4), 0.1) + np.eye(4) * 0.6)
    assert joint(hgm.broadcast(1, 2, eps=0.0)).marginal("x0", "x1").tolist() == [[0.5, 0.0], [0.0, 0.5]]
    assert hgm.broadcast(1, 1).potentials[1].values.tolist() == [[1.0]]


def test_star_is_naive_bayes():
    tree = hgm.star(5, 4, root=["spam", "ham"])
    assert tree.depth == 1 and len(tree.potentials) == 6 and tree.labels(0) == ("spam", "ham")
    assert len(hgm.star(5, tied=True).potentials) == 2
    assert len(hgm.star(2000).leaves) == 2000


# ---------------------------------------------------------------------- chains and their kin

A = np.array([[0.9, 0.1], [0.3, 0.7]])
B = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
P = np.array([0.6, 0.4])


def test_chain_is_the_product_of_its_transitions():
    tree = hgm.chain(3, transition=A, prior=P)
    assert joint(tree).marginal("x0", "x1", "x2") == pytest.approx(np.einsum("a,ab,bc->abc", P, A, A))
    assert len(tree.potentials) == 2 and len(hgm.chain(1).potentials) == 1


def test_hmm_is_the_product_of_its_tables():
    tree = hgm.hmm(2, ["hot", "cold"], transition=A, emission=B, prior=P)
    expected = np.einsum("a,ab,ax,by->abxy", P, A, B, B)
    assert joint(tree).marginal("z0", "z1", "x0", "x1") == pytest.approx(expected)
    assert tree.labels(tree.index("z1")) == ("hot", "cold") and tree.labels(tree.index("x1")) is None
    assert len(tree.potentials) == 3
    assert hgm.hmm(4, 5, 6).cardinality.max() == 6


def test_caterpillar_has_legs_on_every_spine_node():
    tree = hgm.caterpillar(3, 2, 4, legs=2)
    for i, j in itertools.product(range(3), range(2)):
        leg = tree.index(f"x{i}_{j}")
        assert tree.names[tree.parent[tree.parent_factor[leg]]] == f"z{i}" and tree.cardinality[leg] == 4
    assert len(tree.potentials) == 1 + 2 + 6 and len(hgm.caterpillar(3, tied=True).potentials) == 3
    assert hgm.caterpillar(3, legs=0).leaves.tolist() == [2] and "x1" in set(hgm.caterpillar(2).names)
    assert len(hgm.caterpillar(1, tied=True).potentials) == 2, "no potential that nothing uses"


def test_hidden_markov_tree_has_one_observation_for_each_hidden_node():
    tree = hgm.hidden_markov_tree(2, symbols=3)
    assert len(tree) == 2 * 21 and len(tree.potentials) == 1 + 2 + 3, "tied by level"
    for r, c in itertools.product(range(4), range(4)):
        hidden, seen = tree.index(f"z2_{r}_{c}"), tree.index(f"x2_{r}_{c}")
        assert tree.names[tree.parent[tree.parent_factor[hidden]]] == f"z1_{r // 2}_{c // 2}"
        assert tree.parent[tree.parent_factor[seen]] == hidden and seen in tree.leaves
    assert tree.names[tree.parent[tree.parent_factor[tree.index("x0")]]] == "z0"


def test_hidden_markov_tree_is_the_product_of_its_tables():
    tree = hgm.hidden_markov_tree(1, arity=2, transition=A, emission=B, prior=P)
    expected = np.einsum("a,ab,ac,ax,by,cz->abcxyz", P, A, A, B, B, B)
    names = ("z0", "z1_0", "z1_1", "x0", "x1_0", "x1_1")
    assert joint(tree).marginal(*names) == pytest.approx(expected) and len(tree.potentials) == 3


def test_long_chains_are_built_without_a_python_object_for_each_node():
    tree = hgm.hmm(100_000)
    assert len(tree) == 200_000 and len(tree.potentials) == 3
    assert tree.names[tree.index("x99999")] == "x99999" and tree.level[tree.index("x99999")] == 100_000


# ---------------------------------------------------------------------- irregular


@pytest.mark.parametrize("seed", range(5))
def test_random_trees_keep_to_their_numbers(seed):
    tree = hgm.random_tree(60, cardinality=(1, 4), joint=0.6, width=3, zeros=0.5, bound=5.0, seed=seed)
    check_structure(tree)
    assert len(tree) == 60 and len(tree.roots) == 1 and tree.names[0] == "x0"
    assert set(tree.cardinality.tolist()) == {1, 2, 3, 4}
    sizes = np.diff(tree.scope_ptr)
    assert set(sizes.tolist()) == {1, 2, 3, 4} and len(set(tree.up.tolist())) > 1, "joint factors, any axis up"
    logs = np.concatenate([p.log_potential.ravel() for p in tree.potentials])
    assert 0.2 < np.isneginf(logs).mean() < 0.6
    assert np.abs(logs[np.isfinite(logs)]).max() <= np.log(5.0)


def test_zeros_leave_one_assignment_possible():
    for seed in range(20):
        assert np.isfinite(joint(hgm.random_tree(7, joint=0.5, zeros=1.0, seed=seed)).log_z)


def test_plain_random_trees_have_edges_only_and_no_zeros():
    tree = hgm.random_tree(30, unary=0.0)
    assert tree.factors == 29 and all(isinstance(p, hgm.Edge) for p in tree.potentials)
    assert all(np.isfinite(p.log_potential).all() for p in tree.potentials)


def test_forest_has_its_sizes():
    tree = hgm.forest((5, 1, 3))
    assert [tree.names[v] for v in tree.roots] == ["t0_x0", "t1_x0", "t2_x0"] and len(tree) == 9
    assert "t2_x2" in set(tree.names)


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hgm.random_ghm(-1), "depth must be a whole number of at least 0; got -1"),
        (lambda: hgm.random_ghm(bound=0.5), "bound .* must be at least 1; got 0.5"),
        (lambda: hgm.random_ghm(bound=np.nan), "bound"),
        (lambda: hgm.random_ghm(tie="all"), "tie must be"),
        (lambda: hgm.random_ghm(2, [3]), "states lists 1 levels, but depth is 2"),
        (lambda: hgm.random_ghm(2, 3, [2, 2, 2]), "arity lists 3 levels"),
        (lambda: hgm.random_ghm(2, 3, 0), "arity must be .* at least 1; got 0"),
        (lambda: hgm.rhm(2, 3, 2, 2), "2 symbols with 3 rules each need 6 distinct .* only 4"),
        (lambda: hgm.rhm(2, 1, 1, 2, classes=3), "3 symbols with 1 rules each"),
        (lambda: hgm.rhm(depth=0), "depth must be"),
        (lambda: hgm.rhm(rules=1.5), "rules must be a whole number"),
        (lambda: hgm.filtered_hierarchy(k=5), "k must be 0 to depth = 4; got 5"),
        (lambda: hgm.filtered_hierarchy(k=-1), "k must be"),
        (lambda: hgm.filtered_hierarchy(sigma=-1.0), "sigma"),
        (lambda: hgm.filtered_hierarchy(rules=hgm.Rules((2, 3), [[0, 0], [1, 1]])), "no grammar"),
        (lambda: hgm.filtered_hierarchy(rules=hgm.Rules((2, 2), [[0, 0], [1, 1]], [1.0, 2.0])), "sum to 1"),
        (lambda: hgm.broadcast(eps=1.5), "eps is a probability .* got 1.5"),
        (lambda: hgm.broadcast(eps=np.nan), "eps is a probability"),
        (lambda: hgm.star(0), "leaves must be"),
        (lambda: hgm.chain(0), "length must be a whole number of at least 1; got 0"),
        (lambda: hgm.chain(2, 3, transition=A), "shape"),
        (lambda: hgm.chain(2, transition=[[1], [1, 2]]), "array of numbers"),
        (lambda: hgm.hmm(2, symbols=["a", "a"], emission=A), "state label 'a' twice"),
        (lambda: hgm.hmm(2, transition=A, emission=np.ones((3, 2))), r"\(z0, x0\) has shape \(3, 2\)"),
        (lambda: hgm.caterpillar(3, legs=-1), "legs must be"),
        (lambda: hgm.hidden_markov_tree(2, transition=[A]), "transition lists 1 tables; one, or 2"),
        (lambda: hgm.hidden_markov_tree(arity=(2, 0)), "arity must be"),
        (lambda: hgm.random_tree(0), "variables must be"),
        (lambda: hgm.random_tree(cardinality=(3, 2)), "cardinality must be"),
        (lambda: hgm.random_tree(joint=2), "joint is a probability"),
        (lambda: hgm.random_tree(zeros=-0.1), "zeros is a probability"),
        (lambda: hgm.random_tree(bound=0.0), "bound"),
        (lambda: hgm.forest(()), "at least one tree"),
        (lambda: hgm.forest((3, 0)), "variables must be"),
    ],
)
def test_what_is_wrong_is_named(make, message):
    with pytest.raises(hgm.HgmError, match=message):
        make()
