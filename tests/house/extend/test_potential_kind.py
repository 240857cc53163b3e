"""Kinds of potentials defined outside the package go wherever those of hgm go."""

import copy
import pickle

import numpy as np
import pytest
import torch
from kinds import Band, Circulant
from oracles.enumeration import Joint
from oracles.promises import joint, same_joint

import hgm
from hgm.bp.passes import collect
from hgm.tree.direction import direct
from hgm.tree.possible import possible_states
from hgm.tree.potential import KINDS

S = 4
WEIGHTS = np.array([0.5, 0.3, 0.0, 0.2])
TABLE = np.array([[WEIGHTS[(a - s) % S] for a in range(S)] for s in range(S)])


BAND = np.array([[2.0, 0.5, 0.0], [0.0, 2.0, 0.5]])


def model():
    """A tree of a circulant that is used twice, once from its second axis, and a band; the same in dense tables."""
    step, prior, band = Circulant(WEIGHTS), [0.1, 0.2, 0.3, 0.4], Band((2, 3), [0, 1], [2.0, 0.5])
    scopes = [("b", "a"), ("b", "c"), ("b",), ("d", "e"), ("a", "d")]
    out = np.random.default_rng(0).uniform(0.5, 2.0, (S, 2))
    kinds = [step, step, prior, band, out]
    dense = [hgm.Edge(TABLE), hgm.Edge(TABLE), hgm.Table(prior), hgm.Edge(BAND), hgm.Edge(out)]
    trees = [hgm.Tree.from_factors(list(zip(scopes, p, strict=True)), roots=["a"]) for p in (kinds, dense)]
    return *trees, scopes


def test_it_is_the_dense_table():
    circulant, band = Circulant(WEIGHTS), Band((2, 3), [0, 1], [2.0, 0.5])
    for kind, table in ((circulant, TABLE), (band, BAND)):
        assert np.allclose(np.exp(kind.dense_log()), table, atol=0.0, rtol=1e-15)
        assert sorted(kind.support().tolist()) == np.argwhere(table > 0).tolist()
        at = np.indices(table.shape)
        assert np.array_equal(kind.log_at(tuple(at)), kind.dense_log())
    assert circulant.complete and not circulant.positive and Circulant([0.5, 0.5]).positive and not band.complete


def test_it_is_registered_and_made_again_from_its_parts():
    for kind in (Circulant(WEIGHTS), Band((2, 3), [0, 1], [2.0, 0.5])):
        assert KINDS[type(kind).__name__] is type(kind)
        again = KINDS[type(kind).__name__].from_parts(kind.shape, kind.log_potential, kind.parts())
        assert again == kind and np.array_equal(again.dense_log(), kind.dense_log())
        assert again == copy.deepcopy(kind) == pickle.loads(pickle.dumps(kind))
        assert kind.with_values([3.0] * kind.size).values.tolist() == [3.0] * kind.size
    assert Band((2, 3), [0, 1], [1, 2]) != Band((2, 3), [0, 2], [1, 2])


def test_infer_and_likelihood():
    kinds, dense, _ = model()
    evidence = {"c": 2, "e": hgm.Likelihood([0.2, 1.0, 0.5])}
    one, two = hgm.infer(kinds, evidence), hgm.infer(dense, evidence)
    torch.testing.assert_close(one.marginals, two.marginals)
    torch.testing.assert_close(one.log_partition, two.log_partition)
    torch.testing.assert_close(one.factor_marginals(0), two.factor_marginals(0))
    assert torch.equal(one.mode().states, two.mode().states)
    states = one.sample(50, generator=torch.Generator().manual_seed(0)).states
    torch.testing.assert_close(hgm.log_likelihood(kinds, states), hgm.log_likelihood(dense, states))
    assert np.array_equal(possible_states(kinds), possible_states(dense))


def test_gradients_by_its_weights_are_sums_over_the_places():
    kinds, dense, _ = model()
    e = hgm.log_evidence(kinds, {"e": 1})
    grads = []
    for tree in (kinds, dense):
        logs = [torch.tensor(p.log_potential, requires_grad=True) for p in tree.potentials]
        collect(tree, e, log_potentials=logs).log_partition.sum().backward()
        grads.append([log.grad for log in logs])
    for p, mine in zip(kinds.potentials, grads[0], strict=True):
        same = [np.array_equal(q.dense_log(), p.dense_log()) for q in dense.potentials]
        tables = [table for table, alike in zip(grads[1], same, strict=True) if alike]
        where = torch.from_numpy(p.entries())
        want = torch.stack([sum(table[where == i].sum() for table in tables) for i in range(p.size)])
        torch.testing.assert_close(mine.flatten(), want)


@pytest.mark.parametrize("root", "abcde")
def test_rerooting(root):
    kinds, dense, _ = model()
    assert same_joint(joint(kinds.reroot(root)), joint(dense))


def test_observed_states_are_cut_out():
    kinds, dense, scopes = model()
    plain = joint(dense).given({"b": np.eye(S)[1], "d": np.eye(2)[1]})
    tables = [kinds.potentials[i] for i in (0, 0)]
    potentials = {tuple(dense.names[v] for v in dense.scope_of(f)): kinds.potential_of(f) for f in range(kinds.factors)}
    assert tables[0] is tables[1]
    tree = hgm.Tree.from_factors([(s, potentials[s]) for s in scopes], observed={"b": 1, "d": 1})
    assert same_joint(joint(tree), plain)


