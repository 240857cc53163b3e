"""Networks that observe all variables: a sequence in the order of time, or any tree in tree order."""

import numpy as np
import pytest
import torch
from oracles.trees import CASES, draw_evidence

import hgm
from hgm.measure.feed import feed
from hgm.testing import assert_close

pytestmark = pytest.mark.usefixtures("schedule")

T = 6
CHAIN = hgm.chain(T, 3)
X = torch.tensor([[0, 1, 2, 2, 1, 0], [2, -1, -1, 0, 1, -1], [-1] * T])


def seen(x, tree=CHAIN):
    return {name: x[:, i] for i, name in enumerate(tree.names)}


def test_a_chain_takes_sequences_in_the_order_of_time():
    net = hgm.compile(CHAIN, observed="all")
    assert net.inputs == tuple(f"x{t}" for t in range(T)) and net.leaf_shape == (T,) and net.extra == 0
    post = hgm.infer(CHAIN, seen(X))
    got, log_z = net(X, outputs=("posterior", "log_partition"))
    assert got.shape == (3, 3, T)
    assert_close(got.double(), post.marginals, 1e-6, "marginals")
    assert_close(log_z.double(), post.log_partition, 1e-6, "log Z")
    by_hand = np.log(CHAIN.potentials[0].values[0]) + sum(
        np.log(CHAIN.potentials[1].values[a, b]) for a, b in zip(X[0, :-1], X[0, 1:], strict=True)
    )
    assert abs(float(net.double().log_partition(X[:1])) - by_hand) < 1e-12


@pytest.mark.parametrize("name", CASES)
def test_any_tree_takes_all_its_variables_in_tree_order(name):
    case = CASES[name]
    tree = case.tree
    e = draw_evidence(case, "batch").log_tensor(case)
    post = hgm.infer(tree, e)
    net = hgm.compile(tree, observed="all")
    assert net.inputs == tuple(tree.names) and net.leaf_shape == (len(tree),)
    assert_close(net(e), post.marginals, 1e-11, "marginals")
    assert_close(net.log_partition(e), post.log_partition, 1e-12, "log Z")
    args, kwargs = feed(net, tree, e)
    assert torch.equal(net(*args, **kwargs), net(e)) and not kwargs
    leaves = hgm.compile(tree, observed="all", query="leaves")(e)
    states = int(tree.cardinality[tree.leaves].max())
    want = post.marginals[:, :states, torch.from_numpy(tree.leaves)]
    assert_close(leaves, want.reshape(*want.shape[:2], *tree.leaf_shape), 1e-11, "of the leaves")
    root = hgm.compile(tree, "classify", observed="all", query=tree.names[len(tree) - 1])(e)
    assert_close(root, post[tree.names[len(tree) - 1]], 1e-11, "of one variable")


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize(
    "table", [np.array([[0.5, 1.0, 2.0, 4.0], [3.0, 0.1, 1.0, 0.7]]), np.eye(2, 4) + np.eye(2, 4, 2)]
)
def test_a_leaf_that_is_not_observed_may_have_more_states_than_those_that_are(table, trainable):
    tree = hgm.Tree.from_factors([(("a", "wide"), table), (("a", "b"), [[0.2, 0.8], [0.7, 0.3]])], roots=["wide"])
    net = hgm.compile(tree, "classify", query="a", trainable=trainable)
    assert net.inputs == ("b",)
    a = table.sum(1)[:, None] * [[0.2, 0.8], [0.7, 0.3]]
    assert_close(net(torch.tensor([[0], [1]])).double(), torch.from_numpy((a / a.sum(0)).T), 1e-6, "posterior")
    assert_close(net.log_partition(torch.tensor([[0], [1]])), torch.from_numpy(np.log(a.sum(0))), 1e-6, "log Z")


