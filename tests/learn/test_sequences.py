"""Learning from sequences of different length, against Baum and Welch's recursions in plain NumPy."""

import numpy as np
import pytest

import hgm
from hgm.errors import BadEvidence, BadSpec, ImpossibleEvidence

S, K = 2, 3
RNG = np.random.default_rng(1)
PRIOR, MOVE, EMIT = (RNG.dirichlet(np.full(shape[-1], 2.0), size=shape[:-1]) for shape in ((S,), (S, S), (S, K)))
DATA = [RNG.integers(0, K, size=n).tolist() for n in (1, 5, 3, 3, 8, 2, 1, 8, 6)]
HMM = hgm.hmm(8, prior=PRIOR, transition=MOVE, emission=EMIT)


def baum_welch(prior, move, emit):
    """One iteration on DATA: the log likelihood before it, and the new tables."""
    first, moves, emits, total = np.zeros(S), np.zeros((S, S)), np.zeros((S, K)), 0.0
    for x in DATA:
        a = [prior * emit[:, x[0]]]
        for s in x[1:]:
            a.append((a[-1] @ move) * emit[:, s])
        b = [np.ones(S)]
        for s in x[:0:-1]:
            b.insert(0, move @ (emit[:, s] * b[0]))
        p = a[-1].sum()
        total += np.log(p)
        first += a[0] * b[0] / p
        for t, s in enumerate(x):
            emits[:, s] += a[t] * b[t] / p
            if t:
                moves += a[t - 1][:, None] * move * (emit[:, s] * b[t]) / p
    return total, (first / first.sum(), moves / moves.sum(1, keepdims=True), emits / emits.sum(1, keepdims=True))


def test_iterations_are_those_of_baum_and_welch():
    tables, likelihoods = (PRIOR, MOVE, EMIT), []
    for _ in range(4):
        total, tables = baum_welch(*tables)
        likelihoods.append(total)
    fit = hgm.fit(HMM, DATA, iterations=4, tolerance=0)
    np.testing.assert_allclose(fit.log_likelihood[:4], likelihoods, atol=1e-9)
    for learned, want in zip(fit.tree.potentials, tables, strict=True):
        np.testing.assert_allclose(learned.values, want, atol=1e-9)
    assert fit.rows == len(DATA) and fit.tree.names == HMM.names


def test_what_is_learned_explains_the_sequences():
    fit = hgm.fit(HMM, DATA, iterations=3, tolerance=0)
    assert fit.log_likelihood[-1] == pytest.approx(float(hgm.infer(fit.tree, DATA).log_partition.sum()), abs=1e-9)


def test_a_chain_counts_its_steps():
    data = [[0, 1, 1], [1], [0, 0, 1, 0]]
    fit = hgm.fit(hgm.chain(5, 2), data)
    prior, move = (p.values for p in fit.tree.potentials)
    np.testing.assert_allclose(prior, [2 / 3, 1 / 3], atol=1e-6)
    np.testing.assert_allclose(move, [[1 / 3, 2 / 3], [1 / 2, 1 / 2]], atol=1e-6)


def test_sequences_as_long_as_the_chain_are_rows():
    rows = np.array([x for x in DATA if len(x) == 8])
    one, two = hgm.fit(HMM, rows, iterations=5), hgm.fit(HMM, list(rows), iterations=5)
    np.testing.assert_allclose(one.history, two.history, atol=1e-10)


def test_a_checkpoint_is_taken_up_again_and_knows_its_sequences(tmp_path):
    whole = hgm.fit(HMM, DATA, iterations=6, tolerance=0)
    hgm.fit(HMM, DATA, iterations=3, tolerance=0, checkpoint=tmp_path / "c.json")
    again = hgm.fit(HMM, DATA, iterations=6, tolerance=0, checkpoint=tmp_path / "c.json")
    assert again.history == whole.history
    with pytest.raises(BadSpec, match="the data"):
        hgm.fit(HMM, DATA[::-1], iterations=6, checkpoint=tmp_path / "c.json")


def test_errors_name_the_sequence():
    tree = hgm.chain(4, transition=np.eye(2), prior=[0.5, 0.5])
    with pytest.raises(ImpossibleEvidence) as error:
        hgm.fit(tree, [[0, 0], [0, 1], [1], [1, 1, 0]])
    assert error.value.rows == (1, 3)
    with pytest.raises(BadEvidence, match="no rows"):
        hgm.fit(tree, [])
    with pytest.raises(BadEvidence, match="says all that was seen"):
        hgm.fit(tree, [[0]], {"x0": [1]})


def test_a_chain_directed_against_time_cannot_be_cut():
    back = hgm.Tree.from_factors(
        [(("a", "b"), [[0.9, 0.2], [0.1, 0.8]]), (("b", "c"), [[0.7, 0.2], [0.3, 0.8]]), (("c",), [0.4, 0.6])],
        roots=["a"],
    )
    assert hgm.fit(back, [[0, 1, 1], [1, 1, 0]], iterations=2).rows == 2
    with pytest.raises(BadSpec, match="directed in time"):
        hgm.fit(back, [[0, 1, 1], [1, 1]])
