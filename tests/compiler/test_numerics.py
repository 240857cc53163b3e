"""Sums by group, as sparse tables need them: each term once, in memory that is linear in the terms and the groups."""

import numpy as np
import pytest
import torch

import hgm
from hgm.compiler.numerics import summing
from hgm.testing import assert_close

RNG = np.random.default_rng(0)
GROUPS = {
    "one each": (np.arange(3000), 3000),
    "all in one": (np.full(3000, 7), 3000),
    "all in the only one": (np.zeros(3000, dtype=int), 1),
    "one term": (np.array([4]), 9),
    "even": (RNG.permutation(np.repeat(np.arange(30), 10)), 30),
    "at random": (RNG.integers(0, 200, size=3000), 200),
    "halves": ((3000 * RNG.random(3000) ** 8).astype(int), 3000),
    "few large among many": (RNG.choice([3, 900], size=2000), 2500),
}


@pytest.mark.parametrize("name", GROUPS)
def test_each_term_is_counted_once_in_its_group(name):
    group, groups = GROUPS[name]
    terms = RNG.integers(1, 1 << 20, size=len(group))
    x = terms
    tables = summing(group, groups)
    for table in tables:
        x = np.append(x, 0)[table].sum(1)
    expected = np.zeros(groups, dtype=x.dtype)
    np.add.at(expected, group, terms)
    assert (x == expected).all()
    assert sum(table.size for table in tables) < 25 * (len(group) + groups)


def test_groups_of_about_one_size_take_one_table():
    for name in ("one each", "even", "at random", "all in the only one"):
        group, groups = GROUPS[name]
        (table,) = summing(group, groups)
        assert table.shape == (groups, np.bincount(group).max())


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_state_with_most_of_the_rules_changes_no_posterior(axis):
    states = np.concatenate([np.stack([np.arange(40)] * 3, 1), RNG.integers(0, 40, size=(60, 3))])
    states[:60, axis] = 11
    states = np.unique(states, axis=0)
    rules = hgm.Rules((40, 40, 40), states, RNG.random(len(states)) + 0.1)
    tree = hgm.Tree.from_factors([(("a", "b", "c"), rules)])
    e = torch.from_numpy(RNG.standard_normal((3, 40, 3)))
    x = e.clone().requires_grad_()
    net = hgm.compile(tree, query="all", observed=["a"], trainable=True)
    log_z = net.log_partition(x[..., 1:], evidence=x[..., :1])
    log_z.sum().backward()
    # by the rules themselves, one after the other
    weight = rules.values * np.exp(e.numpy()[:, states, [0, 1, 2]].sum(-1))
    marginals = np.zeros((3, 40, 3))
    for r, word in enumerate(states):
        marginals[:, word, [0, 1, 2]] += (weight[:, r] / weight.sum(1))[:, None]
    assert_close(log_z, torch.from_numpy(np.log(weight.sum(1))), 1e-12, "log Z")
    assert_close(net(x[..., 1:], evidence=x[..., :1]), torch.from_numpy(marginals), 1e-12, "marginals")
    assert_close(x.grad, torch.from_numpy(marginals), 1e-12, "gradient")


@pytest.mark.parametrize("parent", ["its own", "one for all"])
def test_rules_over_many_states_compile_in_memory_that_grows_with_them(parent):
    n = 40_000  # with a table of states times rules these were 12 GB
    numbers = np.arange(n)
    states = np.stack([numbers if parent == "its own" else np.full(n, 5), numbers, numbers], 1)
    tree = hgm.Tree.from_factors([(("a", "b", "c"), hgm.Rules((n, n, n), states))])
    b, c = torch.randn(2, 1, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    net = hgm.compile(tree, "classify")
    expected = (b + c).softmax(1) if parent == "its own" else torch.zeros(1, n, dtype=torch.float64)
    if parent == "one for all":
        expected[0, 5] = 1.0
    assert_close(net(torch.stack([b, c], 2)).reshape(1, n), expected, 1e-12, "marginals")
    assert_close(net.log_partition(torch.stack([b, c], 2)), (b + c).logsumexp(1), 1e-12, "log Z")