def test_noise_on_all_variables():
    values = np.array([-1.0, 0.0, 2.0])
    net = hgm.compile(CHAIN, "denoise", channel=hgm.Gaussian(values), observed="all")
    z = torch.randn(4, T, dtype=torch.float64)
    likelihood = torch.exp(-((z[:, None] - torch.from_numpy(values)[:, None]) ** 2) / (2 * 0.7**2))
    post = hgm.infer(CHAIN, {name: likelihood[:, :, i] for i, name in enumerate(CHAIN.names)})
    want = torch.einsum("s,bst->bt", torch.from_numpy(values), post.marginals)
    assert net(z, 0.7).shape == (4, T)
    assert_close(net(z, 0.7), want, 1e-12, "means")
    flips = hgm.compile(CHAIN, channel=hgm.Flip(), observed="all")
    assert flips(torch.zeros(2, T, dtype=torch.int64), 0.1).shape == (2, 3, T)


def test_a_grid_and_a_query_keep_their_shapes():
    tree = hgm.ghm([hgm.Level((2, 2), 3)] * 2, root=2)
    x = torch.full((1, len(tree)), -1)
    assert hgm.compile(tree, observed="all")(x).shape == (1, 3, len(tree))
    assert hgm.compile(tree, observed="all", query="leaves")(x).shape == (1, 3, 4, 4)
    assert hgm.compile(tree, observed="all", query=["label"])(x).shape == (1, 2, 1)


def test_a_single_name_is_one_variable():
    net = hgm.compile(hgm.hmm(3, 2, 2), observed="z1")
    assert net.inputs == ("x0", "x1", "x2", "z1")
    tree = hgm.Tree.from_edges([("all", "x", np.ones((2, 2)))])
    assert hgm.compile(tree, observed=["all"]).inputs == ("x", "all")
    assert hgm.compile(tree, observed="all").inputs == ("all", "x")
    with pytest.raises(hgm.BadEvidence, match="no variable 'zz'"):
        hgm.compile(tree, observed="zz")


def test_it_is_trained_saved_exported_and_takes_names(tmp_path):
    net = hgm.compile(CHAIN, observed="all", trainable=True)
    x = X[:1].repeat(8, 1)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.1)
    before = float((net.log_partition(x).mean() - net.log_partition(X[2:]).squeeze()).detach())
    for _ in range(5):
        optimiser.zero_grad()
        (net.log_partition(X[2:]).squeeze() - net.log_partition(x).mean()).backward()
        optimiser.step()
    assert float((net.log_partition(x).mean() - net.log_partition(X[2:]).squeeze()).detach()) > before
    hgm.save_network(net, tmp_path / "net.safetensors")
    again = hgm.load_network(tmp_path / "net.safetensors")
    assert again.inputs == net.inputs and torch.equal(again(X), net(X)) and again.leaf_shape == (T,)
    assert_close(net.given({"x0": 0, "x1": 1}), net(torch.tensor([[0, 1, -1, -1, -1, -1]])).double(), 1e-6, "by name")
    hgm.export(hgm.compile(CHAIN, observed="all"), tmp_path / "net.pt2")
    program = torch.export.load(tmp_path / "net.pt2").module()
    e = hgm.log_evidence(CHAIN, seen(X)).float()
    assert_close(program(e), hgm.compile(CHAIN, observed="all")(e), 1e-6, "program")


def test_a_relu_network_observes_all_too():
    tree = hgm.chain(4, 2, transition=[[0.9, 0.1], [0.2, 0.8]])
    net = hgm.compile(tree, observed="all", activation="relu", tol=0.05)
    e = torch.randn(3, 2, 4, dtype=torch.float64)
    want = hgm.infer(tree, e).marginals
    assert float((net(e).log() - want.log()).abs().max()) < 0.05


def test_means_are_of_what_is_observed():
    with pytest.raises(hgm.BadSpec, match="means of all variables, which are observed"):
        hgm.compile(CHAIN, "denoise", observed="all", query="leaves")
    net = hgm.compile(CHAIN, channel=hgm.Gaussian([0.0, 1.0, 2.0]), observed="all", query=["x1"])
    with pytest.raises(hgm.BadSpec, match=r"means are of all variables.*query='all'"):
        net(torch.zeros(1, T), 1.0, outputs="mean")


def test_it_is_drawn(tmp_path):
    hgm.draw(hgm.compile(CHAIN, observed="all"), tmp_path / "net.svg")
    assert (tmp_path / "net.svg").stat().st_size > 1000