def test_other_potentials_of_the_same_kind():
    kinds, dense, _ = model()
    scaled = kinds.with_potentials([p.scaled(0.5) for p in kinds.potentials])
    assert [type(p) for p in scaled.potentials] == [type(p) for p in kinds.potentials]
    z = hgm.infer(scaled).log_partition - hgm.infer(dense).log_partition
    assert float(z) == pytest.approx(0.5 * kinds.factors)
    with pytest.raises(hgm.BadPotential, match=r"cannot be replaced by Edge\(4x4\)"):
        kinds.with_potentials([hgm.Edge(TABLE) if isinstance(p, Circulant) else p for p in kinds.potentials])


# ---------------------------------------------------------------------- learning


def expected_weights(weights, prior, rows):
    """One iteration of EM for a chain a -> b -> c of one circulant, of which a and c are seen, by enumeration."""
    table = np.array([[weights[(a - s) % S] for a in range(S)] for s in range(S)])
    counts, first = np.zeros(S), np.zeros(S)
    for a, c in rows:
        seen = {"a": np.eye(S)[a], "c": np.eye(S)[c]}
        given = Joint("abc", (S,) * 3, [("a", prior), (("a", "b"), table), (("b", "c"), table)]).given(seen)
        first += given.marginal("a")
        for pair in (given.marginal("a", "b"), given.marginal("b", "c")):
            for s, t in np.ndindex(S, S):
                counts[(t - s) % S] += pair[s, t]
    return counts / counts.sum(), first / first.sum()


def test_em_learns_its_weights():
    rng = np.random.default_rng(1)
    start, prior = rng.dirichlet(np.ones(S)), rng.dirichlet(np.ones(S))
    step = Circulant(start)
    tree = hgm.Tree.from_edges([("a", "b", step), ("b", "c", step)], {"a": prior})
    rows = [(0, 1), (1, 3), (2, 0), (3, 3), (0, 2)]
    data = {"a": [a for a, _ in rows], "c": [c for _, c in rows]}
    fitted = hgm.fit(tree, data, iterations=3, tolerance=0.0)
    for _ in range(3):
        start, prior = expected_weights(start, prior, rows)
    learned = next(p for p in fitted.tree.potentials if isinstance(p, Circulant))
    np.testing.assert_allclose(learned.values, start, atol=1e-12)
    assert (np.diff(fitted.history) > 0).all()


def test_distributions_that_share_entries_count_as_one():
    tree = hgm.Tree.from_edges([("a", "b", Circulant(WEIGHTS))], {"a": [0.25] * S})
    direction = direct(tree)
    assert direction.rows == 2 and len(set(direction.row.tolist())) == 2


class Potts(hgm.Potential):
    """One weight for equal states and one for all others: the other stands twice in a row of three."""

    def entries(self):
        return 1 - np.eye(self.shape[0], dtype=np.int64)


def test_em_counts_by_weight():
    tree = hgm.Tree.from_edges([("a", "b", Potts((2, 2), np.log([0.5, 0.5])))])
    learned = hgm.fit(tree, {"a": [0, 0, 1], "b": [0, 1, 1]}).tree.potentials[0]
    assert learned.values == pytest.approx([2 / 3, 1 / 3])


def test_em_refuses_what_has_no_closed_form():
    potts = Potts((3, 3), np.log([0.6, 0.2]))
    with pytest.raises(hgm.BadSpec, match=r"Potts\(3x3\) of factor \(a, b\) .* twice in one: EM has no"):
        hgm.fit(hgm.Tree.from_edges([("a", "b", potts)]), {"a": [0]})
    band = Band((2, 3), [0, 1, 2], [0.5, 0.3, 0.2])
    with pytest.raises(hgm.BadSpec, match=r"has one weight in distributions that differ in others"):
        hgm.fit(hgm.Tree.from_edges([("a", "b", band)]), {"a": [0]})


# ---------------------------------------------------------------------- kinds that are wrong


def kind_with(given):
    """A kind whose `entries` are these, which sets its attributes by hand."""

    class Wrong(hgm.Potential):
        def __init__(self):
            self.shape, self.log_potential = (2, 2), np.log([0.5, 0.5])

        def entries(self):
            return given

    return Wrong()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((2, 3), dtype=int), r"shape \(2, 2\) from -1 to 1; got shape \(2, 3\) from 0 to 0"),
        (np.array([[0, 1], [2, 0]]), r"got shape \(2, 2\) from 0 to 2"),
        (np.array([[0, 1], [-2, 0]]), r"got shape \(2, 2\) from -2 to 1"),
        (np.zeros((2, 2)), "got float64"),
        ([[0, 1], [1, 0]], "got list"),
        (np.zeros((2, 2), dtype=int), "each weight somewhere; weight 1 stands nowhere"),
    ],
)
def test_wrong_entries_are_refused_when_a_tree_is_built(given, message):
    with pytest.raises(hgm.BadPotential, match=rf"factor \(a, b\): Wrong.entries\(\) must be .*{message}"):
        hgm.Tree.from_edges([("a", "b", kind_with(given))])


def test_a_kind_without_entries_cannot_be_made():
    class Nothing(hgm.Potential):
        pass

    with pytest.raises(TypeError, match=r"abstract method .*entries"):
        Nothing((2, 2), [0.0])


def test_bad_weights_are_refused():
    with pytest.raises(hgm.BadPotential, match=r"finite; entry \(1,\) is nan"):
        Circulant([0.5, np.nan])
    with pytest.raises(hgm.BadPotential, match=r"Circulant\(2x2\) is zero everywhere"):
        Circulant([0.0, 0.0])


def test_the_name_of_another_kind_is_taken():
    with pytest.raises(hgm.BadPotential, match=r"Edge cannot be the potential Edge: that is hgm.tree.potential.Edge"):
        type("Edge", (hgm.Potential,), {})
    assert KINDS["Edge"] is hgm.Edge
