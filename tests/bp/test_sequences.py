"""Sequences of different length, against enumeration of the chain of each."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from torch.masked import masked_tensor

import hgm
from hgm.errors import BadEvidence, BadSpec, ImpossibleEvidence

S, K, T = 3, 4, 6
RNG = np.random.default_rng(5)
PRIOR, MOVE, EMIT = (RNG.dirichlet(np.full(shape[-1], 0.6), size=shape[:-1]) for shape in ((S,), (S, S), (S, K)))
HMM = hgm.hmm(T, prior=PRIOR, transition=MOVE, emission=EMIT)
CHAIN = hgm.chain(T, prior=PRIOR, transition=MOVE)
DATA = [[0, 1, 2], [3], [1, None, 1, 0, 0, 2], [2, 2], [None, 0, None]]


def paths(sequence):
    """All hidden paths of a sequence, and the probability of each with it. Shares nothing with hgm."""
    for z in itertools.product(range(S), repeat=len(sequence)):
        p = PRIOR[z[0]] * np.prod([MOVE[a, b] for a, b in itertools.pairwise(z)])
        yield z, p * np.prod([1.0 if x is None else EMIT[a, x] for a, x in zip(z, sequence, strict=True)])


def best(sequence):
    """The likeliest states and symbols: a missing symbol is the likeliest of its state."""
    free = [t for t, x in enumerate(sequence) if x is None]
    z, _ = max(paths(sequence), key=lambda pair: pair[1] * np.prod([EMIT[pair[0][t]].max() for t in free]))
    return {f"z{t}": a for t, a in enumerate(z)} | {
        f"x{t}": int(EMIT[a].argmax()) if x is None else x for t, (a, x) in enumerate(zip(z, sequence, strict=True))
    }


def test_each_sequence_is_answered_in_its_own_chain():
    out = hgm.infer(HMM, DATA)
    assert len(out) == 5 and out.lengths == (3, 1, 6, 2, 3)
    for i, sequence in enumerate(DATA):
        every = list(paths(sequence))
        z = sum(p for _, p in every)
        assert out.log_partition[i] == pytest.approx(np.log(z), abs=1e-12)
        post = out[i]
        assert set(post) == {f"{kind}{t}" for kind in "zx" for t in range(len(sequence))}
        assert post.log_partition == pytest.approx(np.log(z), abs=1e-12) and post.log_partition.shape == ()
        for t in range(len(sequence)):
            want = [sum(p for path, p in every if path[t] == a) / z for a in range(S)]
            np.testing.assert_allclose(post[f"z{t}"], want, atol=1e-12)
    assert [p.tree for p in out[1:3]] == [out[1].tree, HMM] and out[-1].tree == out[0].tree
    assert len(list(out)) == 5
    with pytest.raises(IndexError):
        out[5]


def test_modes_are_those_of_the_sequences_and_not_of_longer_ones():
    out = hgm.infer(HMM, DATA)
    for i, (mode, sequence) in enumerate(zip(out.mode(), DATA, strict=True)):
        assert {name: int(x) for name, x in mode.items()} == best(sequence)
        assert mode.log_prob == pytest.approx(float(out[i].mode().log_prob), abs=1e-12)
        assert {name: int(x) for name, x in out[i].mode().items()} == best(sequence)


def test_padding_serves_sums_but_no_modes():
    differs = 0
    for seed in range(20):
        tree = hgm.hmm(5, 2, 2, seed=seed)
        for sequence in itertools.product(range(2), repeat=3):
            padded = hgm.infer(tree, {f"x{t}": x for t, x in enumerate(sequence)})
            (own,) = hgm.infer(tree, [list(sequence)])
            assert own.log_partition == pytest.approx(float(padded.log_partition), abs=1e-12)
            torch.testing.assert_close(own["z1"], padded["z1"], rtol=0, atol=1e-12)
            differs += any(own.mode()[name] != padded.mode()[name] for name in own)
    assert differs > 5


def test_a_chain_is_observed_itself():
    out = hgm.infer(CHAIN, [[0, 2, 1], [1], [0, None, 2]])
    want = [PRIOR[0] * MOVE[0, 2] * MOVE[2, 1], PRIOR[1], PRIOR[0] * (MOVE[0] @ MOVE[:, 2])]
    np.testing.assert_allclose(out.log_partition, np.log(want), atol=1e-12)
    assert [len(post) for post in out] == [3, 1, 3]
    assert hgm.infer(hgm.chain(1, prior=PRIOR), [[2], [0]]).log_partition.exp().tolist() == pytest.approx(PRIOR[[2, 0]])


def with_mask(row):
    seen = np.array(row) >= 0
    return masked_tensor(torch.tensor(row).where(torch.tensor(seen), 9), torch.tensor(seen))


@pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors")
@pytest.mark.parametrize(
    "form", [list, tuple, np.array, torch.tensor, pd.Series, lambda row: np.ma.masked_less(row, 0), with_mask]
)
def test_a_sequence_may_be_a_list_or_an_array_and_lengths_may_be_equal(form):
    rows = [[0, 1, 2, 3, 0, -1], [1, 1, -1, 1, 1, 1]]
    out = hgm.infer(HMM, [form(row) for row in rows])
    batch = hgm.infer(HMM, {f"x{t}": [row[t] for row in rows] for t in range(T)})
    torch.testing.assert_close(out.log_partition, batch.log_partition, rtol=0, atol=1e-12)
    assert torch.equal(torch.stack([m.states for m in out.mode()]), batch.mode().states)


def test_labels_are_states_of_sequences():
    tree = hgm.hmm(4, ["low", "high"], ["A", "C", "G"], seed=2)
    out = hgm.infer(tree, [["A", "G"], ["C", None, "A"]])
    want = hgm.infer(hgm.hmm(4, 2, 3, seed=2), [[0, 2], [1, None, 0]])
    torch.testing.assert_close(out.log_partition, want.log_partition)
    assert out.mode()[0]["x1"] == "G" and out.mode()[1]["z0"] in ("low", "high")


def test_no_sequences_are_no_answers():
    out = hgm.infer(HMM, [])
    assert len(out) == 0 and out.mode() == [] and out.log_partition.shape == (0,)


def test_impossible_sequences_are_named():
    tree = hgm.chain(4, transition=np.eye(2), prior=[1.0, 0.0])
    with pytest.raises(ImpossibleEvidence, match="rows are sequences") as error:
        hgm.infer(tree, [[0, 0], [0, 1], [0], [1], [0, 0, 1]])
    assert error.value.rows == (1, 3, 4)


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ([[0] * 7], "sequence 0 has 7 steps; the chain has 1 to 6"),
        ([[0], []], "sequence 1 has 0 steps"),
        ([0, 1, 2], "a list, for a chain, is a list of sequences.* sequence 0 is a int"),
        (["0"], "sequence 0 is a str; a word is list"),
        ([[0], np.zeros((2, 4))], r"sequence 1 is a ndarray of shape \(2, 4\)"),
        ([[0, 9]], "variable 'x1' has no state 9"),
        ([[0], torch.zeros(3).to_sparse()], "sequence 1 must be an array of states.*; got a sparse tensor"),
    ],
)
def test_what_is_no_list_of_sequences_is_one_clear_error(sequences, message):
    for ask in (hgm.infer, hgm.fit):
        with pytest.raises(BadEvidence, match=message):
            ask(HMM, sequences)


def test_a_list_for_two_variables_says_too_little():
    for tree in (hgm.chain(2), hgm.hmm(1)):
        with pytest.raises(BadSpec, match="says too little"):
            hgm.infer(tree, [[0], [1]])
